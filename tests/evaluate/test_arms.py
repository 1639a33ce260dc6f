"""Who may be learned from: no patient crosses splits, labels follow the stated policy, controls are what they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cars import schema
from cars.errors import DataError, SettingError, WorkspaceError
from cars.evaluate.arms import of_split, read_edits, read_films, targets, training_cases
from cars.evaluate.settings import ARMS

from .conftest import make_workspace

POLICY = ("ignore", "absent")
LESION = schema.FINDINGS.index("Lung Lesion")


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("arms") / "ws")


def cases_of(workspace, arm):
    return training_cases(arm, read_films(workspace, "frontal"), read_edits(workspace, "frontal"), workspace, *POLICY)


@pytest.mark.parametrize("arm", ARMS)
def test_no_patient_of_validate_or_test_is_in_any_arm(lesions, arm):
    films = read_films(lesions, "frontal")
    cases = cases_of(lesions, arm)
    held_out = set(films.loc[films["split"] != "train", "subject_id"])
    assert held_out
    assert not held_out & set(cases.rows["subject_id"])
    # and by the source of each edit, looked up anew
    edits = lesions.read("edits").set_index("edit_id")["source_dicom_id"]
    sources = [edits.get(i.removesuffix(".sham"), i) for i in cases.ids]
    patients = films.set_index("dicom_id")["subject_id"]
    assert not held_out & set(patients[sources])


@pytest.mark.parametrize("split", ["test", "validate"])
@pytest.mark.parametrize(("column", "of"), [("source_subject_id", "subject_id"), ("source_dicom_id", "dicom_id")])
def test_an_edit_of_a_held_out_patient_is_refused(tmp_path, split, column, of):
    workspace = make_workspace(tmp_path / "ws")
    edits, films = workspace.read("edits"), workspace.read("films")
    edits.loc[0, column] = films.loc[films["split"] == split, of].iloc[0]
    workspace.write_part("edits", "0", edits)
    for arm in set(ARMS) - {"real"}:
        with pytest.raises(DataError, match=r"1 accepted edits were not made from a film of the train .* 'edit0000'"):
            cases_of(workspace, arm)


def test_a_synthetic_row_among_the_films_is_no_real_film(tmp_path):
    workspace = make_workspace(tmp_path / "ws")
    films = workspace.read("films")
    usable = read_films(workspace, "frontal")
    fake = usable["dicom_id"].iloc[0]
    films.loc[films["dicom_id"] == fake, "origin"] = "synthetic"
    workspace.write_part("films", workspace.parts("films")[0].stem, films, version=workspace.version("films"))
    left = read_films(workspace, "frontal")
    assert len(left) == len(usable) - 1
    assert fake not in set(left["dicom_id"])


def test_only_accepted_edits_are_used(tmp_path):
    workspace = make_workspace(tmp_path / "ws", edits=6)
    assert sum(i.startswith("edit") for i in cases_of(workspace, "real+cars").ids) == 5, "one failed a gate"
    workspace.records.decide("edit0001", "reject")
    ids = cases_of(workspace, "real+cars").ids
    assert "edit0001" not in ids
    assert sum(i.startswith("edit") for i in ids) == 4
    workspace.records.decide("edit0001", "undo")
    assert "edit0001" in cases_of(workspace, "real+cars").ids


def test_each_arm_adds_what_it_says(lesions):
    real, cars, sham, sources = (cases_of(lesions, arm) for arm in ARMS)
    assert len(cars) == len(sham) == len(sources) == len(real) + 11
    added = slice(len(real), None)
    assert (cars.y[added, LESION] == 1).all()
    for control in (sham, sources):
        assert (control.y[added, LESION] == 0).all(), "controls keep their source's labels"
    assert set(cars.rows["origin"][added]) == {"synthetic"}
    assert set(sources.rows["origin"]) == {"real"}
    assert set(sources.ids[added]) <= set(real.ids)
    for cases in (cars, sham, sources):
        assert cases.ids[: len(real)] == real.ids


def test_an_arm_without_accepted_edits_is_refused(tmp_path):
    workspace = make_workspace(tmp_path / "ws", edits=0)
    with pytest.raises(WorkspaceError, match="needs accepted edits and there are none"):
        cases_of(workspace, "real+cars")


def test_an_unknown_arm_lists_the_arms(lesions):
    with pytest.raises(SettingError, match=r"'fake'.*real\+cars"):
        cases_of(lesions, "fake")


def test_a_patient_in_two_splits_is_refused(tmp_path):
    workspace = make_workspace(tmp_path / "ws", edits=0)
    films = workspace.read("films")
    films.loc[0, "split"] = "test"
    workspace.write_part("films", "0", films)
    with pytest.raises(DataError, match="1 patients have films in more than one split"):
        read_films(workspace, "frontal")


def test_lateral_films_take_part_only_when_asked(tmp_path):
    workspace = make_workspace(tmp_path / "ws", edits=0)
    films = workspace.read("films")
    films.loc[0, "view"] = "lateral"
    workspace.write_part("films", "0", films)
    assert len(read_films(workspace, "all")) == len(read_films(workspace, "frontal")) + 1


def test_targets_by_hand():
    codes = np.array([[schema.PRESENT, schema.ABSENT, schema.UNCERTAIN, schema.NOT_MENTIONED]])
    expected = {
        ("ignore", "absent"): ([1, 0, 0, 0], [True, True, False, True]),
        ("ignore", "ignore"): ([1, 0, 0, 0], [True, True, False, False]),
        ("positive", "absent"): ([1, 0, 1, 0], [True, True, True, True]),
        ("negative", "ignore"): ([1, 0, 0, 0], [True, True, True, False]),
    }
    for policy, (y, known) in expected.items():
        found = targets(codes, *policy)
        assert found[0].tolist() == [y], policy
        assert found[1].tolist() == [known], policy


def test_the_key_of_a_training_set_holds_labels_not_paths(lesions):
    films = read_films(lesions, "frontal")
    same = of_split(films.assign(path="/elsewhere"), "train", *POLICY)
    assert same.key == of_split(films, "train", *POLICY).key
    changed = films.copy()
    changed.loc[changed.index[changed["split"] == "train"][0], "edema"] = 1
    assert of_split(changed, "train", *POLICY).key != same.key
    assert isinstance(same.rows, pd.DataFrame)
