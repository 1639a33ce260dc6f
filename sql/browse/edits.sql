-- What do pages show of these synthetic films? Their path is relative to the workspace.
SELECT
    edit_id AS dicom_id, film_path AS path, view, sex, age, split, origin,
    atelectasis, cardiomegaly, consolidation, edema, enlarged_cardiomediastinum, fracture, lung_lesion, lung_opacity,
    no_finding, pleural_effusion, pleural_other, pneumonia, pneumothorax, support_devices
FROM edits
WHERE list_contains($ids, edit_id) AND error IS NULL
