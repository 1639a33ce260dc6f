-- What did each gate measure on the accepted edits?
SELECT gates.*
FROM gates
WHERE edit_id IN (SELECT edit_id FROM accepted_edits)
ORDER BY edit_id, gate, measure
