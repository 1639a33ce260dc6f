-- What are these films?
SELECT films.* FROM films WHERE dicom_id IN (SELECT unnest($ids))
