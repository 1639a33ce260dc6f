-- Which films may be edited? Frontal train films on disk, of patients without a film in validate or test.
SELECT *
FROM films
WHERE split = 'train' AND view IN ('PA', 'AP') AND on_disk AND origin = 'real'
  AND subject_id NOT IN (SELECT subject_id FROM films WHERE split IN ('validate', 'test') AND subject_id IS NOT NULL)
ORDER BY subject_id, study_id, dicom_id
