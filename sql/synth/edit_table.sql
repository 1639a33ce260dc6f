-- What became of each edit: its row, whether it passed each gate, and the decision that counts.
SELECT
    edits.*,
    verdicts.* EXCLUDE (edit_id),
    decisions.decision,
    decisions.note
FROM edits
LEFT JOIN (
    SELECT
        edit_id,
        bool_and(passed) FILTER (gate = 'judge') AS gate_judge,
        bool_and(passed) FILTER (gate = 'anatomy') AS gate_anatomy,
        bool_and(passed) FILTER (gate = 'outside') AS gate_outside,
        bool_and(passed) FILTER (gate = 'sham') AS gate_sham
    FROM gates
    GROUP BY edit_id
) AS verdicts USING (edit_id)
LEFT JOIN decisions USING (edit_id)
WHERE $plan_id IS NULL OR edits.plan_id = $plan_id
ORDER BY edits.created DESC, edits.plan_id, edits.item
