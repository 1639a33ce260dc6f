"""A plan changed before it is run: another plan is filed, and the first stays as it is."""

from __future__ import annotations

import pytest
from synth_toys import ToyGenerator, ToyJudge, ToySegmenter, workspace_of

from cars.errors import SettingError, WorkspaceError
from cars.synth import PlanSettings, SynthSettings, plan, plan_cost, plan_table, revise, synth
from cars.synth.planning import parse_gaps


@pytest.fixture
def planned(tmp_path):
    workspace = workspace_of(tmp_path, 12)
    settings = PlanSettings(screen=False, balanced=3, edits="insert:Pneumothorax,delete:Pleural Effusion")
    return workspace, plan(workspace, settings)["plan_id"]


def test_items_left_out_and_other_seeds_make_another_plan(planned):
    workspace, first = planned
    before = workspace.records.plan_items(first)
    second = revise(workspace, first, [0, 2, 5], {2: 77})
    assert second != first
    after = workspace.records.plan_items(second)
    assert list(after["item"]) == [0, 1, 2]
    assert list(after["source_dicom_id"]) == list(before["source_dicom_id"].iloc[[0, 2, 5]])
    assert list(after["findings"]) == list(before["findings"].iloc[[0, 2, 5]])
    assert list(after["seed"]) == [before["seed"].iat[0], 77, before["seed"].iat[5]]
    assert workspace.records.plan_items(first).equals(before)
    assert workspace.records.plans().set_index("plan_id").at[second, "settings"]["revised"] == first
    assert revise(workspace, first, [5, 0, 2], {2: 77}) == second, "the same change is the same plan"
    assert revise(workspace, first, [0, 2, 5]) not in (first, second)


def test_no_change_is_no_new_plan(planned):
    workspace, first = planned
    seed = int(workspace.records.plan_items(first).at[1, "seed"])
    assert revise(workspace, first) == revise(workspace, first, range(6), {1: seed}) == first
    assert len(workspace.records.plans()) == 1


def test_what_is_no_plan_is_refused(planned):
    workspace, first = planned
    for keep, seeds, words in (
        ([], {}, "no film"), ([6], {}, "no item 6"), (None, {9: 1}, "no item 9"), (None, {1: -1}, "-1 is no seed"),
        (None, {1: 2**31}, "no seed"),
    ):  # fmt: skip
        with pytest.raises(SettingError, match=words):
            revise(workspace, first, keep, seeds)
    with pytest.raises(WorkspaceError, match="'nobody'"):
        revise(workspace, "nobody")
    assert len(workspace.records.plans()) == 1


def test_a_revised_plan_is_made_and_only_it(planned):
    workspace, first = planned
    second = revise(workspace, first, [1, 4])
    settings = SynthSettings(second, ToyGenerator(), ToySegmenter(), ToyJudge(), steps=2)
    assert synth(workspace, settings)["requested"] == 2
    assert set(workspace.read("edits")["plan_id"]) == {second}


def test_the_table_says_what_is_done_to_whom_and_the_cost_follows_what_is_kept(planned):
    workspace, first = planned
    table = plan_table(workspace, first)
    assert list(table["edit"]) == ["insert Pneumothorax"] * 3 + ["delete Pleural Effusion"] * 3
    films = workspace.read("films").set_index("dicom_id")
    for row in table.itertuples():
        assert (row.view, row.sex, row.age) == tuple(films.loc[row.source_dicom_id, ["view", "sex", "age"]])
    cost = plan_cost(workspace, first, [0, 4])
    assert (cost["films"], cost["patients"]) == (2, 2)
    assert cost["by_kind"] == {"insert Pneumothorax": 1, "delete Pleural Effusion": 1}
    assert plan_cost(workspace, first)["films"] == 6


def test_how_many_films_a_gap_gets():
    assert parse_gaps(" 1f2e:12, 9c5e ,") == {"1f2e": 12, "9c5e": None}
    for wrong in ("a:0", "a:-1", "a:x", "a:", "a:1.5"):
        with pytest.raises(SettingError, match="how many to add"):
            parse_gaps(wrong)
