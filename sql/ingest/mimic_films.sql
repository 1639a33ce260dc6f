-- One row a film of MIMIC-CXR-JPG: metadata joined with split, labels (per study), patients and race.
-- `reason` is null for a good film; otherwise q_file ('metadata', 'split' or 'labels'), q_row, q_column and q_value say
-- which cell is at fault. Age at study = anchor_age + year of study - anchor_year; MIMIC-IV keeps ages over 89 as 91.
WITH torn AS (
    -- a patient in two splits would leak from training into testing
    SELECT subject_id, string_agg(DISTINCT split, ', ' ORDER BY split) AS splits
    FROM split GROUP BY subject_id HAVING count(DISTINCT split) > 1
),
shared AS (
    SELECT study_id FROM metadata GROUP BY study_id HAVING count(DISTINCT subject_id) > 1
),
joined AS (
    SELECT
        m.dicom_id, m.subject_id, m.study_id, m.ViewPosition AS view_position,
        m.Rows AS table_rows, m.Columns AS table_columns, m.StudyDate AS study_date,
        s.split, l.* EXCLUDE (subject_id, study_id, row),
        coalesce(p.sex, 'unknown') AS sex,
        p.anchor_age + TRY_CAST(m.StudyDate[1:4] AS INTEGER) - p.anchor_year AS computed_age, p.anchor_age,
        coalesce(r.race, 'unknown') AS race, record.path AS record_path,
        CASE
            WHEN shared.study_id IS NOT NULL THEN ['metadata', m.row::VARCHAR, 'study_id', m.study_id,
                'study belongs to two patients']
            WHEN s.dicom_id IS NULL THEN ['metadata', m.row::VARCHAR, 'dicom_id', m.dicom_id,
                'no valid row in the split table']
            WHEN s.subject_id <> m.subject_id THEN ['split', s.row::VARCHAR, 'subject_id', s.subject_id,
                'metadata has another subject_id']
            WHEN s.study_id <> m.study_id THEN ['split', s.row::VARCHAR, 'study_id', s.study_id,
                'metadata has another study_id']
            WHEN torn.subject_id IS NOT NULL THEN ['split', s.row::VARCHAR, 'split', s.split,
                'patient in two splits: ' || torn.splits]
            WHEN l.study_id IS NULL THEN ['metadata', m.row::VARCHAR, 'study_id', m.study_id,
                'study has no valid labels']
            WHEN l.subject_id <> m.subject_id THEN ['labels', l.row::VARCHAR, 'subject_id', l.subject_id,
                'metadata has another subject_id']
        END AS fault
    FROM metadata m
    LEFT JOIN split s USING (dicom_id)
    LEFT JOIN labels l ON l.study_id = m.study_id
    LEFT JOIN patients p ON p.subject_id = m.subject_id
    LEFT JOIN races r ON r.subject_id = m.subject_id
    LEFT JOIN records record ON record.dicom_id = m.dicom_id
    LEFT JOIN torn ON torn.subject_id = m.subject_id
    LEFT JOIN shared ON shared.study_id = m.study_id
)
SELECT
    * EXCLUDE (fault, computed_age, anchor_age),
    CASE
        WHEN computed_age IS NULL OR computed_age < 0 THEN NULL
        WHEN anchor_age > 89 OR computed_age > 89 THEN 91
        ELSE computed_age
    END::DOUBLE AS age,
    fault[1] AS q_file, fault[2]::BIGINT AS q_row, fault[3] AS q_column, fault[4] AS q_value, fault[5] AS reason
FROM joined
ORDER BY subject_id, study_id, dicom_id
