"""The judge: thresholds, labels, training that resumes, patients that stay on their side, and what it saves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cars import phantom
from cars.errors import Cancelled, DataError, MissingDependency, SettingError, WorkspaceError
from cars.nets.judge import SIZES, build, to_input, torch
from cars.schema import COLUMN_OF, FINDINGS
from cars.synth import judge as judge_module
from cars.synth.judge import Judge, auroc, choose_threshold, surely, targets, train_judge_on_workspace, validated
from cars.synth.judge_training import changed, train_judge
from cars.workspace import Workspace

EFFUSION, LESION = FINDINGS.index("Pleural Effusion"), FINDINGS.index("Lung Lesion")


def films(n: int = 128, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise with a bright bar at the bottom where Pleural Effusion is present: films, codes, validation.

    Every other finding is absent throughout, so only one can be trained. A quarter of the films is for validation.
    """
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 120, (n, 64, 64), dtype=np.uint8)
    labels = np.zeros((n, 14), dtype=np.int8)
    labels[:, EFFUSION] = rng.permutation(np.arange(n) % 2)
    images[labels[:, EFFUSION] == 1, 44:56, 10:30] += 100
    return images, labels, np.arange(n) % 4 == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_judge(*films(), tmp_path_factory.mktemp("judge"), epochs=6, batch=8, device="cpu")


# Labels and thresholds -----------------------------------------------------------------------------------------------


def test_uncertain_does_not_count_and_not_mentioned_is_absent() -> None:
    target, counts = targets(np.array([[1, 0, -1, -2]], dtype=np.int8))
    assert target.tolist() == [[1, 0, 0, 0]]
    assert counts.tolist() == [[True, True, False, True]]


def test_threshold_by_hand() -> None:
    # called positive from 0.5 on: 2 of 3 positives found, 3 of 3 negatives cleared, J = 2/3; no other cut is better
    probability = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.9])
    positive = np.array([False, True, False, False, True, True])
    assert choose_threshold(probability, positive) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=4, max_size=40))
@settings(max_examples=80, deadline=None)
def test_threshold_is_the_best_of_all_cuts(pairs: list[tuple[int, bool]]) -> None:
    probability, positive = np.array([p / 10 for p, _ in pairs]), np.array([y for _, y in pairs])
    if positive.all() or not positive.any() or len(set(probability)) < 2:
        return

    def youden(cut: float) -> float:
        called = probability >= cut
        return called[positive].mean() + (~called[~positive]).mean() - 1

    values = np.unique(probability)
    best = max(youden(cut) for cut in (values[1:] + values[:-1]) / 2)
    assert youden(choose_threshold(probability, positive)) == pytest.approx(best)


def test_where_a_judge_is_sure_by_hand() -> None:
    # 20 films with and 20 without; one positive lies at 0.05 and one negative at 0.95: 95% leaves out just one of each
    probability = np.concatenate([[0.05], np.linspace(0.4, 0.9, 19), np.linspace(0.1, 0.6, 19), [0.95]])
    positive = np.arange(40) < 20
    assert surely(probability, positive, 0.5) == pytest.approx((0.4, 0.6), abs=1e-6)
    assert surely(probability, positive, 0.5)[1] > 0.6  # a negative film itself is not surely present
    # a share of 100% leaves out none
    assert surely(probability, positive, 0.5, 1.0) == pytest.approx((0.05, 0.95), abs=1e-6)
    # well separated: both ends are the threshold
    assert surely(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]), 0.5) == (0.5, 0.5)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=4, max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_judge_is_sure_of_the_wrong_side_at_most_once_in_twenty(pairs: list[tuple[int, bool]]) -> None:
    probability, positive = np.array([p / 20 for p, _ in pairs]), np.array([y for _, y in pairs])
    if positive.all() or not positive.any() or len(set(probability)) < 2:
        return
    threshold = choose_threshold(probability, positive)
    low, high = surely(probability, positive, threshold)
    assert low <= threshold <= high
    assert (probability[positive] < low).mean() <= 0.05
    assert (probability[~positive] >= high).mean() <= 0.05 or high == threshold


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_auroc_is_sklearns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probability, positive = rng.integers(0, 8, 30) / 8, rng.permutation(np.arange(30) < 11)
    assert auroc(probability, positive) == pytest.approx(roc_auc_score(positive, probability))


