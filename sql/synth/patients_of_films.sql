-- From how many patients are these films?
SELECT count(DISTINCT subject_id) AS patients
FROM films
WHERE list_contains($ids, dicom_id)
