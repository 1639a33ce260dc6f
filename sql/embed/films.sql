-- Which real films can be embedded, and where are their files? In a fixed order, so that shards are the same each time.
SELECT dicom_id, path
FROM films
WHERE on_disk AND origin = 'real'
ORDER BY dicom_id
