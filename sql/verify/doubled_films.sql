-- Which film ids occur more than once?
SELECT dicom_id, count(*) AS times FROM films GROUP BY dicom_id HAVING count(*) > 1
