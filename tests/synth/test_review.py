"""Looking through edits: filters against a plain loop, what each decision may be, and that baselines are never used."""

from __future__ import annotations

import itertools
import json
import zipfile

import pandas as pd
import pytest
from edits_by_hand import write_edits
from synth_toys import ToyGenerator, ToyJudge, ToySegmenter, workspace_of

from cars.errors import DataError
from cars.export import ExportSettings, export
from cars.gates import names as gate_names
from cars.generators import GENERATORS, is_baseline
from cars.synth import PlanSettings, SynthSettings, edit_table, plan, review, synth
from cars.workspace import Workspace, write_json

PLAN = PlanSettings(screen=False, balanced=3, edits="insert:Pneumothorax,delete:Pleural Effusion")
OUTCOMES = ("passed", "judge", "passed", "error", "anatomy", "passed")
BASELINES = [name for name in GENERATORS if is_baseline(GENERATORS.get(name))]


@pytest.fixture
def made(tmp_path) -> tuple[Workspace, str, list[str]]:
    """A plan of three insertions and three deletions; items 0, 2 and 5 passed, 1 and 4 failed, 3 could not be made."""
    workspace = workspace_of(tmp_path, 12)
    plan_id = plan(workspace, PLAN)["plan_id"]
    return workspace, plan_id, write_edits(workspace, plan_id, OUTCOMES)


def accepted(workspace, view="accepted_edits"):
    with workspace.connect() as db:
        return {row[0] for row in db.execute(f"SELECT edit_id FROM {view}").fetchall()}


def rows_of(workspace):
    return {row["edit_id"]: row for row in edit_table(workspace).to_dict("records")}


def test_what_became_of_each_edit(made):
    workspace, _, ids = made
    workspace.records.decide(ids[2], "reject")
    rows = rows_of(workspace)
    assert [review.state(rows[i]) for i in ids] == ["used", "failed", "rejected", "not made", "failed", "used"]
    assert [review.failed_gates(rows[i]) for i in (ids[0], ids[1], ids[4])] == [[], ["judge"], ["anatomy"]]
    assert {i for i in ids if review.state(rows[i]) == "used"} == accepted(workspace)


def test_a_decision_may_be_what_would_change_something(made):
    workspace, _, ids = made
    workspace.records.decide(ids[0], "accept")
    workspace.records.decide(ids[2], "reject")
    workspace.records.note(ids[5], "later")
    rows = rows_of(workspace)
    assert [review.open_to(rows[i]) for i in ids] == [
        ("reject", "undo"), (), ("accept", "undo"), (), (), ("accept", "reject"),
    ]  # fmt: skip


def test_filters_leave_what_a_plain_loop_leaves(made):
    workspace, _, ids = made
    workspace.records.decide(ids[0], "accept")
    workspace.records.decide(ids[5], "reject")
    table = edit_table(workspace)
    rows = table.sort_values("item").to_dict("records")

    def fits(row, wanted):
        outcome = {
            "all": True, "passed all": row["passed"], "not made": isinstance(row["error"], str),
            "baseline": row["baseline"], **{f"failed {g}": row[f"gate_{g}"] is False for g in gate_names()},
        }[wanted.outcome]  # fmt: skip
        changes = json.loads(row["findings"]).items()
        finding = any(wanted.finding in ("all", f) and wanted.direction in ("all", d) for f, d in changes)
        decision = {"accept": "accepted", "reject": "rejected"}.get(row["decision"], "undecided")
        return outcome and finding and wanted.decision in ("all", decision)

    choices = review.choices(table)
    assert choices["outcome"] == {"all": 6, "passed all": 3, "failed judge": 1, "failed anatomy": 1, "not made": 1}
    assert choices["finding"] == {"all": 6, "Pleural Effusion": 3, "Pneumothorax": 3}
    assert choices["direction"] == {"all": 6, "insert": 3, "delete": 3}
    assert choices["decision"] == {"all": 6, "undecided": 4, "accepted": 1, "rejected": 1}
    tried = 0
    for values in itertools.product(*(choices[name] for name in ("outcome", "finding", "direction", "decision"))):
        wanted = review.Filter(*values)
        assert list(review.select(table, wanted)["edit_id"]) == [r["edit_id"] for r in rows if fits(r, wanted)], wanted
        tried += 1
    assert tried == 5 * 3 * 3 * 4
    assert review.select(table, review.Filter(outcome="failed copy")).empty


def test_an_edit_of_two_findings_is_found_under_both_with_the_direction_of_each(made):
    workspace, _, ids = made
    table = edit_table(workspace)
    table.loc[table["edit_id"] == ids[0], "findings"] = '{"Edema": "delete", "Pneumothorax": "insert"}'
    assert list(review.select(table, review.Filter(finding="Edema"))["edit_id"]) == [ids[0]]
    assert ids[0] in set(review.select(table, review.Filter(finding="Pneumothorax"))["edit_id"])
    assert review.select(table, review.Filter(finding="Edema", direction="insert")).empty


def test_an_empty_table_has_choices_too(made):
    table = edit_table(made[0]).head(0)
    assert review.choices(table)["outcome"] == {"all": 0}
    assert review.select(table, review.Filter()).empty


def test_the_place_of_an_edit_that_left_the_list_is_the_next_ones():
    ids = ["a", "b", "c"]
    assert review.position(ids, "b", 0) == 1
    assert review.position(ids, "gone", 1) == 1
    assert review.position(ids, "gone", 3) == 2
    assert review.position([], "gone", 3) == 0


