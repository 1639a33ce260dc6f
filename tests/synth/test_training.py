"""Training the editor: whose films it sees, what a token says, and that a killed run goes on to the same weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synth_toys import ToyJudge, ToySegmenter, thorax, vector, workspace_of

from cars.errors import Cancelled, DataError, WorkspaceError
from cars.schema import FINDINGS
from cars.synth.data import EditorData, local_labels, pack, phantom_data, shrink, training_roi, workspace_data
from cars.synth.generator_training import train_generator
from cars.synth.models import current
from cars.synth.settings import TrainGeneratorSettings
from cars.synth.training import Budget, Trainer, draw_batch

EFFUSION, EDEMA, NONE = (FINDINGS.index(f) for f in ("Pleural Effusion", "Edema", "No Finding"))


@pytest.fixture(scope="module")
def data() -> EditorData:
    return phantom_data(10, 32, seed=4)


def trainer(data: EditorData, rate: float = 5e-4) -> Trainer:
    from cars.nets.concept_unet import ConceptUNet, torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Trainer(ConceptUNet(32, (8, 16, 24)), data, batch=3, rate=rate, seed=7)


# What a token says -------------------------------------------------------------------------------------------------


def places(**where: np.ndarray) -> np.ndarray:
    result = np.zeros((len(FINDINGS), 32, 32), bool)
    for slug, mask in where.items():
        result[vector(**{slug: 1}) == 1] = mask
    return result


def test_a_finding_is_present_absent_or_unknown_by_what_the_roi_shows():
    base = np.zeros((32, 32), bool)
    base[20:30, 2:12] = True
    film, where = vector(pleural_effusion=1, edema=0), places(pleural_effusion=base)
    over, away, partly = base.copy(), np.roll(base, (0, 18), (0, 1)), np.zeros_like(base)
    partly[:, :5] = True
    assert local_labels(film, where, over)[EFFUSION] == 1
    assert local_labels(film, where, away)[EFFUSION] == 0
    assert local_labels(film, where, partly)[EFFUSION] == -2
    assert local_labels(film, where, over)[EDEMA] == 0
    assert local_labels(vector(edema=-1), where, over)[EDEMA] == -2


def test_no_finding_follows_from_the_others():
    healthy = np.zeros(len(FINDINGS), np.int8)
    healthy[NONE] = 1
    roi = np.ones((32, 32), bool)
    assert local_labels(healthy, places(), roi)[NONE] == 1
    ill = healthy.copy()
    ill[EFFUSION], ill[NONE] = 1, 0
    corner = np.zeros((32, 32), bool)
    corner[:8, :8] = True
    assert local_labels(ill, places(pleural_effusion=corner), roi)[NONE] == 0
    # elsewhere on the film, so this region is normal
    assert local_labels(ill, places(pleural_effusion=corner), corner[::-1])[NONE] == 1


def test_phantom_films_know_where_their_findings_lie(data):
    assert data.images.shape == (10, 32, 32)
    for row in range(len(data)):
        where = data.place_of(row)
        present = data.vectors[row] == 1
        present[NONE] = False
        assert not where[~present].any()
        assert where.any() == present.any()
    assert 0 < (data.vectors[:, NONE] == 1).sum() < 10


def test_regions_are_never_empty_and_shapes_are_hidden(data):
    rng = np.random.default_rng(0)
    hidden = 0
    for n in range(60):
        roi, hide = training_roi(data, n % 10, data.place_of(n % 10), rng)
        assert roi.dtype == bool
        assert roi.any()
        hidden += hide
    assert 20 < hidden < 55


def test_shrink_averages_blocks():
    block = np.array([[0, 0, 200, 202], [0, 8, 204, 206]], np.uint8)
    square = np.concatenate([block, block])
    np.testing.assert_array_equal(shrink(square, 2), [[2, 203], [2, 203]])
    np.testing.assert_array_equal(shrink(square > 100, 2), [[False, True]] * 2)
    with pytest.raises(DataError, match="4 pixels"):
        shrink(square, 3)


# Whose films -------------------------------------------------------------------------------------------------------


def test_trains_on_frontal_films_of_train_patients_only(tmp_path):
    workspace = workspace_of(tmp_path)
    data, counts = workspace_data(workspace, 32, ToySegmenter(), ToyJudge())
    held = set(workspace.read("films").query("split != 'train'")["subject_id"])
    assert held
    assert not held & set(data.subject_id.tolist())
    assert set(data.view.tolist()) == {"PA", "AP"}
    assert counts == {"films": 16, "patients": 8, "undecodable": 0, "untrusted": 0}
    ill = np.flatnonzero(data.vectors[:, EFFUSION] == 1)
    assert len(ill) == 8
    assert all(data.place_of(n)[EFFUSION].any() for n in ill)
    # "No Finding" says that every disease is absent
    assert (data.vectors[data.vectors[:, NONE] == 1][:, EDEMA] == 0).all()


def test_a_patient_with_a_test_film_is_not_trained_on(tmp_path):
    workspace = workspace_of(tmp_path)
    films = workspace.read("films")
    films.loc[films["dicom_id"] == "d001", "split"] = "test"
    workspace.write_part("films", "all", films)
    data, _ = workspace_data(workspace, 32, ToySegmenter())
    assert "p0" not in set(data.subject_id.tolist())


def test_fewer_films_are_whole_patients(tmp_path):
    _, counts = workspace_data(workspace_of(tmp_path), 32, ToySegmenter(), max_films=6)
    assert counts["films"] == 6
    assert counts["patients"] == 3


def test_without_train_films_it_says_so(tmp_path):
    workspace = workspace_of(tmp_path)
    workspace.write_part("films", "all", workspace.read("films").assign(split="test"))
    with pytest.raises(WorkspaceError, match="train split"):
        workspace_data(workspace, 32, ToySegmenter())


# Going on ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_decided_by_seed_and_step(data):
    first, again, other = (draw_batch(data, 4, np.random.default_rng([0, step])) for step in (5, 5, 6))
    assert (first.films == again.films).all()
    assert (first.tokens == again.tokens).all()
    assert (first.roi == again.roi).all()
    assert not (first.roi == other.roi).all()


def test_training_goes_on_to_the_same_losses(data, tmp_path):
    whole = trainer(data)
    expected = [whole.advance(n / 6) for n in range(6)]
    first = trainer(data)
    assert [first.advance(n / 6) for n in range(3)] == expected[:3]
    first.write(tmp_path / "checkpoint.pt")
    second = trainer(data)
    second.restore(tmp_path / "checkpoint.pt")
    assert [second.advance(n / 6) for n in range(3, 6)] == expected[3:]
    for a, b in zip(whole.ema.parameters(), second.ema.parameters()):
        assert (a == b).all()


def test_learns_something(data):
    one = trainer(data, rate=0.01)
    before = [one.advance(0.1) for _ in range(5)]
    for _ in range(60):
        one.advance(0.1)
    one.step = 0  # the same films, regions and noise again
    after = [one.advance(0.1) for _ in range(5)]
    assert np.mean(after) < 0.8 * np.mean(before)


def test_cancelling_leaves_a_checkpoint(data, tmp_path):
    def stop(done, total, message=""):
        raise Cancelled("stop")

    one = trainer(data)
    with pytest.raises(Cancelled):
        one.run(Budget(steps=21), tmp_path / "checkpoint.pt", stop)
    other = trainer(data)
    other.restore(tmp_path / "checkpoint.pt")
    assert other.step == one.step == 20


def test_the_budget_stops_at_steps_or_seconds():
    assert Budget(steps=10).share(5, 99) == 0.5
    assert Budget(seconds=10).share(5, 20) == 1
    assert Budget(steps=10, seconds=100).share(1, 50) == 0.5


SETTINGS = TrainGeneratorSettings(
    size=32, steps=2, batch=2, start="scratch", judge_minutes=0, segmenter=ToySegmenter(), device="cpu"
)


def test_the_verb_makes_an_editor_that_the_workspace_then_uses(tmp_path, monkeypatch):
    monkeypatch.setattr("cars.synth.generator_training.workspace_judge", lambda workspace, device: ToyJudge2())
    workspace = workspace_of(tmp_path)
    told = train_generator(workspace, SETTINGS)
    folder = current(workspace, "generator")
    assert folder is not None
    assert folder.name == told["generator"]
    assert told["steps"] == 2
    assert told["patients"] == 8
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "16 frontal films of 8 train patients" in card
    for name in ("losses.csv", "flips.csv", "losses.png", "samples.png"):
        assert (folder / name).stat().st_size
    assert not list(workspace.path.glob("models/generator/*.training"))
    before = (folder / "unet" / "diffusion_pytorch_model.safetensors").stat().st_mtime_ns
    assert train_generator(workspace, SETTINGS) == told
    assert (folder / "unet" / "diffusion_pytorch_model.safetensors").stat().st_mtime_ns == before
    from cars.synth.models import workspace_generator

    assert workspace_generator(workspace, "cars", "cpu").size == 32
    assert train_generator(workspace, replace(SETTINGS, seed=1))["generator"] != told["generator"]


class ToyJudge2(ToyJudge):
    @property
    def auroc(self):
        return {"Edema": 0.5}


def test_a_start_of_another_size_is_refused(tmp_path, tiny_editor, monkeypatch):
    monkeypatch.setattr("cars.synth.generator_training.workspace_judge", lambda workspace, device: ToyJudge2())
    with pytest.raises(WorkspaceError, match="32 pixels"):
        train_generator(workspace_of(tmp_path), replace(SETTINGS, size=64, start=str(tiny_editor)))


def test_places_pack_and_unpack():
    masks = np.zeros((len(FINDINGS), 32, 32), bool)
    masks[3] = thorax(32)[0]
    empty = np.zeros((1, 32, 32), np.uint8)
    row = EditorData(empty, np.zeros((1, 3, 32, 32), bool), vector()[None], pack(masks)[None], *(np.array([""]),) * 4)
    np.testing.assert_array_equal(row.place_of(0), masks)
