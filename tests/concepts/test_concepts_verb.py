"""The verb `concepts`: its tables, resuming, several processes, and what it refuses."""

import logging
import re

import numpy as np
import pandas as pd
import pytest

from cars import schema
from cars.concepts import ConceptsSettings, concepts, evidence_of, run
from cars.config import resolve
from cars.errors import Cancelled, SettingError, WorkspaceError
from cars.ingest import IngestSettings, ingest
from cars.phantom.population import sample_population
from cars.workspace import Workspace

#: What a phantom report says of a concept when its label says so of the finding.
SAME = {
    "Pleural Effusion": "effusion", "Pneumothorax": "pleural air", "Cardiomegaly": "enlarged heart",
    "Consolidation": "consolidation", "Pneumonia": "infection", "Lung Opacity": "opacity", "Lung Lesion": "nodule",
    "No Finding": "unremarkable",
}  # fmt: skip


@pytest.fixture(scope="module")
def read_workspace(tmp_path_factory, tiny_mimic):
    """The phantom with its reports, read by the adapter of MIMIC's layout. Read only."""
    workspace = Workspace.create(tmp_path_factory.mktemp("reports") / "ws")
    ingest(workspace, IngestSettings("phantom", str(tiny_mimic), reports=True, workers=1))
    concepts(workspace, ConceptsSettings(workers=1))
    return workspace


@pytest.fixture
def small(tmp_path):
    """Four studies: two with a report, one with a blank one, one without."""

    def make(reports=("There is a mass.", "No mass. ETT in place.", "  ", None), name="ws"):
        workspace = Workspace.create(tmp_path / name)
        n = len(reports)
        films = pd.DataFrame(
            {
                "dicom_id": [f"d{k}" for k in range(n)], "subject_id": [f"p{k}" for k in range(n)],
                "study_id": [f"s{k}" for k in range(n)], "report": pd.Series(reports, dtype="str"), "origin": "real",
            }
        )  # fmt: skip
        workspace.write_part("films", "a", films)
        return workspace

    return make


def test_a_phantom_report_says_what_its_labels_say(read_workspace):
    table = read_workspace.read("concepts").set_index("study_id")
    population = {str(row.study_id): row for row in sample_population(60, 7)}
    assert set(table.index) == set(population)
    seen = set()
    for study, row in population.items():
        for finding, concept in SAME.items():
            code = table.loc[study, schema.concept_column(concept)]
            assert code == int(row.labels.get(finding, schema.NOT_MENTIONED)), (study, finding)
            seen.add(int(code))
    assert seen == set(schema.FINDING_VALUES)


def test_its_result_counts_studies(small):
    workspace = small()
    result = concepts(workspace, ConceptsSettings())
    assert {k: result[k] for k in ("studies", "without_report", "read", "cut")} == {
        "studies": 2, "without_report": 2, "read": 2, "cut": 0,
    }  # fmt: skip
    assert result["values"]["mass"] == {"present": 1, "absent": 1, "uncertain": 0}
    assert result["values"]["nodule"] == {"present": 0, "absent": 0, "uncertain": 0}
    table = workspace.read("concepts")
    assert table["concept_mass"].tolist() == [1, 0]
    assert table["concept_mass"].dtype == np.int8
    assert set(table["concept_nodule"]) == {schema.NOT_MENTIONED}


def test_a_second_run_reads_nothing_and_new_phrases_read_all(small):
    workspace = small()
    first = concepts(workspace, ConceptsSettings())
    again = concepts(workspace, ConceptsSettings())
    assert again["read"] == 0
    assert again["version"] == first["version"]
    with open(workspace.path / "workspace.toml", "a", encoding="utf-8") as file:
        file.write('[concepts.phrases."support tube"]\npresent = ["ETT"]\n')
    third = concepts(workspace, resolve(ConceptsSettings, "concepts", {}, workspace.file_settings))
    assert (third["read"], third["values"]["support tube"]["present"]) == (2, 1)
    assert third["phrases"] != first["phrases"]


def test_several_processes_give_what_one_gives_and_a_stopped_run_goes_on(small, monkeypatch):
    monkeypatch.setattr(run, "REPORTS_PER_PART", 7)
    monkeypatch.setattr(run, "ALONE_BELOW", 0)
    kinds = ["Mass of # cm.", "No mass.", "Possible mass.", "Clear."] * 10
    texts = [text.replace("#", str(n)) for n, text in enumerate(kinds)]
    one, two, stopped = (small(texts, name) for name in ("one", "two", "stopped"))
    concepts(one, ConceptsSettings(workers=1))
    concepts(two, ConceptsSettings(workers=2))

    def stop(done, total, message):
        if message == "Reading reports" and done > 300:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        concepts(stopped, ConceptsSettings(workers=1), stop)
    assert not stopped.has("concepts")
    rest = concepts(stopped, ConceptsSettings(workers=1))
    assert 0 < rest["read"] < 40
    for table in run.TABLES:
        pd.testing.assert_frame_equal(one.read(table), two.read(table))
        pd.testing.assert_frame_equal(one.read(table), stopped.read(table))


def test_evidence_shows_the_sentence_and_the_table_holds_none(read_workspace):
    table = read_workspace.read("concept_mentions")
    assert set(table.columns) == set(run.MENTION_COLUMNS)
    words = {str(v) for column in table.select_dtypes("str") for v in table[column].unique() if column != "study_id"}
    assert words <= {*schema.CONCEPTS, "findings", "impression", "named", "negated", "uncertain", "phrase"}
    dicom_id = read_workspace.read("films")["dicom_id"].iloc[0]
    shown = evidence_of(read_workspace, dicom_id)
    report = read_workspace.read("films")["report"].iloc[0]
    assert len(shown)
    assert all(sentence in " ".join(report.split()) for sentence in shown["sentence"])
    assert set(shown["value"]) <= set(schema.FINDING_CODES)
    assert evidence_of(read_workspace, "none").empty


def test_what_it_refuses(small, tmp_path):
    with pytest.raises(WorkspaceError, match="no films"):
        concepts(Workspace.create(tmp_path / "empty"), ConceptsSettings())
    with pytest.raises(WorkspaceError, match="No film of this workspace has a report"):
        concepts(small((None, " ")), ConceptsSettings())
    other = small(name="other")
    with open(other.path / "workspace.toml", "a", encoding="utf-8") as file:
        file.write('[concepts.phrases.mass]\npresent = ["(x"]\n')
    with pytest.raises(SettingError, match=re.escape("(x")):
        concepts(other, ConceptsSettings())


def test_no_word_of_a_report_reaches_the_log(small, caplog):
    with caplog.at_level(logging.DEBUG):
        told = []
        concepts(small(), ConceptsSettings(), lambda done, total, message: told.append(message))
    assert "ETT" not in caplog.text
    assert not any("ETT" in message for message in told)


def test_binary_and_huge_reports_are_read(small):
    result = concepts(small(("\x00\x01\x02", "no effusion " * 100_000, "mass")), ConceptsSettings())
    assert (result["studies"], result["cut"]) == (3, 1)
    assert result["values"]["effusion"]["absent"] == 1
