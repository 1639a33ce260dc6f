-- Which edits may a training arm use that compares CARS with a baseline? As accepted_edits, but made by baselines only.
CREATE VIEW baseline_edits AS
SELECT edits.*
FROM edits
LEFT JOIN decisions USING (edit_id)
WHERE edits.passed AND edits.baseline AND coalesce(decisions.decision, 'accept') <> 'reject'
