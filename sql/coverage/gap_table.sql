-- Which gaps were found, best ranked first?
SELECT * FROM gaps ORDER BY rank
