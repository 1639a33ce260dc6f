-- What did each unit of a run learn from, and how did it do on the validate patients?
SELECT * FROM units WHERE run = $run
