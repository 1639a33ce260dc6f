-- When was each chunk of edits committed, and how many films did it hold? Newest first.
SELECT plan_id, generator, created, count(*) AS films
FROM edits
WHERE created IS NOT NULL AND NOT baseline
GROUP BY plan_id, generator, created
ORDER BY created DESC
LIMIT 200
