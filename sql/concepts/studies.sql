-- How many studies are there, with or without a report?
SELECT count(DISTINCT study_id) AS studies FROM films
