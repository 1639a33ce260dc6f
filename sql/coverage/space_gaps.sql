-- What does feature space say of each gap that is listed now, best ranked first?
SELECT g.rank, g.pattern, s.*
FROM space_gaps AS s
JOIN gaps AS g USING (gap_id)
ORDER BY g.rank