def test_findings_with_too_few_validation_films_are_left_out() -> None:
    labels = np.zeros((40, 14), dtype=np.int8)
    labels[:20, EFFUSION] = 1
    labels[:4, LESION] = 1  # one too few
    probability = np.linspace(1, 0, 40)[:, None].repeat(14, axis=1)
    result = validated(probability, labels, np.ones(14, dtype=bool))
    assert list(result) == ["Pleural Effusion"]
    assert result["Pleural Effusion"] == {
        "threshold": pytest.approx((probability[19, 0] + probability[20, 0]) / 2),
        "sure": pytest.approx((probability[19, 0] + probability[20, 0]) / 2 * np.ones(2)), "auroc": 1.0, "n": 40,
        "positives": 20,
    }  # fmt: skip
    assert validated(probability, labels, np.zeros(14, dtype=bool)) == {}


# Training ------------------------------------------------------------------------------------------------------------


def test_a_trained_judge_knows_its_finding_and_no_other(trained: Path) -> None:
    judge = Judge.load(trained, "cpu")
    images, labels, _ = films(seed=1)
    probability = judge.probabilities(images)
    assert probability.shape == (128, 14)
    assert probability.dtype == np.float32
    assert auroc(probability[:, EFFUSION], labels[:, EFFUSION] == 1) > 0.95
    assert judge.auroc == {"Pleural Effusion": pytest.approx(1.0, abs=0.05)}
    assert judge.trained.sum() == 1
    others = np.arange(14) != EFFUSION
    assert np.isnan(probability[:, others]).all()
    assert np.isnan(judge.thresholds[others]).all()
    assert 0 < judge.thresholds[EFFUSION] < 1
    assert judge.config["validation"]["Pleural Effusion"]["n"] == 32


def test_what_is_saved_equals_what_was_trained_to_half_precision(trained: Path) -> None:
    images, labels, validation = films()
    judge = Judge.load(trained, "cpu")
    held = judge.probabilities(images[validation])[:, EFFUSION]
    # thresholds were chosen on the full-precision network; the half-precision one must rank and place films alike
    again = choose_threshold(held, labels[validation, EFFUSION] == 1)
    assert again == pytest.approx(float(judge.thresholds[EFFUSION]), abs=0.01)
    reloaded = Judge.load(trained, "cpu").probabilities(images[:8])
    assert np.array_equal(reloaded, judge.probabilities(images[:8]), equal_nan=True)
    assert judge.probabilities(images[:1])[0, EFFUSION] == pytest.approx(float(reloaded[0, EFFUSION]), abs=1e-5)
    assert judge.probabilities(images[:0]).shape == (0, 14)


def test_validation_labels_choose_thresholds_and_never_weights(tmp_path: Path) -> None:
    images, labels, validation = films(64)
    other = labels.copy()
    other[validation, EFFUSION] = 1 - other[validation, EFFUSION]
    folders = [
        train_judge(images, each, validation, tmp_path / str(k), epochs=1, batch=16, device="cpu")
        for k, each in enumerate((labels, other))
    ]
    judges = [Judge.load(folder, "cpu") for folder in folders]
    assert judges[0].revision == judges[1].revision
    assert judges[0].auroc["Pleural Effusion"] == pytest.approx(1 - judges[1].auroc["Pleural Effusion"], abs=1e-3)


def test_training_labels_do_change_weights(tmp_path: Path) -> None:
    images, labels, validation = films(64)
    other = labels.copy()
    other[np.flatnonzero(~validation)[:8], EFFUSION] ^= 1
    revisions = {
        Judge.load(train_judge(images, each, validation, tmp_path / str(k), epochs=1, batch=16, device="cpu")).revision
        for k, each in enumerate((labels, other))
    }
    assert len(revisions) == 2


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    images, labels, validation = films(64)

    def stop_in_second_epoch(done: int, total: int, message: str = "") -> None:
        if "epoch 2" in message:
            raise Cancelled("stop")

    options = {"epochs": 3, "batch": 16, "device": "cpu"}
    whole = train_judge(images, labels, validation, tmp_path / "whole", **options)
    with pytest.raises(Cancelled):
        train_judge(images, labels, validation, tmp_path / "broken", progress=stop_in_second_epoch, **options)
    assert not (tmp_path / "broken" / "config.json").exists()
    seen: list[str] = []
    broken = train_judge(
        images, labels, validation, tmp_path / "broken", progress=lambda d, t, m="": seen.append(m), **options
    )
    assert not any("epoch 1," in message for message in seen)
    a, b = (json.loads((folder / "config.json").read_text()) for folder in (whole, broken))
    assert a["loss"] == b["loss"]
    assert len(a["loss"]) == 3
    assert a["weights_sha256"] == b["weights_sha256"]
    assert not (broken / "checkpoint.pt").exists()


