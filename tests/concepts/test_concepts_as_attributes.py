"""Concepts in searches, filters, rules, edits and sentences of the coverage engine."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cars import schema
from cars.concepts import ConceptsSettings, concepts
from cars.coverage import FilmCodes, GapsSettings, before_after, filters, gaps
from cars.coverage.attributes import attribute_names, attributes_of, check_pattern
from cars.coverage.browse import films_of_pattern, nearest_source_films
from cars.coverage.reach import Reach
from cars.coverage.rows import load_rows
from cars.coverage.rules import shipped_rules, why_impossible
from cars.coverage.sentences import describe
from cars.errors import SettingError
from cars.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[1] / "coverage"))
from coverage_frames import films_frame

TEXTS = ("Small effusion. No mass.", "No effusion. A mass.", "Possible effusion.", "No acute process.", None)


def made(folder, seed=0, with_concepts=True):
    """Films of which four studies in five have a report."""
    workspace = Workspace.create(folder)
    frame = films_frame(seed, patients=80)
    study = pd.factorize(frame["study_id"])[0]
    frame["report"] = pd.Series([TEXTS[s % 5] for s in study], dtype="str")
    workspace.write_part("films", "a", frame)
    if with_concepts:
        concepts(workspace, ConceptsSettings(workers=1))
    return workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Read only."""
    return made(tmp_path_factory.mktemp("concepts") / "ws")


def test_each_film_has_its_studys_value_and_no_report_is_not_not_mentioned(workspace):
    frame = load_rows(workspace)
    reports = workspace.read("films").set_index("dicom_id")["report"]
    value = {TEXTS[0]: 1, TEXTS[1]: 0, TEXTS[2]: -1, TEXTS[3]: schema.NOT_MENTIONED}
    wanted = [value.get(text, schema.NO_REPORT) for text in reports.loc[frame["dicom_id"]]]
    assert frame["concept_effusion"].tolist() == wanted
    assert set(wanted) == {1, 0, -1, schema.NOT_MENTIONED, schema.NO_REPORT}


def brute(workspace, pattern, split="train"):
    """How many patients match, from the tables alone."""
    films = workspace.read("films").merge(workspace.read("concepts").drop(columns="subject_id"), "left", "study_id")
    kept = films[films["split"] == split]
    for name, value in pattern.items():
        if name.startswith("concept:"):
            kept = kept[kept[schema.concept_column(name)] == schema.FINDING_CODES[value]]
        elif name in schema.COLUMN_OF:
            kept = kept[kept[schema.COLUMN_OF[name]] == schema.FINDING_CODES[value]]
        else:
            kept = kept[kept[name] == value]
    return kept["subject_id"].nunique()


@pytest.mark.parametrize("values", ["present", "all"])
def test_gaps_over_concepts_are_counted_like_any_other(tmp_path, values):
    workspace = made(tmp_path / "ws")
    names = "sex,view,concept:effusion,concept:mass,Edema"
    result = gaps(workspace, GapsSettings(attributes=names, values=values, threshold=9, max_order=3))
    patterns = [gap["pattern"] for gap in result["mups"]]
    assert any(n.startswith("concept:") for p in patterns if len(p) > 1 for n in p)
    assert {v for p in patterns for n, v in p.items() if n.startswith("concept:")} <= {"present", "absent", "uncertain"}
    assert all(brute(workspace, gap["pattern"]) == gap["count"] < 9 for gap in result["mups"])
    for gap in result["mups"]:
        for name in gap["pattern"]:
            assert brute(workspace, {n: v for n, v in gap["pattern"].items() if n != name}) >= 9
    table = workspace.read("gaps").set_index("gap_id")
    for gap in result["mups"]:
        named = any(name.startswith("concept:") for name in gap["pattern"])
        edema = gap["pattern"].get("Edema") in ("present", "absent")
        assert table.loc[gap["gap_id"], "editable"] == (edema and not named)
    assert not table["editable"].all()


