-- Which edits may coverage, training arms and exports use? Those that passed every gate and that nobody rejected, and
-- that no baseline made.
CREATE VIEW accepted_edits AS
SELECT edits.*
FROM edits
LEFT JOIN decisions USING (edit_id)
WHERE edits.passed AND NOT edits.baseline AND coalesce(decisions.decision, 'accept') <> 'reject'