def test_places_teach_where_a_finding_lies(tmp_path: Path) -> None:
    images, labels, validation = films()
    places = np.zeros((len(images), 14, 8, 8), np.uint8)
    # the bar covers rows 44–55 and columns 10–29 of 64: all of cell rows 6 and half of 5, columns 1 to 3 in parts
    places[labels[:, EFFUSION] == 1, EFFUSION, 5:7, 1:4] = 200
    options = {"epochs": 6, "batch": 8, "device": "cpu", "places": places}
    judge = Judge.load(train_judge(images, labels, validation, tmp_path, **options))
    ill = films(seed=1)[0][films(seed=1)[1][:, EFFUSION] == 1]
    with torch.inference_mode():
        where = judge.net.located(to_input(ill, judge.size))[1][:, EFFUSION].mean(dim=0).numpy()
    row, column = np.unravel_index(where.argmax(), where.shape)
    assert row in (5, 6)
    assert column in (1, 2, 3)
    assert where[5:7, 1:4].mean() > where[:4].mean() + 0.15
    assert judge.config["settings"]["places"] is True


def test_places_turn_and_shift_with_their_films() -> None:
    film = torch.full((40, 1, 64, 64), -1.0)
    film[:, :, 24:40, 24:40] = 1
    places = torch.nn.functional.avg_pool2d((film + 1) / 2, 8)
    moved, places = changed(film, torch.Generator().manual_seed(0), places)
    bright = torch.nn.functional.avg_pool2d((moved > 0).float(), 8)
    assert (bright - places).abs().mean() < 0.03
    assert (bright - bright.roll(1, 0)).abs().mean() > 0.02  # they did move, each its own way


def test_a_complete_folder_is_not_trained_again(trained: Path) -> None:
    def never(done: int, total: int, message: str = "") -> None:
        raise AssertionError(message)

    before = (trained / "model.safetensors").stat().st_mtime_ns
    assert train_judge(*films(), trained, epochs=6, batch=8, device="cpu", progress=never) == trained
    assert (trained / "model.safetensors").stat().st_mtime_ns == before


def test_too_little_to_train_on_is_refused(tmp_path: Path) -> None:
    images, labels, validation = films(64)
    with pytest.raises(DataError, match="needs an end"):
        train_judge(images, labels, validation, tmp_path)
    with pytest.raises(DataError, match="do not fit"):
        train_judge(images, labels[:10], validation, tmp_path, epochs=1)
    with pytest.raises(DataError, match="No finding has 20"):
        train_judge(images[:40], labels[:40], validation[:40], tmp_path, epochs=1)
    with pytest.raises(SettingError, match="'resnet'"):
        build("resnet")
    assert not any(tmp_path.iterdir())


# Files ---------------------------------------------------------------------------------------------------------------


