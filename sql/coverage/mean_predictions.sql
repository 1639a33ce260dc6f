-- What does a run's arm without synthetic films say of each test film? Mean over its backbones and seeds.
SELECT
    dicom_id,
    avg(prob_atelectasis) AS atelectasis, avg(prob_cardiomegaly) AS cardiomegaly,
    avg(prob_consolidation) AS consolidation, avg(prob_edema) AS edema,
    avg(prob_enlarged_cardiomediastinum) AS enlarged_cardiomediastinum, avg(prob_fracture) AS fracture,
    avg(prob_lung_lesion) AS lung_lesion, avg(prob_lung_opacity) AS lung_opacity, avg(prob_no_finding) AS no_finding,
    avg(prob_pleural_effusion) AS pleural_effusion, avg(prob_pleural_other) AS pleural_other,
    avg(prob_pneumonia) AS pneumonia, avg(prob_pneumothorax) AS pneumothorax,
    avg(prob_support_devices) AS support_devices
FROM predictions
WHERE split = 'test' AND unit IN (SELECT unit FROM units WHERE run = $run AND arm = 'real')
GROUP BY dicom_id
ORDER BY dicom_id
