-- The paired differences between a run's arms and its reference, and between arms with edits and each other arm, as
-- `report` wrote them.
SELECT * FROM gains WHERE run = $run
