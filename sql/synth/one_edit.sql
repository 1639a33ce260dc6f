-- What decides whether one edit may be accepted, and what was decided on it?
SELECT edits.passed, edits.baseline, edits.error, decisions.decision
FROM edits
LEFT JOIN decisions USING (edit_id)
WHERE edits.edit_id = $edit_id
