-- Where does each film lie on the map, and what is known of it? At most $limit films, a sample that $seed decides.
SELECT
    map.dicom_id, map.x, map.y, map.backbone, films.subject_id, films.study_id, films.split, films.view, films.sex,
    films.age, films.age_band, films.race, films.origin,
    atelectasis, cardiomegaly, consolidation, edema, enlarged_cardiomediastinum, fracture, lung_lesion, lung_opacity,
    no_finding, pleural_effusion, pleural_other, pneumonia, pneumothorax, support_devices
FROM map
JOIN films ON films.dicom_id = map.dicom_id
ORDER BY md5(map.dicom_id || CAST($seed AS VARCHAR)), map.dicom_id
LIMIT $limit
