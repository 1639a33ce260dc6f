-- Which edits count as filling gaps? The accepted ones that no baseline generator made, with all that names their models.
SELECT * FROM accepted_edits WHERE error IS NULL AND NOT coalesce(list_contains($baselines, generator), FALSE) ORDER BY edit_id
