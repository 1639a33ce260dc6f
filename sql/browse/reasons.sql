-- Why rows and films were set aside, with one example of each reason.
SELECT reason, count(*) AS rows, any_value(file) AS example_file, any_value("column") AS example_column
FROM quarantine
GROUP BY reason
ORDER BY rows DESC, reason
