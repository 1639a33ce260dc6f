"""Fine-tuning: equal steps, resumable after SIGKILL to the same numbers, and blind to the test films."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cars import schema
from cars.errors import Cancelled, SettingError, WorkspaceError
from cars.evaluate import FinetuneSettings, finetune
from cars.evaluate.feed import batch_rows
from cars.evaluate.settings import ARMS
from cars.evaluate.training import augment, better, masked_bce, rate
from cars.imaging import save_png
from cars.provenance import file_digest
from cars.torchbox import torch

from .conftest import make_workspace

FAST = dict(
    backbones="tiny", arms="real-equal-steps,real+cars", seeds=1, size=32, steps=12, check_every=4, lr=1e-2, batch=16,
    device="cpu",
)  # fmt: skip


def settings(**more):
    return FinetuneSettings(**{**FAST, **more})


def weights_of(workspace):
    """(arm, seed) → hash of the unit's weights."""
    units = workspace.read("units")
    return {(r.arm, r.seed): r.weights_sha256 for r in units.itertuples()}


def artefacts(workspace):
    """Every file of every unit, and its predictions: name → hash."""
    files = [p for p in workspace.path.glob("runs/*/*/*") if p.parent.name != "progress"]
    files += workspace.parts("predictions")
    return {str(p.relative_to(workspace.path)): file_digest(p) for p in files}


def test_makes_every_unit_and_says_what_it_used(lesions):
    result = finetune(lesions, settings(seeds=2))
    assert len(result["units"]) == result["trained"] == 4
    assert result["sets"]["train real-equal-steps"] | {"positives": None} == {
        "films": 72, "patients": 36, "synthetic": 0, "positives": None, "steps": [12],
    }  # fmt: skip
    assert result["sets"]["train real+cars"]["synthetic"] == 11
    units = lesions.read("units")
    assert sorted(zip(units["arm"], units["seed"])) == [
        ("real+cars", 0), ("real+cars", 1), ("real-equal-steps", 0), ("real-equal-steps", 1),
    ]  # fmt: skip
    for unit in units.itertuples():
        folder = lesions.path / unit.path
        assert {p.name for p in folder.iterdir()} == {
            "calibration.json", "config.json", "log.json", "result.json", "weights.safetensors",
        }  # fmt: skip
        log = json.loads((folder / "log.json").read_text())
        assert [check["step"] for check in log] == [4, 8, 12], "the same steps for every arm"
        assert unit.best_step in (4, 8, 12)
    auprc = result["backbones"]["tiny"]["real-equal-steps"]["auprc"]
    assert auprc["low"] <= auprc["value"] <= auprc["high"]
    assert auprc["n"] == 24


def test_predictions_are_of_validate_and_test_films_only(lesions):
    finetune(lesions, settings())
    films = lesions.read("films").set_index("dicom_id")
    for _, rows in lesions.read("predictions").groupby("unit"):
        assert sorted(rows["dicom_id"]) == sorted(films.index[films["split"].isin(["validate", "test"])])
        assert (films.loc[rows["dicom_id"], "split"].to_numpy() == rows["split"].to_numpy()).all()
        prob = rows[[f"prob_{slug}" for slug in schema.COLUMN_OF.values()]].to_numpy()
        assert ((prob >= 0) & (prob <= 1)).all()


def test_it_learns(lesions):
    result = finetune(lesions, settings(steps=60, check_every=20, arms="real-equal-steps"))
    assert result["backbones"]["tiny"]["real-equal-steps"]["auroc"]["value"] > 0.9


def test_again_trains_nothing(lesions):
    first = finetune(lesions, settings())
    again = finetune(lesions, settings())
    assert again["trained"] == 0
    assert again["backbones"] == first["backbones"]


def test_arms_that_come_to_the_same_training_are_two_units(lesions):
    result = finetune(lesions, settings(arms="real,real-equal-steps", steps=2))
    assert len(set(result["units"])) == result["trained"] == 2, "72 of 83 films: 2 steps of 2"
    assert sorted(lesions.read("units")["arm"]) == ["real", "real-equal-steps"]
    assert lesions.read("units")["weights_sha256"].nunique() == 1


def test_a_unit_of_another_run_is_used_again(lesions):
    finetune(lesions, settings(arms="real-equal-steps"))
    result = finetune(lesions, settings())
    assert result["trained"] == 1, "the arm real is there already"
    lesions.records.decide("edit0000", "reject")
    assert finetune(lesions, settings())["trained"] == 1, "the arm with edits learns from other edits now"


