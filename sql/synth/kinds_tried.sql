-- How often did each kind of edit pass its gates? `findings` is the edit as JSON; $plan_id narrows it to one plan.
SELECT findings, count(*) AS tried, count(*) FILTER (WHERE passed) AS passed
FROM edits
WHERE $plan_id IS NULL OR plan_id = $plan_id
GROUP BY findings
ORDER BY findings
