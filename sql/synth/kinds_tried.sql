-- How often did each kind of edit pass its gates? `findings` is the edit as JSON; $plan_id narrows it to one plan.
-- A baseline's tries tell nothing of what a plan will come to.
SELECT findings, count(*) AS tried, count(*) FILTER (WHERE passed) AS passed
FROM edits
WHERE NOT baseline AND ($plan_id IS NULL OR plan_id = $plan_id)
GROUP BY findings
ORDER BY findings
