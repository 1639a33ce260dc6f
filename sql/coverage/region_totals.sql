-- How many films, patients and studies does a drawn region of the map hold? map_films: the films that count, registered.
SELECT
    count(*) AS films, count(DISTINCT patient) AS patients, count(DISTINCT study) AS studies,
    count(*) FILTER (WHERE synthetic) AS synthetic
FROM map_films
WHERE inside
