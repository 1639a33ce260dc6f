-- Which real frontal films can be outlined? In a fixed order, so that parts are the same each time.
SELECT dicom_id, view, path
FROM films
WHERE on_disk AND origin = 'real' AND view IN ('PA', 'AP')
ORDER BY dicom_id
