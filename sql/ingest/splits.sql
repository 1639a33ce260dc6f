-- Patients by split.
SELECT split, count(DISTINCT subject_id) AS patients FROM films GROUP BY split ORDER BY split
