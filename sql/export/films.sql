-- Every real film, as an export lists it; with $on_disk only those whose file is there.
SELECT
    dicom_id, subject_id, study_id, split, view, view_position, sex, age, race, rows, "columns", study_date, path,
    atelectasis, cardiomegaly, consolidation, edema, enlarged_cardiomediastinum, fracture, lung_lesion, lung_opacity,
    no_finding, pleural_effusion, pleural_other, pneumonia, pneumothorax, support_devices
FROM films
WHERE origin = 'real' AND (on_disk OR NOT $on_disk)
ORDER BY subject_id, study_id, dicom_id
