-- How many films, studies and patients each split has, and how many of the films are on disk.
SELECT
    split, count(*) AS films, count(DISTINCT study_id) AS studies, count(DISTINCT subject_id) AS patients,
    count(*) FILTER (WHERE on_disk) AS on_disk
FROM films
GROUP BY split
ORDER BY list_position(['train', 'validate', 'test', 'none'], split)
