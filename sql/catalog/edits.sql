-- Every edit tried. `baseline`: made by a generator that is there to be compared with. Parts written before that was
-- recorded lack the column; the names are those of the baselines there were then.
CREATE VIEW edits AS
SELECT * REPLACE (
    coalesce(
        baseline, generator IN ('sdedit', 'ddim-inversion', 'label-prompted', 'judge-shift', 'copy-paste'), FALSE
    ) AS baseline
)
FROM (
    SELECT * FROM edit_parts
    UNION ALL BY NAME
    SELECT CAST(NULL AS BOOLEAN) AS baseline, CAST(NULL AS VARCHAR) AS generator WHERE FALSE
)
