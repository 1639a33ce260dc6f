-- How common is each finding in a drawn region of the map, and elsewhere? map_films: the films that count, registered.
WITH long AS (
    UNPIVOT (
        SELECT
            inside,
            atelectasis,
            cardiomegaly,
            consolidation,
            edema,
            enlarged_cardiomediastinum,
            fracture,
            lung_lesion,
            lung_opacity,
            no_finding,
            pleural_effusion,
            pleural_other,
            pneumonia,
            pneumothorax,
            support_devices
        FROM map_films
    ) ON COLUMNS(* EXCLUDE (inside)) INTO NAME finding VALUE present
)
SELECT
    finding,
    count(*) FILTER (WHERE inside AND present) AS films,
    avg(CASE WHEN present THEN 1.0 ELSE 0.0 END) FILTER (WHERE inside) AS share,
    avg(CASE WHEN present THEN 1.0 ELSE 0.0 END) FILTER (WHERE NOT inside) AS share_elsewhere
FROM long
GROUP BY finding
ORDER BY finding
