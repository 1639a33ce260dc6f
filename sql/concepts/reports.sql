-- Which studies have a report, and what does it say? One row a study, in the order of ids; a blank report is none.
SELECT study_id, any_value(subject_id) AS subject_id, min(report) AS report
FROM films
WHERE report IS NOT NULL AND trim(report) <> ''
GROUP BY study_id
ORDER BY study_id
