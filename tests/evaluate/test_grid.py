"""One experiment is one config file and one folder; its units are made on any number of workers, and can be watched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cars import evaluate, schema
from cars.config import resolve
from cars.errors import Cancelled, DataError, SettingError, WorkspaceError
from cars.evaluate import FinetuneSettings, cannot_conclude, finetune, grid_progress, missing_controls, reference
from cars.evaluate.experiment import as_toml, chosen, starts
from cars.evaluate.feed import ahead
from cars.evaluate.grid import Grid, grid_of, in_words, seconds_left
from cars.evaluate.thresholds import choose
from cars.evaluate.unit import device_of, process_number

from .conftest import make_workspace

FAST = dict(
    backbones="toy", arms="real-equal-steps,real+cars", seeds=1, size=32, steps=4, check_every=2, batch=8, threads=1,
    device="cpu",
)  # fmt: skip


def test_two_workers_make_what_one_makes(lesions):
    plan = FAST | {"name": "trial"}
    said = []
    result = finetune(lesions, FinetuneSettings(**plan, workers=2), lambda *told: said.append(told[2]))
    two = lesions.read("units").drop(columns="films_per_second")
    assert result["trained"] == 2
    assert any("of 2 units" in message for message in said)
    for path in lesions.path.glob("tables/units/*/*.parquet"):
        path.unlink()
    for path in lesions.path.glob("runs/*/*/result.json"):
        path.unlink()
    assert finetune(lesions, FinetuneSettings(**plan))["trained"] == 2
    pd.testing.assert_frame_equal(lesions.read("units").drop(columns="films_per_second"), two)


KILLED = """
import os, signal
from pathlib import Path
from cars.evaluate import FinetuneSettings, finetune, training
from cars.workspace import Workspace
saved = training.Trainer._save
def save(self):  # spawned workers import this file, so it is theirs too
    saved(self)
    if self.state["step"] == 2 and list(Path({path!r}).glob("runs/*/*/result.json")):
        os.kill(os.getpid(), signal.SIGKILL)
training.Trainer._save = save
if __name__ == "__main__":
    finetune(Workspace.open({path!r}), FinetuneSettings(**{plan!r}))
"""


def test_a_worker_killed_inside_a_unit_costs_nothing_but_time(lesions, tmp_path):
    """SIGKILL of one of two workers, after its unit's first checkpoint: run again, all is as in an unbroken run."""
    plan = FAST | {"dropout": 0.3, "passes": 2, "ema": 0.8, "seeds": 2}
    finetune(lesions, FinetuneSettings(**plan))
    killed = make_workspace(tmp_path / "killed")
    script = tmp_path / "killed.py"
    script.write_text(KILLED.format(path=str(killed.path), plan={**plan, "workers": 2}))
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, script], cwd=root, env=environment, capture_output=True, text=True)
    assert "A worker process ended before its shard was done" in done.stderr
    assert list(killed.path.glob("runs/*/*/checkpoint.pt")), "it was killed inside a unit"
    assert 1 <= len(list(killed.path.glob("runs/*/*/result.json"))) < 4
    assert finetune(killed, FinetuneSettings(**plan))["trained"] >= 1
    ours, theirs = (
        {p.relative_to(w.path): p.read_bytes() for files in ("runs/*/*/*", "tables/p*/0/*") for p in w.path.glob(files)
         if p.parent.name != "progress"}
        for w in (lesions, killed)
    )  # fmt: skip
    assert len(ours) == 4 * (5 + 2), "five files a unit, its predictions and its passes"
    assert ours == theirs


def test_one_config_file_and_one_folder(lesions):
    plan = FinetuneSettings(**FAST, name="trial “A”", pretrain=0.25)
    result = finetune(lesions, plan)
    file = lesions.path / result["folder"] / "experiment.toml"
    again = resolve(FinetuneSettings, "finetune", {"config": str(file)}, environment={})
    assert {**vars(again), "config": None} == vars(plan)
    repeated = finetune(lesions, again)
    assert repeated["run"] == result["run"]
    assert repeated["trained"] == 0
    row = lesions.read("experiments").iloc[0]
    assert (row["run"], row["name"]) == (result["run"], "trial “A”")
    assert json.loads(row["arms"]) == ["real-equal-steps", "real+cars"]
    assert json.loads(row["missing_controls"]) == ["oversampled", "real+sham"]
    assert json.loads(row["cannot_conclude"]) == result["cannot_conclude"] == cannot_conclude(plan.arms.split(","), 1)
    assert evaluate.runs(lesions)["run"].tolist() == [result["run"]]


