-- Where are the films of the accepted edits? Paths are relative to the workspace.
SELECT edit_id AS dicom_id, film_path AS path FROM accepted_edits WHERE error IS NULL AND film_path IS NOT NULL
