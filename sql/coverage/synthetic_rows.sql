-- Which accepted synthetic films count, and as whose? As their source's patient and study, so that an edit never makes
-- a patient twice; edits of a patient with validation or test films are refused, though none should exist. The view
-- accepted_edits holds no film of a baseline generator.
SELECT
    edit_id AS dicom_id, source_subject_id AS subject_id, source_study_id AS study_id, split, TRUE AS on_disk, origin,
    coalesce(view, 'unknown') AS view, coalesce(sex, 'unknown') AS sex,
    coalesce(age_band, 'unknown') AS age_band, coalesce(race, 'unknown') AS race,
    atelectasis, cardiomegaly, consolidation, edema, enlarged_cardiomediastinum, fracture, lung_lesion, lung_opacity,
    no_finding, pleural_effusion, pleural_other, pneumonia, pneumothorax, support_devices
FROM accepted_edits
WHERE error IS NULL
  AND split = 'train'
  AND $split IN ('all', 'train')
  AND source_subject_id NOT IN (SELECT subject_id FROM films WHERE split IN ('validate', 'test'))
