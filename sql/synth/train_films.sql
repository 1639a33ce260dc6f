-- Which films may the editor train on and edit? Frontal films of the train split whose file is on disk.
SELECT *
FROM films
WHERE split = 'train' AND view IN ('PA', 'AP') AND on_disk AND origin = 'real'
ORDER BY subject_id, study_id, dicom_id
