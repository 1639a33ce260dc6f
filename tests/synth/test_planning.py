"""The verb plan: whose films it takes, what it changes, and what it says where it cannot."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from synth_toys import ToyJudge, workspace_of

from cars.edits import edit_sets
from cars.errors import DataError, SettingError, WorkspaceError
from cars.schema import COLUMN_OF, EDITABLE, FINDING_CODES, FINDINGS, FRONTAL, after_edit
from cars.synth.cost import cost_of, edit_of, in_words, pass_rate, weights_of
from cars.synth.planning import estimate, parse_edits, parse_pattern, plan
from cars.synth.settings import PlanSettings
from cars.synth.sourcing import Films, Target, conditions_of, options

SETTINGS = PlanSettings(screen=False)


def gaps(workspace, *patterns: dict[str, str], deficit: int = 9, unit: str = "patient") -> None:
    frame = pd.DataFrame(
        {
            "gap_id": f"g{n}", "pattern": json.dumps(p, sort_keys=True), "sentence": f"gap {n}", "deficit": deficit,
            "rank": n + 1, "editable": True, "unit": unit, "count": 30 - deficit, "threshold": 30,
        }
        for n, p in enumerate(patterns)
    )  # fmt: skip
    workspace.write_part("gaps", "all", frame)


@pytest.fixture
def workspace(tmp_path):
    return workspace_of(tmp_path)


def sources(workspace, plan_id: str) -> pd.DataFrame:
    items = workspace.records.plan_items(plan_id)
    return items.merge(workspace.read("films"), left_on="source_dicom_id", right_on="dicom_id")


def test_takes_frontal_train_films_only_and_spreads_over_patients(workspace):
    gaps(workspace, {"Pneumothorax": "present"})
    made = plan(workspace, replace(SETTINGS, per_gap=6), judge=ToyJudge())
    films = sources(workspace, made["plan_id"])
    assert made["items"] == len(films) == 6
    assert set(films["split"]) == {"train"}
    assert set(films["view"]) <= {"PA", "AP"}
    # there are more than six train patients without the finding: nobody is used twice
    assert films["subject_id"].nunique() == 6


def test_a_film_of_no_split_and_a_synthetic_one_are_no_sources(workspace):
    gaps(workspace, {"Pneumothorax": "present"}, deficit=99)
    films = workspace.read("films")
    train = films.index[films["split"] == "train"]
    patients = films.loc[train, "subject_id"].unique()
    films.loc[films["subject_id"] == patients[0], "split"] = "none"
    films.loc[films["subject_id"] == patients[1], "origin"] = "synthetic"
    part = workspace.parts("films")[0]
    assert len(workspace.parts("films")) == 1
    workspace.write_part("films", part.stem, films, version=workspace.version("films"))
    used = sources(workspace, plan(workspace, replace(SETTINGS, per_gap=60, films=60), judge=ToyJudge())["plan_id"])
    assert set(used["split"]) == {"train"}
    assert set(used["origin"]) == {"real"}
    assert set(patients[2:]) & set(used["subject_id"]), "the others still serve"


@pytest.mark.parametrize("most", [1, 2])
def test_no_patient_is_used_more_often_than_allowed(workspace, most):
    patterns = {"Pleural Effusion": "present", "sex": "F"}, {"Edema": "present"}
    gaps(workspace, *patterns, deficit=99, unit="film")
    made = plan(workspace, replace(SETTINGS, per_gap=30, films=60, max_per_patient=most))
    films = sources(workspace, made["plan_id"])
    assert films["subject_id"].value_counts().max() == most
    assert "patient" in made["by_gap"]["g1"]["reason"]


def test_what_is_not_a_finding_already_fits_and_the_labels_fit_after_the_edit(workspace):
    gaps(workspace, {"Pleural Effusion": "absent", "sex": "F", "view": "AP"}, {"Pneumonia": "present", "sex": "M"})
    made = plan(workspace, replace(SETTINGS, per_gap=3))
    wanted = {"g0": ({"sex": "F", "view": "AP"}, "Pleural Effusion", 0), "g1": ({"sex": "M"}, "Pneumonia", 1)}
    films = sources(workspace, made["plan_id"])
    assert set(films["gap_id"]) == set(wanted)
    for film in films.to_dict("records"):
        fixed, finding, code = wanted[film["gap_id"]]
        assert all(film[name] == value for name, value in fixed.items())
        labels = {f: film[c] for f, c in COLUMN_OF.items()}
        assert labels[finding] != code
        assert after_edit(labels, film["findings"])[finding] == code
        assert set(film["findings"]) <= set(FINDINGS)


def test_the_same_plan_comes_out_twice_and_another_seed_gives_another(workspace):
    gaps(workspace, {"Edema": "present"})
    settings = replace(SETTINGS, per_gap=4)
    first, again = plan(workspace, settings), plan(workspace, settings)
    other = plan(workspace, replace(settings, seed=1))
    assert first == again
    assert first["plan_id"] != other["plan_id"]
    assert len(workspace.records.plans()) == 2


def test_a_gap_of_lateral_films_or_of_nobody_is_named_with_its_reason(workspace):
    gaps(workspace, {"Edema": "present", "view": "lateral"}, {"Edema": "present", "age_band": "80+", "sex": "F"})
    made = plan(workspace, replace(SETTINGS, per_gap=2))
    assert made["items"] == 0
    assert "frontal" in made["by_gap"]["g0"]["reason"]
    assert "never changes" in made["by_gap"]["g1"]["reason"]


def test_one_film_that_fills_two_gaps_counts_for_both(workspace):
    gaps(workspace, {"Pneumonia": "present", "sex": "M"}, {"Pneumonia": "present", "view": "PA"})
    made = plan(workspace, replace(SETTINGS, per_gap=2))
    assert made["items"] == 2
    assert [gap["planned"] for gap in made["by_gap"].values()] == [2, 2]


def test_a_film_that_fits_a_gap_before_the_edit_does_not_count_for_it(workspace):
    """Every source of g0 has the effusion that g1 asks for; the edit does not bring it."""
    gaps(workspace, {"Edema": "present", "Pleural Effusion": "present"}, {"Pleural Effusion": "present"})
    made = plan(workspace, replace(SETTINGS, gaps="g0,g1", per_gap=1, max_edits=1))
    assert made["items"] == 2
    assert [gap["planned"] for gap in made["by_gap"].values()] == [1, 1]


def test_patients_who_are_new_to_the_gap_come_first(workspace):
    films = workspace.read("films")
    # these patients have a film of a pneumonia already
    known = ["p0", "p1", "p2"]
    films.loc[films["subject_id"].isin(known) & (films["view"] == "PA"), "pneumonia"] = 1
    workspace.write_part("films", "all", films)
    gaps(workspace, {"Pneumonia": "present"})
    made = plan(workspace, replace(SETTINGS, per_gap=5))
    assert not set(known) & set(sources(workspace, made["plan_id"])["subject_id"])


def test_the_judge_screens_films_that_do_not_look_like_their_label(workspace):
    """The toy judge sees a finding on every bright film, so an insertion there cannot be shown to work."""
    gaps(workspace, {"Edema": "present"})
    made = plan(workspace, replace(SETTINGS, per_gap=20, screen=True, max_edits=1), judge=ToyJudge())
    films = sources(workspace, made["plan_id"])
    assert len(films)
    assert (films["pleural_effusion"] != 1).all()
    unscreened = plan(workspace, replace(SETTINGS, per_gap=20, max_edits=1))
    assert (sources(workspace, unscreened["plan_id"])["pleural_effusion"] == 1).any()


def test_a_balanced_plan_has_both_directions(workspace):
    made = plan(workspace, replace(SETTINGS, balanced=2, edits="insert:Pleural Effusion,delete:Pleural Effusion"))
    films = sources(workspace, made["plan_id"])
    assert {k: v["planned"] for k, v in made["by_gap"].items()} == {
        "insert Pleural Effusion": 2,
        "delete Pleural Effusion": 2,
    }
    for film in films.to_dict("records"):
        assert (film["pleural_effusion"] == 1) == (film["findings"]["Pleural Effusion"] == "delete")


def test_a_patient_with_films_in_train_and_test_is_never_a_source(tmp_path):
    workspace = workspace_of(tmp_path)
    films = workspace.read("films")
    films.loc[films["dicom_id"] == "d000", "split"] = "test"
    workspace.write_part("films", "all", films)
    made = plan(workspace, replace(SETTINGS, balanced=9, edits="delete:Pleural Effusion"))
    assert "p0" not in set(sources(workspace, made["plan_id"])["subject_id"])


def test_says_what_is_missing(tmp_path, workspace):
    with pytest.raises(WorkspaceError, match="gaps"):
        plan(workspace, SETTINGS)
    gaps(workspace, {"Edema": "present"})
    with pytest.raises(SettingError, match="nowhere"):
        plan(workspace, replace(SETTINGS, gaps="nowhere"))
    with pytest.raises(SettingError, match="paint:Edema"):
        parse_edits("paint:Edema")
    with pytest.raises(SettingError, match="shoe size"):
        parse_pattern({"shoe size": "44"})


def test_refuses_a_crossing_patient_among_the_sources(workspace):
    from cars.synth.data import refuse_other_splits

    refuse_other_splits(workspace, ["p0", "p1"])
    with pytest.raises(DataError, match="validate or test"):
        refuse_other_splits(workspace, ["p0", "p5"])


# The films that could be made, film by film ---------------------------------------------------------------------------

PATTERNS = [
    {"sex": "F", "Pneumothorax": "present"},
    {"view": "PA", "Edema": "present", "Pleural Effusion": "present"},
    {"Edema": "absent", "age_band": "80+"},
    {"Lung Opacity": "present", "sex": "M"},
    {"No Finding": "present", "view": "AP"},
    {"Pneumonia": "present", "view": "lateral"},
    {"Fracture": "present"},
]


@st.composite
def films(draw: st.DrawFn) -> pd.DataFrame:
    """A few films; the labels are mostly not mentioned, as in real tables."""
    rows = []
    for n in range(draw(st.integers(1, 6))):
        labels = draw(st.lists(st.sampled_from([1, 0, -1, -2, -2, -2]), min_size=14, max_size=14))
        patient = draw(st.integers(0, 3))
        rows.append(
            {
                "dicom_id": f"d{n}", "subject_id": f"p{patient}", "study_id": f"s{n}", "race": "unknown",
                "sex": draw(st.sampled_from("FM")), "age_band": draw(st.sampled_from(["40–59", "80+"])),
                "view": draw(st.sampled_from(["PA", "AP", "lateral"])), **dict(zip(COLUMN_OF.values(), labels)),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def fits(film: dict, labels: dict[str, int], pattern: dict[str, str]) -> bool:
    return all(labels[a] == FINDING_CODES[v] if a in labels else film[a] == v for a, v in pattern.items())


@examples(max_examples=60, deadline=None)
@given(films(), st.sampled_from([1, 2]), st.sampled_from(["patient", "film"]))
def test_what_could_be_made_is_what_editing_each_film_gives(frame, most, unit):
    """Every set of gaps that an edit of a film serves is offered, by an edit as small as any, and no other."""
    targets = [Target(f"g{n}", "", p, conditions_of(p), 9, unit=unit) for n, p in enumerate(PATTERNS)]
    rows = frame.to_dict("records")
    labels = [{f: row[c] for f, c in COLUMN_OF.items()} for row in rows]
    known = {
        (row["subject_id"], n) for row, have in zip(rows, labels) for n, p in enumerate(PATTERNS) if fits(row, have, p)
    }
    expected: dict[tuple[int, frozenset[int]], int] = {}
    for film, (row, have) in enumerate(zip(rows, labels)):
        for edit in edit_sets([(f, d) for f in EDITABLE for d in ("insert", "delete")], most):
            if row["view"] not in FRONTAL or any(
                have[f] in ((1, -1) if d == "insert" else (0, -1, -2)) for f, d in edit
            ):
                continue
            after = after_edit(have, dict(edit))
            served = frozenset(
                n for n, p in enumerate(PATTERNS)
                if fits(row, after, p) and not fits(row, have, p)
                and (unit == "film" or (row["subject_id"], n) not in known)
            )  # fmt: skip
            if served:
                size = expected.get((film, served), 9)
                expected[film, served] = min(size, len(edit))
    found = options(targets, Films.of(frame), np.arange(len(frame)), most)
    offered: dict[tuple[int, frozenset[int]], int] = {}
    for n, (film, edit) in enumerate(found.made):
        key = film, frozenset(found.candidates.of(n))
        offered[key] = min(offered.get(key, 9), len(edit))
    assert offered == expected


def test_kinds_of_films_keep_apart_what_patterns_name():
    frame = pd.DataFrame(
        {
            "dicom_id": list("abcd"), "subject_id": "p", "study_id": "s", "race": ["X", "X", "X", "Y"], "view": "PA",
            "sex": ["F", "F", "M", "F"], "age_band": "80+", **dict.fromkeys(COLUMN_OF.values(), -2),
        }
    )  # fmt: skip
    first, kind = Films.of(frame).kinds()
    assert len(first) == 3
    assert kind[0] == kind[1]
    assert len({kind[0], kind[2], kind[3]}) == 3


# Cost -----------------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_it_costs_before_anything_runs(workspace):
    gaps(workspace, {"Edema": "present"}, {"Pneumonia": "present", "sex": "F"}, deficit=3)
    told = estimate(workspace, replace(SETTINGS, screen=True))
    assert len(workspace.records.plans()) == 0, "nothing is filed"
    made = plan(workspace, SETTINGS)
    assert told == {k: v for k, v in made.items() if k != "plan_id"}
    cost = made["cost"]
    assert made["items"] == 3, "three women's films with both findings fill both gaps"
    assert made["lower_bound"] == 3
    assert cost["by_kind"] == {"insert Edema and insert Pneumonia": 3}
    assert cost["by_change"] == {"insert Edema": 3, "insert Pneumonia": 3}
    assert cost["films"] == cost["patients"] == 3
    assert cost["pass_rate"] is None
    assert cost["films_to_try"] is None
    assert "estimate" in cost["basis"]
    assert any("not known" in line for line in in_words(cost))
    assert made["by_gap"]["g0"] == {
        "sentence": "gap 0", "planned": 3, "wanted": 3, "count": 27, "threshold": 30, "reason": ""
    }  # fmt: skip


def test_the_pass_rate_is_that_of_earlier_edits_of_the_kind():
    insert, delete = (("Edema", "insert"),), (("Edema", "delete"),)
    tried = {insert: (9, 10), delete: (1, 2)}
    rate = pass_rate([insert, insert, delete, delete], tried)
    # deletions were tried too rarely for a rate of their own: all edits stand in
    assert rate["value"] == pytest.approx((0.9 + 10 / 12) / 2)
    assert rate["low"] < rate["value"] < rate["high"]
    assert pass_rate([insert], tried)["n"] == 10
    assert pass_rate([insert], {}) is None
    weights = weights_of(tried | {delete: (1, 10)})
    assert weights[delete] / weights[insert] == pytest.approx((10 / 12) / (2 / 12))
    assert edit_of({"Edema": "insert", "Atelectasis": "delete"}) == (("Atelectasis", "delete"), ("Edema", "insert"))


def test_films_to_try_and_time_follow_from_the_edits_made_here(workspace):
    rows = []
    for n in range(24):
        rows.append(
            {
                "edit_id": f"e{n}", "plan_id": "p", "findings": json.dumps({"Edema": "insert"}), "passed": n % 2 == 0,
                "generator": "cars", "error": None, "created": 1000.0 + 40 * (n // 8),
            }
        )  # fmt: skip
    workspace.write_part("edits", "a", pd.DataFrame(rows).astype({"error": "str"}))
    cost = cost_of(workspace, [{"Edema": "insert"}] * 6, 6)
    assert cost["pass_rate"]["value"] == 0.5
    assert cost["films_to_try"] == 12
    assert cost["seconds_per_film"] == 5.0, "40 s for each chunk of eight"
    assert cost["seconds"] == 60.0
    assert "16 films" in cost["basis"]


# What counts ----------------------------------------------------------------------------------------------------------


def test_a_patient_who_has_such_a_film_is_no_source_where_patients_count(workspace):
    films = workspace.read("films")
    films["pneumonia"] = films["pneumonia"].where(films["view"] != "lateral", 1)
    workspace.write_part("films", "all", films)
    gaps(workspace, {"Pneumonia": "present"})
    made = plan(workspace, SETTINGS)
    assert made["items"] == 0
    assert "already" in made["by_gap"]["g0"]["reason"]
    gaps(workspace, {"Pneumonia": "present"}, unit="film")
    assert plan(workspace, SETTINGS)["by_gap"]["g0"]["planned"] == 9


def test_a_film_outside_the_filter_of_the_search_counts_for_nothing(workspace):
    gaps(workspace, {"Edema": "present"}, deficit=5)
    note = workspace.path / "tables" / "gaps" / str(workspace.version("gaps")) / "note.json"
    note.write_text(json.dumps({"settings": {"where": "view:PA; sex:F"}}))
    used = sources(workspace, plan(workspace, SETTINGS)["plan_id"])
    assert set(used["view"]) == {"PA"}
    assert set(used["sex"]) == {"F"}


def test_a_kind_of_edit_that_mostly_fails_is_avoided_where_another_does(workspace):
    """A lung opacity comes with any of its children; the one planned first has failed, another kind has not."""
    gaps(workspace, {"Lung Opacity": "present"}, deficit=4)
    first = sources(workspace, plan(workspace, SETTINGS)["plan_id"])["findings"]
    kind = next(iter(first[0].items()))
    rows = [
        {"edit_id": f"e{n}", "plan_id": "p", "findings": json.dumps(findings), "passed": passed, "generator": "cars",
         "error": None, "created": 1.0}
        for findings, passed in ((dict([kind]), False), ({"Pneumothorax": "insert"}, True))
        for n in range(9)
    ]  # fmt: skip
    workspace.write_part("edits", "a", pd.DataFrame(rows).astype({"error": "str"}))
    again = sources(workspace, plan(workspace, SETTINGS)["plan_id"])["findings"]
    assert all(kind not in changes.items() for changes in again)
