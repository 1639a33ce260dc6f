-- Which real films match a pattern? $pattern is a JSON object: column → the value stored there, as text, for example
-- {"sex": "F", "pleural_effusion": "1"}; a column that it does not name is free.
WITH wanted AS (
    SELECT
        json_extract_string($pattern, 'sex') AS sex,
        json_extract_string($pattern, 'age_band') AS age_band,
        json_extract_string($pattern, 'view') AS view,
        json_extract_string($pattern, 'race') AS race,
        CAST(json_extract_string($pattern, 'atelectasis') AS INTEGER) AS atelectasis,
        CAST(json_extract_string($pattern, 'cardiomegaly') AS INTEGER) AS cardiomegaly,
        CAST(json_extract_string($pattern, 'consolidation') AS INTEGER) AS consolidation,
        CAST(json_extract_string($pattern, 'edema') AS INTEGER) AS edema,
        CAST(json_extract_string($pattern, 'enlarged_cardiomediastinum') AS INTEGER) AS enlarged_cardiomediastinum,
        CAST(json_extract_string($pattern, 'fracture') AS INTEGER) AS fracture,
        CAST(json_extract_string($pattern, 'lung_lesion') AS INTEGER) AS lung_lesion,
        CAST(json_extract_string($pattern, 'lung_opacity') AS INTEGER) AS lung_opacity,
        CAST(json_extract_string($pattern, 'no_finding') AS INTEGER) AS no_finding,
        CAST(json_extract_string($pattern, 'pleural_effusion') AS INTEGER) AS pleural_effusion,
        CAST(json_extract_string($pattern, 'pleural_other') AS INTEGER) AS pleural_other,
        CAST(json_extract_string($pattern, 'pneumonia') AS INTEGER) AS pneumonia,
        CAST(json_extract_string($pattern, 'pneumothorax') AS INTEGER) AS pneumothorax,
        CAST(json_extract_string($pattern, 'support_devices') AS INTEGER) AS support_devices
)
SELECT films.*
FROM films, wanted
WHERE films.origin = 'real'
  AND ($split IS NULL OR films.split = $split)
  AND (wanted.sex IS NULL OR films.sex = wanted.sex)
  AND (wanted.age_band IS NULL OR films.age_band = wanted.age_band)
  AND (wanted.view IS NULL OR films.view = wanted.view)
  AND (wanted.race IS NULL OR films.race = wanted.race)
  AND (wanted.atelectasis IS NULL OR films.atelectasis = wanted.atelectasis)
  AND (wanted.cardiomegaly IS NULL OR films.cardiomegaly = wanted.cardiomegaly)
  AND (wanted.consolidation IS NULL OR films.consolidation = wanted.consolidation)
  AND (wanted.edema IS NULL OR films.edema = wanted.edema)
  AND (wanted.enlarged_cardiomediastinum IS NULL
       OR films.enlarged_cardiomediastinum = wanted.enlarged_cardiomediastinum)
  AND (wanted.fracture IS NULL OR films.fracture = wanted.fracture)
  AND (wanted.lung_lesion IS NULL OR films.lung_lesion = wanted.lung_lesion)
  AND (wanted.lung_opacity IS NULL OR films.lung_opacity = wanted.lung_opacity)
  AND (wanted.no_finding IS NULL OR films.no_finding = wanted.no_finding)
  AND (wanted.pleural_effusion IS NULL OR films.pleural_effusion = wanted.pleural_effusion)
  AND (wanted.pleural_other IS NULL OR films.pleural_other = wanted.pleural_other)
  AND (wanted.pneumonia IS NULL OR films.pneumonia = wanted.pneumonia)
  AND (wanted.pneumothorax IS NULL OR films.pneumothorax = wanted.pneumothorax)
  AND (wanted.support_devices IS NULL OR films.support_devices = wanted.support_devices)
ORDER BY films.on_disk DESC, films.subject_id, films.study_id, films.dicom_id
LIMIT $limit
