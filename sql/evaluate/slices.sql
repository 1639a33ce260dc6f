-- Which gaps did accepted edits fill, with which finding, and how often? The most filled first.
SELECT gaps.gap_id, gaps.pattern, gaps.sentence, edits.finding, count(*) AS edits
FROM accepted_edits AS edits
JOIN gaps USING (gap_id)
WHERE edits.error IS NULL
GROUP BY ALL
ORDER BY edits DESC, gaps.gap_id, edits.finding