def test_concepts_stands_for_those_of_the_workspace(tmp_path):
    workspace = made(tmp_path / "ws", with_concepts=False)
    with open(workspace.path / "workspace.toml", "a", encoding="utf-8") as file:
        file.write('[concepts.phrases."size word"]\npresent = ["small"]\n')
    concepts(workspace, ConceptsSettings(workers=1))
    result = gaps(workspace, GapsSettings(attributes="concepts", max_order=1, threshold=10_000))
    assert result["mups"] == [{**result["mups"][0], "pattern": {}}]
    result = gaps(workspace, GapsSettings(attributes="concepts", max_order=1, threshold=1))
    assert "concept:size word" not in {name for gap in result["mups"] for name in gap["pattern"]}
    assert len(result["mups"]) == len(schema.CONCEPTS) - 3  # effusion, mass, unremarkable are seen
    one = gaps(workspace, GapsSettings(attributes="concept:size word", max_order=1, threshold=1))
    assert one["total"] == 0


def test_a_wrong_concept_is_named_with_the_right_ones(tmp_path, workspace):
    with pytest.raises(SettingError, match="concept:efusion") as refused:
        gaps(workspace, GapsSettings(attributes="concept:efusion"))
    assert "effusion" in refused.value.hint
    with pytest.raises(SettingError, match="concept:efusion"):
        gaps(workspace, GapsSettings(where="concept:efusion:present"))
    with pytest.raises(SettingError, match="efusion"):
        attribute_names("efusion")
    without = made(tmp_path / "without", with_concepts=False)
    with pytest.raises(SettingError, match="concept:effusion") as refused:
        gaps(without, GapsSettings(attributes="concept:effusion"))
    assert "cars concepts" in refused.value.hint
    with pytest.raises(SettingError, match="concept:Effusion"):
        attribute_names("concept:Effusion")


def test_names_do_not_clash():
    assert attribute_names("Consolidation,concept:consolidation") == ("Consolidation", "concept:consolidation")
    finding, concept = attributes_of(attribute_names("Consolidation,concept:consolidation"))
    assert (finding.column, concept.column) == ("consolidation", "concept_consolidation")
    assert attribute_names("concepts") == tuple(f"concept:{name}" for name in schema.CONCEPTS)
    assert check_pattern({"concept:lung collapse": "absent"}) == {"concept:lung collapse": "absent"}
    with pytest.raises(SettingError):
        check_pattern({"concept:lung collapse": "yes"})


def test_a_filter_on_concepts(workspace):
    text = "concept:effusion:present,uncertain; sex:F"
    conditions = filters.parse(text)
    assert conditions == {"concept:effusion": ("present", "uncertain"), "sex": ("F",)}
    assert filters.parse(filters.text_of(conditions)) == conditions
    frame = load_rows(workspace)
    kept = filters.mask(frame, conditions)
    assert kept.tolist() == (frame["concept_effusion"].isin([1, -1]) & (frame["sex"] == "F")).tolist()
    codes = FilmCodes.of(frame)
    assert codes.mask(conditions).tolist() == kept.tolist()
    assert codes.mask(filters.parse("concept:effusion:not mentioned")).sum() == (frame["concept_effusion"] == -2).sum()
    with pytest.raises(SettingError):
        codes.mask({"concept:nothing": ("present",)})
    for wrong in ("concept:effusion", "concept:effusion:maybe", "concepts:present", "concept:Eff:present"):
        with pytest.raises(SettingError):
            filters.parse(wrong)


def test_films_that_match_a_concept(workspace):
    pattern = {"concept:mass": "present", "sex": "F"}
    films = films_of_pattern(workspace, pattern, limit=1000)
    frame = load_rows(workspace)
    match = (frame["concept_mass"] == 1) & (frame["sex"] == "F")
    assert set(films["dicom_id"]) == set(frame.loc[match, "dicom_id"])
    assert films["on_disk"].is_monotonic_decreasing
    assert list(films.columns) == list(workspace.read("films").columns)
    assert len(films_of_pattern(workspace, pattern, limit=3)) == 3
    assert films_of_pattern(workspace, pattern, limit=1000, unit="patient")["subject_id"].is_unique


def test_no_edit_reaches_a_pattern_with_a_concept(workspace):
    frame = load_rows(workspace)

    def reach(pattern):
        return Reach(frame, attributes_of(pattern, "all")).counts(pattern)

    assert sum(reach({"Cardiomegaly": "present"})) > 0
    assert sum(reach({"Cardiomegaly": "present", "concept:mass": "present"})) == 0
    assert sum(reach({"concept:mass": "present"})) == 0
    assert nearest_source_films(workspace, {"Cardiomegaly": "present", "concept:mass": "present"}).empty
    with pytest.raises(SettingError):
        nearest_source_films(workspace, {"Cardiomegaly": "present", "concept:masses": "present"})