def test_shuffled_test_labels_change_no_training_artefact(lesions):
    """Not one byte of weights, logs, temperature, thresholds or predictions."""
    plan = settings(arms="all", steps=6, check_every=3, ema=0.9, patience=1)
    finetune(lesions, plan)
    before = artefacts(lesions)
    assert len(before) == 7 * 6
    other = make_workspace(lesions.path.parent / "other")
    films = other.read("films")
    test = films["split"] == "test"
    columns = list(schema.COLUMN_OF.values())
    shuffled = films.loc[test, columns].to_numpy()[::-1]
    assert (shuffled != films.loc[test, columns].to_numpy()).any()
    films.loc[test, columns] = shuffled
    other.write_part("films", "0", films)
    finetune(other, plan)
    assert artefacts(other) == before
    ours, theirs = (w.read("units").drop(columns="films_per_second") for w in (lesions, other))
    pd.testing.assert_frame_equal(ours, theirs)


def test_other_pixels_of_the_test_films_change_their_predictions_alone(lesions):
    """The test films are noise: the same units, files, thresholds and validate predictions to the last byte."""
    plan = settings(backbones="toy", ema=0.9, patience=1, dropout=0.3, passes=2, threads=1)
    finetune(lesions, plan)
    other = make_workspace(lesions.path.parent / "other")
    rng = np.random.default_rng(1)
    for path in other.read("films").query("split == 'test'")["path"]:
        save_png(path, rng.integers(0, 256, (48, 48)).astype(np.uint8))
    finetune(other, plan)
    ours, theirs = ({k: v for k, v in artefacts(w).items() if k.startswith("runs/")} for w in (lesions, other))
    assert ours == theirs
    assert len(ours) == 2 * 5
    ours, theirs = (w.read("units").drop(columns="films_per_second") for w in (lesions, other))
    pd.testing.assert_frame_equal(ours, theirs)
    assert ours["temperature"].notna().all()
    order = ["unit", "dicom_id"]
    ours, theirs = (w.read("predictions").sort_values(order, ignore_index=True) for w in (lesions, other))
    validate = ours["split"] == "validate"
    pd.testing.assert_frame_equal(ours[validate], theirs[validate], check_exact=True)
    prob = [c for c in ours if c.startswith("prob_")]
    assert (ours.loc[~validate, prob] != theirs.loc[~validate, prob]).all(axis=None)
    ours, theirs = (w.read("passes").sort_values(order, ignore_index=True) for w in (lesions, other))
    assert (ours.filter(like="mean_") != theirs.filter(like="mean_")).all(axis=None)


def test_shuffled_train_labels_do_change_it(lesions):
    finetune(lesions, settings(arms="real-equal-steps"))
    before = weights_of(lesions)
    films = lesions.read("films")
    train = films["split"] == "train"
    films.loc[train, "pneumothorax"] = films.loc[train, "pneumothorax"].to_numpy()[::-1]
    lesions.write_part("films", "0", films)
    assert finetune(lesions, settings(arms="real-equal-steps"))["trained"] == 1
    assert set(lesions.read("units")["weights_sha256"]) > set(before.values())


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from cars.backbones import BACKBONES
from cars.evaluate import FinetuneSettings, finetune
from cars.workspace import Workspace
from evaluate.conftest import Tiny
import torch
torch.set_num_threads(1)
BACKBONES.names()
BACKBONES._items["tiny"] = Tiny
def progress(done, total, message=""):
    if {kill_at!r} in message:
        os.kill(os.getpid(), signal.SIGKILL)
