-- Which labelled films may an encoder be adapted on? Train patients to learn from, validate patients to stop by.
-- Test films, and films of patients with a film in the test split, are never read.
SELECT
    dicom_id, subject_id, split,
    atelectasis, cardiomegaly, consolidation, edema, enlarged_cardiomediastinum, fracture, lung_lesion, lung_opacity,
    no_finding, pleural_effusion, pleural_other, pneumonia, pneumothorax, support_devices
FROM films
WHERE on_disk
  AND origin = 'real'
  AND split IN ('train', 'validate')
  AND subject_id NOT IN (SELECT subject_id FROM films WHERE split = 'test')
ORDER BY dicom_id
