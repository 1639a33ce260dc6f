-- One film with its labels.
SELECT * FROM films WHERE dicom_id = $dicom_id
