-- Which film was each accepted synthetic film made from?
SELECT edit_id, source_dicom_id FROM accepted_edits
