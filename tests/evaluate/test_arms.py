"""Who may be learned from: no patient crosses splits, labels follow the stated policy, controls are what they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cars import schema
from cars.errors import DataError, SettingError, WorkspaceError
from cars.evaluate import FinetuneSettings
from cars.evaluate.arms import TrainingSets, of_split, read_films, targets
from cars.evaluate.settings import ARMS

from .conftest import make_workspace

POLICY = ("ignore", "absent")
LESION = schema.FINDINGS.index("Lung Lesion")


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("arms") / "ws")


def sets_of(workspace, **more):
    return TrainingSets.read(workspace, FinetuneSettings(**more))


def cases_of(workspace, arm, **more):
    """The arm's training set; of cars-then-real the edits that it learns from first."""
    return sets_of(workspace, **more).of(arm)[0]


@pytest.mark.parametrize("arm", ARMS)
def test_no_patient_of_validate_or_test_is_in_any_arm(lesions, arm):
    films = read_films(lesions, "frontal")
    held_out = set(films.loc[films["split"] != "train", "subject_id"])
    assert held_out
    edits = lesions.read("edits").set_index("edit_id")["source_dicom_id"]
    patients = films.set_index("dicom_id")["subject_id"]
    for cases in sets_of(lesions, label_prompted="all").of(arm):
        assert len(cases)
        assert not held_out & set(cases.rows["subject_id"])
        # and by the source of each edit, looked up anew
        sources = [edits.get(i.removesuffix(".sham"), i) for i in cases.ids]
        assert not held_out & set(patients[sources])


@pytest.mark.parametrize("split", ["test", "validate"])
@pytest.mark.parametrize(("column", "of"), [("source_subject_id", "subject_id"), ("source_dicom_id", "dicom_id")])
def test_an_edit_of_a_held_out_patient_is_refused(tmp_path, split, column, of):
    workspace = make_workspace(tmp_path / "ws")
    edits, films = workspace.read("edits"), workspace.read("films")
    for first in ("edit0000", "base0000"):
        edits.loc[edits["edit_id"] == first, column] = films.loc[films["split"] == split, of].iloc[0]
    workspace.write_part("edits", "0", edits)
    for arm in set(ARMS) - {"real", "real-equal-steps"}:
        first = "base0000" if arm == "real+label-prompted" else "edit0000"
        with pytest.raises(DataError, match=rf"1 edits were not made from a film of the train .* '{first}'"):
            cases_of(workspace, arm, label_prompted="all")


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
    sets = sets_of(lesions)
    real, equal, oversampled, sham, prompted, cars, _, sources = (sets.of(arm)[-1] for arm in ARMS)
    assert real.key == equal.key
    assert len(cars) == len(sham) == len(sources) == len(oversampled) == len(prompted) == len(real) + 11
    added = slice(len(real), None)
    for arm in (cars, oversampled, prompted):
        assert (arm.y[added, LESION] == 1).all()
    for control in (sham, sources):
        assert (control.y[added, LESION] == 0).all(), "controls keep their source's labels"
    for arm in (cars, sham, prompted):
        assert set(arm.rows["origin"][added]) == {"synthetic"}
    for arm in (sources, oversampled):
        assert set(arm.rows["origin"]) == {"real"}
        assert set(arm.ids[added]) <= set(real.ids)
    assert all(i.startswith("base") for i in prompted.ids[len(real) :])
    for cases in (cars, sham, sources, oversampled, prompted):
        assert cases.ids[: len(real)] == real.ids


def test_the_arm_that_starts_with_edits_goes_on_with_real_films_alone(lesions):
    sets = sets_of(lesions, steps=100, pretrain=0.3)
    first, second = sets.phases("cars-then-real")
    assert first.cases.ids == sets.of("real+cars")[0].ids[-11:]
    assert second.cases.key == sets.of("real")[0].key
    assert (first.steps, second.steps) == (30, 70)


def test_steps_of_the_arms(lesions):
    sets = sets_of(lesions, steps=830)
    steps = {arm: sum(phase.steps for phase in sets.phases(arm, set())) for arm in ARMS}
    assert steps.pop("real") == 720, "72 films and 11 edits: each of the 72 is seen as often as in real+cars"
    assert set(steps.values()) == {830}


def test_without_edits_real_takes_all_steps(tmp_path):
    sets = sets_of(make_workspace(tmp_path / "ws", edits=0), steps=50)
    assert [phase.steps for phase in sets.phases("real", set())] == [50]


@pytest.mark.parametrize(("which", "count"), [("all", 12), ("passed", 3), ("matched", 11)])
def test_which_label_prompted_films(lesions, which, count):
    films = sets_of(lesions, label_prompted=which).label_prompted
    assert len(films) == count
    assert films["edit_id"].is_monotonic_increasing


def test_a_rejected_label_prompted_film_is_left_out(tmp_path):
    workspace = make_workspace(tmp_path / "ws")
    workspace.records.decide("base0001", "reject")
    assert len(sets_of(workspace).label_prompted) == 10


def test_no_baseline_is_among_the_accepted_edits(tmp_path):
    workspace = make_workspace(tmp_path / "ws")
    edits = workspace.read("edits")
    assert edits.loc[edits["generator"] == "label-prompted", "passed"].any()
    assert set(sets_of(workspace).edits["generator"]) == {"toy"}


def test_films_drawn_again_are_alike_where_they_can_be(tmp_path):
    workspace = make_workspace(tmp_path / "ws")
    films, edits = workspace.read("films"), workspace.read("edits")
    have = films.index[(films["split"] == "train") & (films["lung_lesion"] == schema.PRESENT)]
    films.loc[have[0], "sex"] = "M"
    workspace.write_part("films", "0", films)
    edits.loc[0, "sex"] = "M"  # the only film of a man with a lesion
    edits.loc[1, "findings"] = '{"Lung Lesion": "delete"}'
    edits.loc[2, "findings"] = '{"Fracture": "insert"}'  # no film has one
    workspace.write_part("edits", "0", edits)
    sets = sets_of(workspace)
    cases = sets.of("oversampled")[0]
    added = slice(len(sets.of("real")[0]), None)
    assert len(cases.ids[added]) == 10
    assert cases.ids[added][0] == films.loc[have[0], "dicom_id"]
    assert cases.y[added, LESION].tolist() == [1, 0] + [1] * 8
    assert films.loc[have[0], "dicom_id"] not in cases.ids[added][1:], "all other edits are of women"


def test_no_film_to_draw_again_is_said(tmp_path):
    workspace = make_workspace(tmp_path / "ws")
    edits = workspace.read("edits")
    edits["findings"] = '{"Fracture": "insert"}'
    workspace.write_part("edits", "0", edits)
    with pytest.raises(WorkspaceError, match="no real film to draw again"):
        cases_of(workspace, "oversampled")


def test_an_arm_without_accepted_edits_is_refused(tmp_path):
    workspace = make_workspace(tmp_path / "ws", edits=0)
    with pytest.raises(WorkspaceError, match="needs accepted edits and there are none"):
        cases_of(workspace, "real+cars")
    with pytest.raises(WorkspaceError, match=r"needs films of the generator label-prompted .*matched"):
        cases_of(workspace, "real+label-prompted")


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
