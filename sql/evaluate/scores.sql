-- The scores of one run, as `report` wrote them.
SELECT * FROM scores WHERE run = $run
