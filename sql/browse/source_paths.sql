-- Where the source films of edits lie.
SELECT dicom_id, path FROM films WHERE list_contains($ids, dicom_id)
