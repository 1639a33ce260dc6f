-- Which gates did each edit pass? True when all measures passed, null when none decided anything.
SELECT edit_id, gate, bool_and(gates.passed) AS passed
FROM gates
JOIN edits USING (edit_id)
WHERE $plan_id IS NULL OR edits.plan_id = $plan_id
GROUP BY edit_id, gate
