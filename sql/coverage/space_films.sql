-- What does feature space say of each film that has a vector, and what do its labels say? Synthetic films have none here.
SELECT
    s.dicom_id, s.split, s.origin, s.nearest_dicom_id, s.distance, s.radius, s.balls, s.covered, s.nearest_synthetic,
    s.distance_synthetic, s.covered_after, f.subject_id, coalesce(f.view, 'unknown') AS view,
    coalesce(f.sex, 'unknown') AS sex, coalesce(f.age_band, 'unknown') AS age_band,
    coalesce(f.race, 'unknown') AS race, f.atelectasis, f.cardiomegaly, f.consolidation, f.edema,
    f.enlarged_cardiomediastinum, f.fracture, f.lung_lesion, f.lung_opacity, f.no_finding, f.pleural_effusion,
    f.pleural_other, f.pneumonia, f.pneumothorax, f.support_devices
FROM space_films AS s
LEFT JOIN films AS f USING (dicom_id)
ORDER BY s.split, s.distance DESC, s.dicom_id
