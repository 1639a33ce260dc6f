-- Where does a study's report name concepts, in the order of the text?
SELECT concept, value, section, start_char, end_char, sentence_start, sentence_end, rule
FROM concept_mentions
WHERE study_id = $study_id
ORDER BY start_char, concept
