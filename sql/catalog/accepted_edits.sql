-- Which edits may coverage, training arms and exports use? Those that passed every gate and that nobody rejected.
CREATE VIEW accepted_edits AS
SELECT edits.*
FROM edits
LEFT JOIN decisions USING (edit_id)
WHERE edits.passed AND coalesce(decisions.decision, 'accept') <> 'reject'