def test_a_flag_wins_over_the_config_file_and_that_over_the_rest(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text('steps = 7\nbackbones = ["toy", "resnet50"]\n')
    found = resolve(
        FinetuneSettings, "finetune", {"config": str(file), "batch": 4, "steps": None}, {"finetune": {"steps": 9}},
        {"CARS_FINETUNE_BATCH": "5", "CARS_FINETUNE_STEPS": "8"},
    )  # fmt: skip
    assert (found.steps, found.batch, found.backbones) == (7, 4, "toy,resnet50")
    file.write_text("[finetune]\nsteps = 3\n")
    assert resolve(FinetuneSettings, "finetune", {"config": str(file)}, environment={}).steps == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [("steps = ", "is not TOML"), ("stepps = 3", "'stepps'"), ("steps = 0", "too small"), (None, "cannot be read")],
)
def test_a_wrong_config_file_is_quoted(tmp_path, text, says):
    file = tmp_path / "plan.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingError, match=says):
        resolve(FinetuneSettings, "finetune", {"config": str(file)}, environment={})


def test_every_setting_is_written_with_its_sentence():
    text = as_toml(FinetuneSettings(weights='a "b"'))
    assert tomllib.loads(text)["weights"] == 'a "b"'
    for field in FinetuneSettings.__dataclass_fields__.values():
        assert (field.metadata["help"] in text) == (field.name != "config")


def test_groups_are_written_out_and_named_once():
    backbones, arms = chosen(FinetuneSettings("small, toy,small", "real+sources,all"))
    assert len(backbones) == 8
    assert backbones[-1] == "toy"
    assert len(arms) == 8
    assert arms[0] == "real+sources"
    assert len(chosen(FinetuneSettings("all"))[0]) == 7


def test_weights_for_one_or_for_each(tmp_path):
    odd = tmp_path / "a=b.pth"
    odd.touch()
    names = ["toy", "resnet50"]
    assert starts(FinetuneSettings(weights=None), names) == {"toy": None, "resnet50": None}
    assert starts(FinetuneSettings(weights=str(odd)), names) == {"toy": str(odd), "resnet50": str(odd)}
    assert starts(FinetuneSettings(weights="resnet50=/x.pth"), names) == {"toy": None, "resnet50": "/x.pth"}
    with pytest.raises(SettingError, match=r"'vit_mini=/x\.pth'.*toy, resnet50"):
        starts(FinetuneSettings(weights="vit_mini=/x.pth"), names)


def test_what_a_run_cannot_say():
    full = evaluate.DEFAULT_ARMS
    assert cannot_conclude(full, 3) == []
    assert missing_controls(["real", "real+cars"]) == ["real-equal-steps", "oversampled", "real+sham"]
    assert missing_controls(["real"]) == [], "nothing is claimed of edits"
    found = cannot_conclude(["real+cars"], 2)
    assert len(found) == 5
    assert "nothing here says" in found[0]
    assert found[-1].startswith("2 training seeds")
    assert (reference(full), reference(["real", "real+cars"]), reference(["real+cars"])) == (
        "real-equal-steps", "real", None,
    )  # fmt: skip


def test_progress_of_the_grid_and_of_each_unit(lesions):
    with pytest.raises(WorkspaceError, match="No fine-tuning run was begun"):
        grid_progress(lesions)
    seen = []

    def stop(done, total, message=""):
        seen.append(message)
        if "real+cars" in message and "step 2" in message:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        finetune(lesions, FinetuneSettings(**FAST), stop)
    table = grid_progress(lesions).set_index("arm")
    assert table["state"].to_dict() == {"real-equal-steps": "done", "real+cars": "running"}
    assert table["step"].to_dict() == {"real-equal-steps": 4, "real+cars": 0}, "written at most once a second"
    assert table.loc["real-equal-steps", "films_per_second"] > 0
    assert table.loc["real-equal-steps", "seconds_left"] == 0
    assert any(m.startswith("1 of 2 units, about ") and "toy, real+cars, seed 0: step 1 of 4" in m for m in seen)
    with pytest.raises(WorkspaceError, match="no run 'x'"):
        grid_progress(lesions, "x")


def test_a_failed_unit_says_of_what_and_the_rest_is_kept(lesions):
    plan = FAST | {"seeds": 2}

    def broken(done, total, message=""):
        if "real+cars, seed 0: step 2" in message:
            raise DataError("The film cannot be read.", "Ingest again.")

    with pytest.raises(DataError):
        finetune(lesions, FinetuneSettings(**plan), broken)
    grid = grid_of(lesions)
    units = grid.units.set_index(["seed", "arm"])
    assert units["state"].tolist() == ["done", "failed", "waiting", "waiting"]
    assert units.loc[(0, "real+cars"), "error"] == "The film cannot be read. Ingest again."
    assert units.loc[(0, "real+cars"), "step"] == 2
    assert units["error"].notna().sum() == 1
    assert units["checkpoint"].tolist() == [False, True, False, False], "the one of step 2"
    assert grid.left > 0
    assert grid.words(False) == (
        "1 of 4 units are done and kept, 1 failed. 1 goes on from the last check. 2 were not begun."
    )
    finetune(lesions, FinetuneSettings(**plan))
    again = grid_of(lesions)
    assert (again.finished, again.run, again.workers) == (True, grid.run, 1)
    assert again.begun > grid.begun
    assert again.units["error"].isna().all()
    assert again.words(True) == "All 4 units are done."


