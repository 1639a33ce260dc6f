-- How many edits were tried, passed every gate, failed in between, and count as accepted.
SELECT
    count(*) AS tried, count(*) FILTER (WHERE passed) AS passed, count(*) FILTER (WHERE error IS NOT NULL) AS failed,
    (SELECT count(*) FROM accepted_edits) AS accepted
FROM edits
