-- Which study does a film belong to, and what is its report?
SELECT study_id, report FROM films WHERE dicom_id = $dicom_id
