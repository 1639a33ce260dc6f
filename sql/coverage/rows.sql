-- What is every real film of these splits, as coverage sees it? One row a film; "all" takes every split.
SELECT
    dicom_id, subject_id, study_id, split, on_disk, origin,
    coalesce(view, 'unknown') AS view, coalesce(sex, 'unknown') AS sex,
    coalesce(age_band, 'unknown') AS age_band, coalesce(race, 'unknown') AS race,
    atelectasis, cardiomegaly, consolidation, edema, enlarged_cardiomediastinum, fracture, lung_lesion, lung_opacity,
    no_finding, pleural_effusion, pleural_other, pneumonia, pneumothorax, support_devices
FROM films
WHERE origin = 'real' AND ($split = 'all' OR split = $split)
