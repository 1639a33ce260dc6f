-- Each measure of each gate of these edits, in the order in which the gates are passed.
SELECT edit_id, gate, measure, value, low, high, passed
FROM gates
WHERE list_contains($ids, edit_id)
ORDER BY edit_id, list_position($names, gate), measure
