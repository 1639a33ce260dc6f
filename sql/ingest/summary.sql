-- How many films, studies, patients, rows set aside, and films whose file is not there.
SELECT
    (SELECT count(*) FROM films) AS films,
    (SELECT count(DISTINCT study_id) FROM films) AS studies,
    (SELECT count(DISTINCT subject_id) FROM films) AS patients,
    (SELECT count(*) FROM quarantine) AS quarantined,
    (SELECT count(*) FROM missing_files) AS missing_files,
    (SELECT count(*) FROM films WHERE on_disk) AS on_disk