finetune(Workspace.open({path!r}), FinetuneSettings(**{plan!r}), progress)
"""


def test_killed_and_run_again_gives_the_same_numbers(lesions, tmp_path):
    plan = FAST | dict(arms="real+cars,cars-then-real", ema=0.8, schedule="cosine", pretrain=0.34, threads=1)
    finetune(lesions, FinetuneSettings(**plan))
    killed = make_workspace(tmp_path / "killed")
    tests, root = Path(__file__).parents[1], Path(__file__).parents[2]
    for kill_at in (
        "real+cars, seed 0: step 7 of",  # after a checkpoint
        "cars-then-real, seed 0: step 4 of",  # at the step that starts the second phase with a new optimiser
        "cars-then-real, seed 0: step 11 of",  # within the second phase
    ):
        script = KILLED.format(tests=str(tests), path=str(killed.path), plan=plan, kill_at=kill_at)
        done = subprocess.run([sys.executable, "-c", script], cwd=root, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert done.returncode == -signal.SIGKILL
        assert len(list(killed.path.glob("runs/*/*/checkpoint.pt"))) == 1, "it was killed inside a unit"
    assert finetune(killed, FinetuneSettings(**plan))["trained"] == 1
    assert artefacts(killed) == artefacts(lesions), "to the last byte"
    assert len(artefacts(killed)) == 2 * 6
    assert not list(killed.path.glob("runs/*/*/.*.tmp"))


def test_other_test_films_are_predicted_anew_without_training(lesions):
    finetune(lesions, settings())
    films = lesions.read("films")
    films.loc[films.index[films["split"] == "test"][0], "split"] = "none"
    lesions.write_part("films", "0", films)
    result = finetune(lesions, settings())
    assert result["trained"] == 0
    assert result["backbones"]["tiny"]["real-equal-steps"]["auprc"]["n"] == 23
    predicted = lesions.read("predictions")
    assert (predicted[predicted["split"] == "test"].groupby("unit").size() == 23).all(), "and none is there twice"


def test_a_cancelled_run_keeps_what_is_done(lesions):
    def stop(done, total, message=""):
        if "real+cars" in message and "step 5" in message:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        finetune(lesions, settings(), stop)
    assert lesions.read("units")["arm"].tolist() == ["real-equal-steps"]
    assert finetune(lesions, settings())["trained"] == 1


def test_a_film_that_cannot_be_decoded_is_left_out_and_counted(lesions):
    films = lesions.read("films")
    for split in ("train", "test"):
        Path(films.loc[films["split"] == split, "path"].iloc[0]).write_bytes(b"not an image")
    result = finetune(lesions, settings())
    assert result["undecodable"] == 2
    assert result["sets"]["test"]["films"] == 23
    assert result["sets"]["train real-equal-steps"]["films"] == 71


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"backbones": "resnet9000"}, "resnet9000"),
        ({"arms": "real,fake"}, r"'fake'.*real\+cars"),
        ({"arms": " , "}, "arms is empty"),
    ],
)
def test_wrong_names_are_refused_before_training(lesions, wrong, says):
    with pytest.raises(SettingError, match=says):
        finetune(lesions, settings(**wrong))
    assert not (lesions.path / "runs").exists()


def test_without_edits_the_whole_run_is_refused_before_training(tmp_path):
    workspace = make_workspace(tmp_path / "ws", edits=0)
    with pytest.raises(WorkspaceError, match="needs accepted edits"):
        finetune(workspace, settings())
    assert not (workspace.path / "runs").exists()


def test_a_learning_rate_that_diverges_is_quoted(lesions):
    with pytest.raises(SettingError, match="lr = 1e\\+30"):
        finetune(lesions, settings(arms="real", lr=1e30))


# The parts --------------------------------------------------------------------------------------------------------


def test_every_film_is_seen_once_an_epoch():
    rows = np.concatenate([batch_rows(10, 4, step, seed=1) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()
    assert batch_rows(3, 8, 2, seed=0).shape == (8,), "a batch may be larger than the data"


def test_augmentation_is_light_and_seeded():
    module = torch()
    films = module.zeros(4, 1, 32, 32)
    films[:, :, 8:24, 4:12] = 200.0  # off centre, on the left: a mirror image would move it to the right
    one = augment(films, np.random.default_rng(0))
    assert one.shape == films.shape
    assert module.equal(one, augment(films, np.random.default_rng(0)))
    assert not module.equal(one[0], one[1])
    for film in one:
        bright = film[0] > 120
        assert bright[:, :16].sum() > 10 * bright[:, 16:].sum()
        assert 0 <= film.min() <= film.max() <= 255


def test_masked_loss_by_hand():
    module = torch()
    logits = module.tensor([[0.0, 5.0]])
    loss = masked_bce(logits, module.tensor([[1.0, 0.0]]), module.tensor([[1.0, 0.0]]))
    assert float(loss) == pytest.approx(math.log(2))
    assert float(masked_bce(logits, module.tensor([[1.0, 0.0]]), module.zeros(1, 2))) == 0.0


def test_the_best_check():
    nan = float("nan")
    assert better((0.2, 9.0), None)
    assert better((0.3, 9.0), (0.2, 1.0))
    assert not better((0.2, 0.5), (0.3, 1.0))
    assert better((0.3, 0.5), (0.3, 1.0)), "of two alike, the lower loss"
    assert better((nan, 0.5), (nan, 1.0))
    assert not better((nan, 1.5), (nan, 1.0))


def test_learning_rates_of_a_cosine():
    assert rate(settings(), 7, 100) == 1e-2
    cosine = settings(schedule="cosine")
    assert [rate(cosine, step, 100) for step in (0, 4)] == pytest.approx([0.002, 0.01])
    assert rate(cosine, 5, 100) == pytest.approx(0.01)
    assert rate(cosine, 52, 100) == pytest.approx(0.005, rel=0.02), "half of it half way"
    assert rate(cosine, 99, 100) < 1e-5


def test_every_arm_is_explained():
    help_text = FinetuneSettings.__dataclass_fields__["arms"].metadata["help"]
    assert all(arm in help_text and text for arm, text in ARMS.items())
