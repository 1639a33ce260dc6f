-- What do pages show of these real films?
SELECT
    dicom_id, path, view, sex, age, split, origin,
    atelectasis, cardiomegaly, consolidation, edema, enlarged_cardiomediastinum, fracture, lung_lesion, lung_opacity,
    no_finding, pleural_effusion, pleural_other, pneumonia, pneumothorax, support_devices
FROM films
WHERE list_contains($ids, dicom_id)
