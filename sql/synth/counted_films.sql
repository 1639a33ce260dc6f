-- Who matches what among the real train films? One row a film: whose it is, and all that patterns and filters name.
SELECT
    dicom_id, subject_id, study_id, sex, age_band, view, race,
    atelectasis, cardiomegaly, consolidation, edema, enlarged_cardiomediastinum, fracture, lung_lesion, lung_opacity,
    no_finding, pleural_effusion, pleural_other, pneumonia, pneumothorax, support_devices
FROM films
WHERE split = 'train' AND origin = 'real'
ORDER BY subject_id, study_id, dicom_id
