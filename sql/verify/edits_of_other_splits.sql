-- Which edits were made from a film, or of a patient, outside the train split? There must be none.
SELECT edits.edit_id
FROM edits
LEFT JOIN films ON films.dicom_id = edits.source_dicom_id
WHERE films.split IS DISTINCT FROM 'train'
   OR edits.split IS DISTINCT FROM 'train'
   OR edits.source_subject_id IN (SELECT subject_id FROM films WHERE split IN ('validate', 'test'))
