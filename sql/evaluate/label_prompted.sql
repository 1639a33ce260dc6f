-- Which films of the baseline generator can its arm use? Also those that failed a gate (passed), none that was rejected.
SELECT
    edit_id, source_dicom_id, source_subject_id AS subject_id, split, film_path, passed, findings,
    atelectasis, cardiomegaly, consolidation, edema, enlarged_cardiomediastinum, fracture, lung_lesion, lung_opacity,
    no_finding, pleural_effusion, pleural_other, pneumonia, pneumothorax, support_devices
FROM edits
LEFT JOIN decisions USING (edit_id)
WHERE
    generator = $generator AND error IS NULL AND film_path IS NOT NULL AND list_contains($views, view)
    AND coalesce(decision, 'none') <> 'reject'
ORDER BY edit_id