def test_weights_of_another_training_are_refused(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(DataError, match="is not the file"):
        Judge.load(folder)
    with pytest.raises(MissingDependency, match="There is no judge"):
        Judge.load(tmp_path)


def test_the_card_tells_what_it_is(trained: Path) -> None:
    card = (trained / "README.md").read_text(encoding="utf-8")
    assert "96 training films, 32 validation films" in card
    assert "| Pleural Effusion |" in card
    assert "not judged, for want of films: Atelectasis" in card


def test_wrong_input_is_refused(trained: Path) -> None:
    with pytest.raises(DataError, match="float64"):
        Judge.load(trained, "cpu").probabilities(np.zeros((1, 8, 8)))


def test_saliency_peaks_where_the_finding_is(trained: Path) -> None:
    images, labels, _ = films()
    judge = Judge.load(trained, "cpu")
    ill = images[labels[:, EFFUSION] == 1][:3]
    saliency = judge.saliency(ill, "Pleural Effusion")
    assert saliency.shape == ill.shape
    assert saliency.dtype == np.float32
    assert saliency.max(axis=(1, 2)) == pytest.approx(1.0)
    inside = saliency[:, 40:60, 6:34].mean()
    assert inside > 2 * saliency.mean()


def test_efficientnet_starts_from_imagenet_and_saves_like_the_small_one(tmp_path: Path) -> None:
    net = build("efficientnet_lite0", pretrained=True).eval()
    blank = build("efficientnet_lite0").eval()
    first = next(iter(net.net.state_dict()))
    assert not torch.equal(net.net.state_dict()[first], blank.net.state_dict()[first])
    size = SIZES["efficientnet_lite0"]
    with torch.inference_mode():
        assert net(to_input(films(8)[0][:1], size)).shape == (1, 14)


# Workspace -----------------------------------------------------------------------------------------------------------


def test_no_test_patient_is_read_and_no_patient_is_on_both_sides(
    workspace_copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The films table decides: every film that reaches the training is checked against it by labels and side."""
    seen: dict[str, object] = {}

    def record(images: np.ndarray, labels: np.ndarray, validation: np.ndarray, folder: Path, **more: object) -> Path:
        seen.update(images=images, labels=labels, validation=validation, folder=folder)
        return folder

    asked: list[str] = []
    from cars import filmcache

    real_cache = filmcache.film_cache

    def cache(workspace: Workspace, size: int, ids: list[str], **more: object) -> filmcache.FilmCache:
        asked.extend(ids)
        return real_cache(workspace, size, ids, workers=1)

    monkeypatch.setattr("cars.synth.judge_training.train_judge", record)
    monkeypatch.setattr("cars.filmcache.film_cache", cache)
    folder = train_judge_on_workspace(workspace_copy, 64, epochs=1, minutes=None)
    table = workspace_copy.read("films").set_index("dicom_id")
    chosen = table.loc[asked]
    assert set(chosen["split"]) <= {"train", "validate"}
    assert set(chosen["view"]) <= {"PA", "AP"}
    held = np.asarray(seen["validation"])
    assert held.any()
    assert not held.all()
    subjects = chosen["subject_id"].to_numpy()
    assert not set(subjects[held]) & set(subjects[~held])
    assert (chosen["split"].to_numpy()[~held] == "train").all()
    assert np.array_equal(np.asarray(seen["labels"]), chosen[list(COLUMN_OF.values())].to_numpy(np.int8))
    assert folder.parent == workspace_copy.path / "models" / "judge"

    # other labels of test films change nothing, not even the name
    changed = workspace_copy.read("films")
    changed.loc[changed["split"] == "test", "pneumonia"] = 1
    workspace_copy.write_part("films", "all", changed, version="changed")
    workspace_copy.publish("films", "changed")
    assert train_judge_on_workspace(workspace_copy, 64, epochs=1, minutes=None) == folder


def test_limit_leaves_out_whole_patients(workspace_copy: Workspace) -> None:
    films_table = workspace_copy.read("films")
    films_table["held"] = films_table["split"] == "validate"
    kept = judge_module._limited(films_table, 20, seed=0)
    train = kept[~kept["held"]]
    assert 0 < len(train) <= 20
    counts = films_table[~films_table["held"]].groupby("subject_id").size()
    assert train.groupby("subject_id").size().to_dict() == {s: counts[s] for s in train["subject_id"]}


def test_a_workspace_without_films_says_so(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="no films yet"):
        train_judge_on_workspace(Workspace.create(tmp_path / "ws"))


# The packaged judge --------------------------------------------------------------------------------------------------


def test_the_packaged_judge_tells_phantom_findings_apart() -> None:
    """On the same patients with and without each finding, gross ones must score higher; films no training saw."""
    judge = Judge.load(device="cpu")
    assert judge.trained.all()
    assert (judge.folder / "model.safetensors").stat().st_size < 2_000_000
    rng = np.random.default_rng(12345)
    for finding in ("Cardiomegaly", "Edema", "Pleural Effusion", "Pneumothorax", "Consolidation"):
        pairs = []
        for _ in range(12):
            anatomy = phantom.sample_anatomy(rng, "F", 60)
            healthy = phantom.sample_film(rng, anatomy, "PA")
            ill = phantom.with_finding(healthy, phantom.draw_finding(rng, finding, anatomy, severity=0.8))
            pairs.append([phantom.render(spec, 128, masks=False).image for spec in (healthy, ill)])
        probability = judge.probabilities(np.concatenate(pairs))[:, FINDINGS.index(finding)].reshape(12, 2)
        assert (probability[:, 1] > probability[:, 0]).mean() >= 0.8, finding
