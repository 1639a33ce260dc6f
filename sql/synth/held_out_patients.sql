-- Which patients have a film in validate or test? They are neither trained on nor edited.
SELECT DISTINCT subject_id
FROM films
WHERE split IN ('validate', 'test')
