-- Which findings did each accepted edit change? findings: JSON, finding → insert or delete.
SELECT edit_id AS dicom_id, findings FROM accepted_edits