def test_what_is_still_to_come(made):
    workspace, plan_id, _ = made
    table = edit_table(workspace, plan_id)
    assert review.waiting(workspace, plan_id, table) == []
    assert review.waiting(workspace, plan_id, table[table["item"].isin([1, 4])]) == [0, 2, 3, 5]


def test_only_a_film_that_passed_can_be_accepted(made):
    workspace, _, ids = made
    review.decide(workspace, ids[0], "accept")
    for edit_id, why in ((ids[1], "failed a gate"), (ids[3], "no film was made")):
        with pytest.raises(DataError, match=why):
            review.decide(workspace, edit_id, "accept")
    with pytest.raises(DataError, match="'nobody'"):
        review.decide(workspace, "nobody", "accept")
    assert list(workspace.records.latest_decisions()["edit_id"]) == [ids[0]]
    review.decide(workspace, ids[2], "reject")
    review.decide(workspace, ids[2], "accept")
    assert ids[2] in accepted(workspace)


def test_a_note_outlives_decisions_and_decides_nothing(made):
    workspace, _, ids = made
    workspace.records.note(ids[0], "faint")
    assert accepted(workspace) == {ids[0], ids[2], ids[5]}
    row = rows_of(workspace)[ids[0]]
    assert (row["note"], pd.isna(row["decision"])) == ("faint", True)
    review.decide(workspace, ids[0], "reject")
    assert rows_of(workspace)[ids[0]]["note"] == "faint"
    workspace.records.note(ids[0], "wires bent")
    assert ids[0] not in accepted(workspace), "a note leaves the decision as it is"
    review.decide(workspace, ids[0], "undo")
    assert ids[0] in accepted(workspace)
    assert rows_of(workspace)[ids[0]]["note"] == "wires bent"
    workspace.records.note(ids[0], "")
    assert workspace.records.latest_decisions().empty
    with workspace.records.open() as db:
        assert db.execute("SELECT count(*) FROM decisions").fetchone()[0] == 5, "nothing is deleted"


# Baselines -----------------------------------------------------------------------------------------------------------


def test_there_are_baselines():
    assert {"sdedit", "copy-paste"} <= set(BASELINES)


@pytest.mark.parametrize("generator", BASELINES)
def test_edits_of_a_baseline_are_never_used(made, generator):
    workspace, plan_id, _ = made
    before = accepted(workspace)
    compared = write_edits(workspace, plan_id, ("passed", "passed", "judge"), generator, part="b")
    with pytest.raises(DataError, match="baseline"):
        review.decide(workspace, compared[0], "accept")
    workspace.records.decide(compared[0], "accept")  # as the command line may
    workspace.records.decide(compared[1], "reject")
    assert accepted(workspace) == before
    assert accepted(workspace, "baseline_edits") == {compared[0]}
    assert review.state(rows_of(workspace)[compared[0]]) == "baseline"


def test_nothing_that_uses_edits_finds_those_of_a_baseline(made):
    workspace, plan_id, ids = made
    before = accepted(workspace)
    write_edits(workspace, plan_id, ("passed", "passed"), "sdedit", part="b")
    with workspace.connect() as db:
        for name in ("coverage/edit_changes", "coverage/edit_sources", "coverage/space_edits", "verify/accepted_paths"):
            assert len(workspace.query(name, db)) == len(before), name
        views = ["PA", "AP", "lateral", "other", "unknown"]
        assert set(workspace.query("evaluate/edits", db, views=views)["edit_id"]) == before
        assert set(workspace.query("export/edits", db)["edit_id"]) == before
        assert set(workspace.query("coverage/synthetic_rows", db, split="all")["dicom_id"]) == before
        tried = workspace.query("synth/kinds_tried", db, plan_id=None)["tried"].sum()
    assert tried == len(ids), "a plan's pass rate is not that of a baseline"


def test_an_export_holds_no_edit_of_a_baseline(made):
    workspace, plan_id, ids = made
    write_json(workspace.path / "dataset.json", {"adapter": "toy", "terms": "", "licence": "", "patient_derived": True})
    compared = write_edits(workspace, plan_id, ("passed", "passed"), "copy-paste", part="b")
    workspace.records.decide(ids[0], "reject")
    told = export(workspace, ExportSettings())
    assert told["synthetic"] == 2
    with zipfile.ZipFile(told["path"]) as archive:
        said = archive.read("provenance.jsonl").decode()
    assert ids[2] in said
    assert not any(edit_id in said for edit_id in (*compared, ids[0], ids[1], ids[3], ids[4]))


def test_baselines_of_older_workspaces_are_known_by_name(made):
    """Parts written before `baseline` was recorded lack the column."""
    workspace, _, ids = made
    old = workspace.read("edits").drop(columns="baseline")
    old["generator"] = [*BASELINES[:1], *["cars"] * (len(old) - 1)]
    workspace.write_part("edits", "p", old)
    assert accepted(workspace) == {ids[2], ids[5]}
    assert accepted(workspace, "baseline_edits") == {ids[0]}


def test_synth_records_that_a_generator_is_a_baseline(tmp_path):
    class Compared(ToyGenerator):
        baseline = True

    workspace = workspace_of(tmp_path, 12)
    plan(workspace, PLAN)
    settings = SynthSettings(segmenter=ToySegmenter(), judge=ToyJudge(), steps=2, generator=Compared())
    assert synth(workspace, settings)["passed"] == 6
    assert workspace.read("edits")["baseline"].all()
    assert accepted(workspace) == set()
    (workspace.path / "workspace.toml").write_text("[gates.untouched]\nothers = 1\n")
    assert synth(workspace, settings)["passed"] == 6
    assert workspace.read("edits")["baseline"].all(), "also when it is gated again"
    assert accepted(workspace) == set()
