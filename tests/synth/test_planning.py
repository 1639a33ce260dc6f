"""The verb plan: whose films it takes, what it changes, and what it says where it cannot."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
from synth_toys import ToyJudge, workspace_of

from cars.errors import DataError, SettingError, WorkspaceError
from cars.schema import COLUMN_OF, FINDINGS, after_edit
from cars.synth.planning import changes_for, parse_edits, parse_pattern, plan
from cars.synth.settings import PlanSettings

SETTINGS = PlanSettings(screen=False)


def gaps(workspace, *patterns: dict[str, str], deficit: int = 9) -> None:
    frame = pd.DataFrame(
        {
            "gap_id": f"g{n}", "pattern": json.dumps(p, sort_keys=True), "sentence": f"gap {n}", "deficit": deficit,
            "rank": n + 1, "editable": True,
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
    gaps(workspace, {"Pleural Effusion": "present", "sex": "F"}, {"Edema": "present"}, deficit=99)
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
    made = plan(workspace, replace(SETTINGS, gaps="g0,g1", per_gap=2, films=2, max_edits=1))
    assert made["by_gap"]["g0"]["planned"] == 2
    assert made["by_gap"]["g1"]["planned"] == 0


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


@pytest.mark.parametrize(
    ("labels", "wanted", "expected"),
    [
        ({}, {"Edema": 1}, {"Edema": "insert"}),
        ({"Edema": 1}, {"Edema": 1}, {}),
        ({"Edema": -1}, {"Edema": 1}, None),
        ({"Edema": 1}, {"Edema": 0}, {"Edema": "delete"}),
        ({}, {"Edema": 0}, None),
        ({"Edema": 1, "Lung Opacity": 1}, {"No Finding": 1}, {"Edema": "delete"}),
        ({"Edema": 1, "Fracture": 1}, {"No Finding": 1}, None),
        ({"Pneumonia": -1, "Edema": 1}, {"No Finding": 1}, None),
        ({}, {"Fracture": 1}, None),
        ({}, {"Edema": -1}, None),
    ],
)
def test_changes_for(labels, wanted, expected):
    assert changes_for({f: labels.get(f, -2) for f in FINDINGS}, wanted) == expected


def test_refuses_a_crossing_patient_among_the_sources(workspace):
    from cars.synth.data import refuse_other_splits

    refuse_other_splits(workspace, ["p0", "p1"])
    with pytest.raises(DataError, match="validate or test"):
        refuse_other_splits(workspace, ["p0", "p5"])
