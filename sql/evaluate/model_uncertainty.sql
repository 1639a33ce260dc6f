-- How uncertain are a run's models, as `report` wrote it?
SELECT * FROM model_uncertainty WHERE run = $run
