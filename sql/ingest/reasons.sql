-- Why rows were set aside, most frequent first.
SELECT reason, count(*) AS n FROM quarantine GROUP BY reason ORDER BY n DESC, reason
