-- Where are the film files of the accepted edits?
SELECT edit_id, film_path FROM accepted_edits
