-- What became of each edit: its row, and the decision that counts.
SELECT
    edits.*,
    decisions.decision,
    decisions.note
FROM edits
LEFT JOIN decisions USING (edit_id)
WHERE $plan_id IS NULL OR edits.plan_id = $plan_id
ORDER BY edits.created DESC, edits.plan_id, edits.item
