-- Which concepts does the report of each study name? One row a study with a report.
SELECT * EXCLUDE (subject_id, cut) FROM concepts
