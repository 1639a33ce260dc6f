-- What do the labels and attributes say of these films, as far as they are in that split today?
SELECT
    dicom_id, subject_id, view, sex, age_band, race,
    atelectasis, cardiomegaly, consolidation, edema, enlarged_cardiomediastinum, fracture, lung_lesion, lung_opacity,
    no_finding, pleural_effusion, pleural_other, pneumonia, pneumothorax, support_devices
FROM films
WHERE split = $split AND dicom_id IN (SELECT unnest($ids))
ORDER BY dicom_id
