-- Which films does a plan start from, in the words of its table?
SELECT dicom_id, view, sex, age
FROM films
WHERE list_contains($ids, dicom_id)
