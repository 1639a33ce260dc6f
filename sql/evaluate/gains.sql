-- The paired differences between a run's arms and the arm "real", as `report` wrote them.
SELECT * FROM gains WHERE run = $run
