-- Which patients have films in more than one split?
SELECT subject_id FROM films WHERE split <> 'none' GROUP BY subject_id HAVING count(DISTINCT split) > 1
