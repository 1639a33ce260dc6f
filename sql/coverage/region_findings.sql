-- How common is each finding in a drawn region of the map, and elsewhere? map_films: the films that count, registered.
WITH counted AS (
    SELECT
        inside,
        count(*) AS n,
        count(*) FILTER (WHERE atelectasis) AS atelectasis,
        count(*) FILTER (WHERE cardiomegaly) AS cardiomegaly,
        count(*) FILTER (WHERE consolidation) AS consolidation,
        count(*) FILTER (WHERE edema) AS edema,
        count(*) FILTER (WHERE enlarged_cardiomediastinum) AS enlarged_cardiomediastinum,
        count(*) FILTER (WHERE fracture) AS fracture,
        count(*) FILTER (WHERE lung_lesion) AS lung_lesion,
        count(*) FILTER (WHERE lung_opacity) AS lung_opacity,
        count(*) FILTER (WHERE no_finding) AS no_finding,
        count(*) FILTER (WHERE pleural_effusion) AS pleural_effusion,
        count(*) FILTER (WHERE pleural_other) AS pleural_other,
        count(*) FILTER (WHERE pneumonia) AS pneumonia,
        count(*) FILTER (WHERE pneumothorax) AS pneumothorax,
        count(*) FILTER (WHERE support_devices) AS support_devices
    FROM map_films
    GROUP BY inside
),
long AS (
    UNPIVOT counted ON COLUMNS(* EXCLUDE (inside, n)) INTO NAME finding VALUE films
)
SELECT
    finding,
    coalesce(max(films) FILTER (WHERE inside), 0) AS films,
    max(films / n) FILTER (WHERE inside) AS share,
    max(films / n) FILTER (WHERE NOT inside) AS share_elsewhere
FROM long
GROUP BY finding
ORDER BY finding
