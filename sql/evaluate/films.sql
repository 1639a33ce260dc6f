-- Which real films can a fine-tuning run read, of which patient and split, and with which labels?
SELECT
    dicom_id, subject_id, split, path, sex, view, age_band,
    atelectasis, cardiomegaly, consolidation, edema, enlarged_cardiomediastinum, fracture, lung_lesion, lung_opacity,
    no_finding, pleural_effusion, pleural_other, pneumonia, pneumothorax, support_devices
FROM films
WHERE on_disk AND origin = 'real' AND split IN ('train', 'validate', 'test') AND list_contains($views, view)
ORDER BY dicom_id
