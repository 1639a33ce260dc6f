-- The rare-combination slices of one run, as `report` wrote them.
SELECT * FROM slices WHERE run = $run
