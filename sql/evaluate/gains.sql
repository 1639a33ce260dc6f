-- The paired differences between a run's arms and its reference, and of arms with edits and each control, as `report` wrote them.
SELECT * FROM gains WHERE run = $run
