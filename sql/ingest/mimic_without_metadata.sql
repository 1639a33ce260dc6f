-- Films that the split table names and the metadata table does not.
SELECT s.row, s.dicom_id
FROM split s ANTI JOIN metadata m ON m.dicom_id = s.dicom_id
WHERE s.dicom_id NOT IN (SELECT dicom_id FROM quarantined WHERE dicom_id IS NOT NULL)
ORDER BY s.row