def test_a_grid_in_words():
    units = pd.DataFrame(
        {"state": ["done", "running", "running", "failed", "waiting"], "checkpoint": [False, True, False, False, False]}
    )
    grid = Grid("r", 0.0, 2, units, 720.0)
    assert grid.words(True) == "1 of 5 units done, 2 training, 1 failed, 1 waiting, about 12 min left."
    assert grid.words(False) == (
        "1 of 5 units are done and kept, 1 failed. 1 goes on from the last check. "
        "2 had not reached a check and start again. 1 was not begun."
    )
    assert Grid("r", 0.0, 2, units[4:], None).words(True) == "0 of 1 units done, 0 training, 1 waiting."


def test_what_is_left_by_hand():
    seen = [("a", 10, 20.0), ("b", 10, 10.0), ("c", 0, 99.0)]
    # a: 2 s a step, b: 1 s, c: not seen, so the mean of 1.5 s
    assert seconds_left(seen, [("a", 5), ("b", 4), ("c", 2)], 1) == pytest.approx(10 + 4 + 3)
    assert seconds_left(seen, [("a", 5), ("b", 4)], 2) == pytest.approx(7)
    assert seconds_left(seen, [("a", 5)], 2) == pytest.approx(10), "one unit is made by one worker"
    assert seconds_left([("a", 0, 5.0)], [("a", 5)], 1) is None
    assert seconds_left(seen, [], 2) == 0
    assert [in_words(s) for s in (40, 720, 12600)] == ["40 s", "12 min", "3.5 h"]


def test_several_gpus_are_shared_out(monkeypatch):
    from cars import torchbox

    assert process_number() == 0
    monkeypatch.setattr(torchbox, "device", lambda wanted: "cuda" if wanted == "auto" else wanted)
    monkeypatch.setattr(torchbox.torch().cuda, "device_count", lambda: 2)
    assert [device_of("auto", n) for n in (1, 2, 3)] == ["cuda:1", "cuda:0", "cuda:1"]
    assert device_of("cuda:1", 2) == "cuda:1"
    assert device_of("cpu", 2) == "cpu"
    monkeypatch.setattr(torchbox.torch().cuda, "device_count", lambda: 1)
    assert device_of("auto", 2) == "cuda"


# Parts ------------------------------------------------------------------------------------------------------------


def test_batches_made_ahead_come_in_order_and_errors_reach_the_reader():
    def items():
        yield from range(20)
        raise ValueError("the twentieth")

    got = []
    with pytest.raises(ValueError, match="the twentieth"):
        got.extend(ahead(items(), 3))
    assert got == list(range(20))
    made = []
    stopped = ahead((made.append(n) or n for n in range(1000)), 2)
    assert next(stopped) == 0
    stopped.close()
    assert len(made) < 10, "nothing is made after the reader has gone"


def _brute(prob, positive):
    """Both thresholds by trying every value."""
    best, at = None, None
    for t in sorted(set(prob), reverse=True):
        sensitivity = Fraction(int((prob[positive] >= t).sum()), int(positive.sum()))
        specificity = Fraction(int((prob[~positive] < t).sum()), int((~positive).sum()))
        if best is None or sensitivity + specificity > best[0]:
            best = (sensitivity + specificity, t)
        if specificity >= Fraction(9, 10):
            at = t
    return best[1], at


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
def test_thresholds_against_every_value(cases):
    prob, positive = np.array([p / 6 for p, _ in cases]), np.array([b for _, b in cases])
    y = np.zeros((len(cases), 14))
    full = np.zeros((len(cases), 14))
    y[:, 3], full[:, 3] = positive, prob
    known = np.zeros((len(cases), 14), dtype=bool)
    known[:, 3] = True
    found = choose(full, y, known)
    none = {"youden": None, "specificity_90": None}
    assert all(found[f] == none for f in schema.FINDINGS if f != schema.FINDINGS[3])
    mine = found[schema.FINDINGS[3]]
    if positive.all() or not positive.any():
        assert mine == none
        return
    youden, at = _brute(prob, positive)
    assert mine["youden"] == youden
    if at is None:
        assert mine["specificity_90"] > prob.max()
    else:
        assert mine["specificity_90"] == at
