-- One race group a patient: the group stated at most of the patient's admissions; "multiple" where two are tied.
-- Admissions whose group is unknown count only when there is no other.
WITH counted AS (
    SELECT subject_id, race, count(*) AS n FROM admissions WHERE race <> 'unknown' GROUP BY ALL
),
best AS (
    SELECT subject_id, race FROM counted
    QUALIFY n = max(n) OVER (PARTITION BY subject_id)
)
SELECT subject_id, CASE WHEN count(*) > 1 THEN 'multiple' ELSE any_value(race) END AS race
FROM best GROUP BY subject_id