def test_a_synthetic_film_keeps_what_its_edit_did_not_touch(tmp_path):
    workspace = made(tmp_path / "ws")
    films = workspace.read("films")
    source = films[(films["split"] == "train") & (films["report"] == TEXTS[1])]
    clean = ~source["subject_id"].isin(films.loc[films["split"] != "train", "subject_id"])
    source = source[clean].iloc[0]
    labels = {c: np.int8(source[c]) for c in schema.COLUMN_OF.values()}
    rows = [
        {"edit_id": f"e{n}", "source_subject_id": source["subject_id"], "source_study_id": source["study_id"],
         "source_dicom_id": source["dicom_id"], "findings": json.dumps({finding: "insert"}), "finding": finding,
         "direction": "insert", **labels, "view": source["view"], "sex": source["sex"], "age_band": source["age_band"],
         "race": source["race"], "split": "train", "passed": True, "error": None, "origin": "synthetic"}
        for n, finding in enumerate(["Lung Lesion", "Cardiomegaly"])
    ]  # fmt: skip
    workspace.write_part("edits", "a", pd.DataFrame(rows).astype({"error": "str"}))
    frame = load_rows(workspace, "train", include_synthetic=True).set_index("dicom_id")
    assert frame.loc["e0", "concept_mass"] == schema.NO_REPORT
    assert frame.loc["e0", "concept_effusion"] == 0
    assert frame.loc["e1", "concept_mass"] == 1
    assert frame.loc["e1", "concept_unremarkable"] == schema.NO_REPORT
    assert load_rows(workspace, "train").set_index("dicom_id").loc[source["dicom_id"], "concept_mass"] == 1
    result = before_after(workspace, GapsSettings(attributes="sex,concept:mass", threshold=500))
    assert result["after"]["films"] == result["before"]["films"] + 2


def test_a_new_reading_is_seen_at_once(tmp_path):
    workspace = made(tmp_path / "ws", with_concepts=False)
    assert "concept_mass" not in load_rows(workspace)
    concepts(workspace, ConceptsSettings(workers=1))
    assert "concept_mass" in load_rows(workspace)


def test_unremarkable_with_disease_is_impossible_and_never_read(workspace):
    rules = tuple(rule for rule in shipped_rules().values() if rule)
    assert why_impossible({"concept:unremarkable": "present", "concept:mass": "uncertain"}, rules)
    assert why_impossible({"concept:unremarkable": "present", "concept:mass": "absent"}, rules) is None
    table = workspace.read("concepts")
    normal = table[table["concept_unremarkable"] == 1]
    assert len(normal)
    others = [schema.concept_column(name) for name in schema.CONCEPTS if name != "unremarkable"]
    assert not normal[others].isin([1, -1]).any(axis=None)
    rule = shipped_rules()["unremarkable-with-disease"]
    assert set(rule.one_of) == {f"concept:{name}" for name in schema.CONCEPTS if name != "unremarkable"}


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ({"concept:effusion": "present"}, "patients whose report names effusion"),
        (
            {"sex": "F", "view": "PA", "concept:effusion": "present", "concept:mass": "absent"},
            "women on a PA film, whose report names effusion, denies mass",
        ),
        (
            {"Edema": "present", "concept:mass": "uncertain", "concept:nodule": "uncertain"},
            "patients with edema, whose report leaves open mass and nodule",
        ),
        ({"concept:unremarkable": "present"}, "patients whose report calls the chest unremarkable"),
    ],
)
def test_sentences(pattern, words):
    assert describe(pattern) == words


def test_the_plan_refuses_what_it_cannot_keep(tmp_path):
    from cars.synth import PlanSettings, plan

    workspace = made(tmp_path / "ws")
    gaps(workspace, GapsSettings(attributes="findings", threshold=5, where="concept:mass:present"))
    with pytest.raises(SettingError, match="concept:mass:present"):
        plan(workspace, PlanSettings())
