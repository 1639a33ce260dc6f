-- How many edits were tried, passed every gate, could not be made, come from a baseline, and count as accepted.
SELECT
    count(*) AS tried, count(*) FILTER (WHERE passed) AS passed, count(*) FILTER (WHERE error IS NOT NULL) AS failed,
    count(*) FILTER (WHERE baseline) AS baseline,
    (SELECT count(*) FROM accepted_edits) AS accepted
FROM edits
