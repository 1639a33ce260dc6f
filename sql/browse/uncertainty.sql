-- The semantic uncertainty of these edits; where it was taken more than once, the one over most probabilities.
SELECT edit_id, finding, k, m, total, mutual, n
FROM uncertainty
WHERE list_contains($ids, edit_id)
QUALIFY row_number() OVER (PARTITION BY edit_id, finding ORDER BY n DESC, k DESC) = 1
ORDER BY edit_id, finding
