-- Which accepted edits can a training arm use? The labels are the edit's own; the patient is the source film's.
SELECT
    edit_id, source_dicom_id, source_subject_id AS subject_id, split, film_path, sham_path, generator, findings, sex, view,
    age_band,
    atelectasis, cardiomegaly, consolidation, edema, enlarged_cardiomediastinum, fracture, lung_lesion, lung_opacity,
    no_finding, pleural_effusion, pleural_other, pneumonia, pneumothorax, support_devices
FROM accepted_edits
WHERE error IS NULL AND list_contains($views, view)
ORDER BY edit_id
