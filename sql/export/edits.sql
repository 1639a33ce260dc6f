-- Every accepted edit with its labels after the edit, what made it, what people decided, and its source film's own row.
SELECT
    edits.* EXCLUDE (passed, error),
    films.study_date, films.split AS source_split, films.subject_id AS source_patient,
    coalesce(decisions.decision, '') AS decision, coalesce(decisions.note, '') AS note,
    struct_pack(
        atelectasis := films.atelectasis, cardiomegaly := films.cardiomegaly, consolidation := films.consolidation,
        edema := films.edema, enlarged_cardiomediastinum := films.enlarged_cardiomediastinum,
        fracture := films.fracture, lung_lesion := films.lung_lesion, lung_opacity := films.lung_opacity,
        no_finding := films.no_finding, pleural_effusion := films.pleural_effusion,
        pleural_other := films.pleural_other, pneumonia := films.pneumonia, pneumothorax := films.pneumothorax,
        support_devices := films.support_devices
    ) AS source_labels
FROM accepted_edits AS edits
LEFT JOIN films ON films.dicom_id = edits.source_dicom_id
LEFT JOIN decisions ON decisions.edit_id = edits.edit_id
WHERE edits.error IS NULL
ORDER BY edits.edit_id
