-- Which splits do the films of a drawn region belong to? map_films: the films that count, registered.
SELECT split, count(*) AS films, count(DISTINCT patient) AS patients
FROM map_films
WHERE inside
GROUP BY split
ORDER BY films DESC
