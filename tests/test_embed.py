"""The verb `embed`: resumable, exact about what failed, and blind to test patients."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cars import index
from cars.embed import EmbedSettings, adapting, embed, layout, shards
from cars.errors import Cancelled, DataError, SettingError, WorkspaceError
from cars.imaging import decode, square
from cars.workspace import Workspace

TOY = EmbedSettings(backbone="toy", device="cpu", workers=1, map=False)


def files(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """Shard file → (inode, time): what tells a file that was kept from one that was written again."""
    found = sorted(workspace.path.glob("embeddings/*/*"))
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in found if len(p.stem) == 16}


def set_films(workspace: Workspace, frame: pd.DataFrame, version: str) -> None:
    workspace.write_part("films", "films", frame, version)
    workspace.publish("films", version)


def test_vectors_are_the_backbones_own(workspace_copy):
    result = embed(workspace_copy, TOY)
    films = workspace_copy.read("films").set_index("dicom_id")
    assert result["films"] == films["on_disk"].sum() == result["embedded"]
    assert (result["failed"], result["dim"]) == (0, 32)
    assert "random" in result["backbone"], "random weights are never hidden"
    ids, array = index.read_embeddings(workspace_copy)
    assert array.shape == (len(ids), 32)
    assert array.dtype == np.float16
    backbone = index.encoder(workspace_copy, "cpu")
    for dicom_id in (ids[0], ids[17], ids[-1]):
        film = square(decode(films.loc[dicom_id, "path"]), backbone.size)
        np.testing.assert_allclose(
            index.vectors(workspace_copy, [dicom_id]), backbone.embed(film[None]), rtol=2e-3, atol=1e-3
        )


def test_a_second_run_computes_nothing_and_changes_nothing(workspace_copy, monkeypatch):
    first = embed(workspace_copy, TOY)
    before = files(workspace_copy)
    monkeypatch.setattr(shards, "decode", None)  # a film that is decoded again fails
    again = embed(workspace_copy, TOY)
    assert again == {**first, "embedded": 0}
    assert files(workspace_copy) == before


def test_new_films_are_added_and_changed_ones_are_done_again(workspace_copy, tmp_path):
    everything = workspace_copy.read("films")
    moved = everything["path"].iloc[0]
    changing = tmp_path / "changing.jpg"
    changing.write_bytes(Path(moved).read_bytes())
    everything.loc[0, "path"] = str(changing)
    set_films(workspace_copy, everything.iloc[:20], "some")
    assert embed(workspace_copy, TOY)["embedded"] == 20
    set_films(workspace_copy, everything, "all")
    assert embed(workspace_copy, TOY)["embedded"] == everything["on_disk"].sum() - 20

    dicom_id = everything["dicom_id"].iloc[0]
    before = index.vectors(workspace_copy, [dicom_id])
    changing.write_bytes(Path(everything["path"].iloc[1]).read_bytes())
    result = embed(workspace_copy, TOY)
    assert result["embedded"] == 1
    after = index.vectors(workspace_copy, [dicom_id])
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, index.vectors(workspace_copy, [everything["dicom_id"].iloc[1]]), rtol=1e-3)
    assert result["index"]["films"] == result["films"] == everything["on_disk"].sum(), "the old vector does not count"


def test_films_that_fail_are_listed_and_not_embedded(workspace_copy, tmp_path):
    films = workspace_copy.read("films")
    half, gone = tmp_path / "half.jpg", tmp_path / "gone.jpg"
    half.write_bytes(Path(films["path"].iloc[0]).read_bytes()[:600])
    films.loc[0, "path"], films.loc[1, "path"] = str(half), str(gone)
    set_films(workspace_copy, films, "bad")
    result = embed(workspace_copy, TOY)
    reasons = {row["dicom_id"]: row["reason"] for row in result["failures"]}
    assert reasons == {films["dicom_id"].iloc[0]: "truncated", films["dicom_id"].iloc[1]: "missing"}
    assert result["failed"] == 2
    assert result["films"] == films["on_disk"].sum() - 2
    ids, _ = index.read_embeddings(workspace_copy)
    assert not set(ids) & set(reasons)
    with pytest.raises(DataError, match="has no vector"):
        index.vectors(workspace_copy, list(reasons))
    assert embed(workspace_copy, TOY) == {**result, "embedded": 0}, "a failure is remembered, and still listed"


def test_nothing_to_embed_is_an_error(workspace_copy, tmp_path):
    with pytest.raises(WorkspaceError, match="no films"):
        embed(Workspace.create(tmp_path / "new"), TOY)
    films = workspace_copy.read("films").head(3)
    films["path"] = str(tmp_path / "nowhere.jpg")
    set_films(workspace_copy, films, "none")
    with pytest.raises(WorkspaceError, match="missing"):
        embed(workspace_copy, TOY)
    assert not (workspace_copy.path / "embeddings" / "CURRENT").exists()


def test_a_cancelled_run_leaves_the_earlier_vectors_current(workspace_copy):
    first = embed(workspace_copy, TOY)

    def stop(done: int, total: int, message: str = "") -> None:
        if message == "embedding" and done:
            raise Cancelled("The job was asked to stop.")

    with pytest.raises(Cancelled):
        embed(workspace_copy, EmbedSettings(backbone="toy", device="cpu", workers=1, map=False, seed=1), stop)
    assert index.info(workspace_copy)["key"] == first["key"]


# A backbone without torch, which a fresh process would take seconds to import.
KILLED = """
import sys, time
import numpy as np
from cars.backbones import BACKBONES
from cars.embed import EmbedSettings, embed, shards
from cars.workspace import Workspace

@BACKBONES.register("means")
class Means:
    dim, size, label, revision = 8, 16, "means", "1"
    def __init__(self, weights, size, seed): pass
    def load(self, device): return self
    def embed(self, images): return images.reshape(len(images), 8, -1).mean(2, dtype=np.float32)

shards.FILMS_PER_SHARD = 8
if sys.argv[2] == "slow":
    write = shards._write_shard
    def slowly(*args):
        write(*args)
        print("shard", flush=True)
        time.sleep(0.5)
    shards._write_shard = slowly
embed(Workspace.open(sys.argv[1]), EmbedSettings("means", device="cpu", workers=1, map=False, batch=4))
"""


def test_a_killed_run_goes_on_where_it_stopped(workspace_copy, tiny_workspace, tmp_path):
    command = [sys.executable, "-c", KILLED, str(workspace_copy.path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(index.__file__).resolve().parents[1]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "slow"], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline() == "shard\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    kept = files(workspace_copy)
    assert len(kept) >= 6, "three shards of two files"
    assert not (workspace_copy.path / "embeddings" / "CURRENT").exists(), "half a run does not count"

    subprocess.run([*command, "fast"], check=True, env=environment)
    after = files(workspace_copy)
    assert {name: after[name] for name in kept} == kept, "finished shards are not written again"
    assert len(after) > len(kept)

    whole = Workspace.create(tmp_path / "whole")
    set_films(whole, tiny_workspace.read("films"), "v")
    subprocess.run([*command[:3], str(whole.path), "fast"], check=True, env=environment)
    (ids, array), (same_ids, same) = index.read_embeddings(workspace_copy), index.read_embeddings(whole)
    assert list(ids) == list(same_ids)
    np.testing.assert_array_equal(np.asarray(array), np.asarray(same))


def test_a_shard_without_its_listing_does_not_count(workspace_copy):
    embed(workspace_copy, TOY)
    listing = next(p for p in workspace_copy.path.glob("embeddings/*/*.parquet") if p.stem != "rows")
    expected = np.asarray(index.read_embeddings(workspace_copy)[1])
    listing.with_suffix(".npy").write_bytes(b"half a shard")
    listing.unlink()
    assert embed(workspace_copy, TOY)["embedded"] > 0
    np.testing.assert_array_equal(np.asarray(index.read_embeddings(workspace_copy)[1]), expected)


def test_workers_give_the_same_vectors(workspace_copy, tiny_workspace, tmp_path):
    embed(workspace_copy, TOY)
    other = Workspace.create(tmp_path / "other")
    set_films(other, tiny_workspace.read("films"), "v")
    embed(other, EmbedSettings(backbone="toy", device="cpu", workers=2, map=False, batch=7))
    np.testing.assert_allclose(
        np.asarray(index.read_embeddings(workspace_copy)[1], np.float32),
        np.asarray(index.read_embeddings(other)[1], np.float32),
        atol=2e-3,
    )


# Weights -----------------------------------------------------------------------------------------------------------


def test_a_fine_tuned_unit_is_found_by_name(workspace_copy):
    from safetensors.torch import save_file

    from cars.backbones import BACKBONES

    unit = workspace_copy.folder("runs", "r1", "u1")
    net = BACKBONES.get("toy").build(14, in_size=40, seed=5)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, unit / "weights.safetensors")
    (unit / "config.json").write_text(json.dumps({"backbone": "toy", "in_size": 40}))
    result = embed(workspace_copy, EmbedSettings("toy", "run:u1", device="cpu", workers=1, map=False))
    assert result["size"] == 40, "the size that the unit was trained at"
    assert "random" not in result["backbone"]
    assert index.info(workspace_copy)["weights"] == "runs/r1/u1", "relative, so that the workspace can be moved"
    assert index.encoder(workspace_copy, "cpu").revision == result["revision"]
    with pytest.raises(SettingError, match=r"'u9'.*u1"):
        embed(workspace_copy, EmbedSettings("toy", "run:u9"))
    with pytest.raises(SettingError, match="toy, not a resnet50"):
        embed(workspace_copy, EmbedSettings("resnet50", "run:u1"))


def test_changed_weights_are_noticed(workspace_copy):
    from safetensors.torch import save_file

    from cars.backbones import BACKBONES

    file = workspace_copy.folder("models", "mine") / "model.safetensors"
    for seed in (1, 2):
        net = BACKBONES.get("toy").build(0, seed=seed)
        save_file({name: value.contiguous() for name, value in net.state_dict().items()}, file)
        if seed == 1:
            embed(workspace_copy, EmbedSettings("toy", str(file), device="cpu", workers=1, map=False))
    with pytest.raises(DataError, match="Embed the films again"):
        index.encoder(workspace_copy)


# Adapting ----------------------------------------------------------------------------------------------------------

ADAPT = EmbedSettings(
    "toy", device="cpu", workers=1, map=False, adapt="supervised", adapt_epochs=2, adapt_size=32, batch=8
)


@pytest.fixture
def learnable(workspace_copy, monkeypatch):
    monkeypatch.setattr(adapting, "LEAST_POSITIVES", 1)
    return workspace_copy


def encoder_bytes(workspace: Workspace) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in workspace.path.glob("models/encoder/*/model.safetensors")}


def test_adapting_trains_keeps_its_card_and_is_not_repeated(learnable):
    result = embed(learnable, ADAPT)
    folder = learnable.path / result["adapted"]["folder"]
    card = json.loads((folder / "config.json").read_text())
    assert len(card["log"]) == 2
    films = learnable.read("films")
    assert card["train"]["films"] == ((films["split"] == "train") & films["on_disk"]).sum()
    assert "adapted" in result["backbone"]
    assert not (folder / "checkpoint.pt").exists()
    before = (folder / "model.safetensors").stat().st_mtime_ns
    again = embed(learnable, ADAPT)
    assert again == {**result, "embedded": 0}
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    plain = embed(learnable, EmbedSettings("toy", device="cpu", workers=1, map=False))
    assert plain["key"] != result["key"]


def test_test_patients_never_reach_the_encoder(learnable, tiny_workspace, tmp_path):
    embed(learnable, ADAPT)
    other = Workspace.create(tmp_path / "other")
    films = tiny_workspace.read("films")
    test = films["split"] == "test"
    assert test.any()
    codes = ["pleural_effusion", "cardiomegaly", "edema", "no_finding", "pneumothorax", "lung_opacity"]
    films.loc[test, codes] = 1 - films.loc[test, codes].clip(0, 1)
    films.loc[test, "path"] = "/nowhere"  # nor are their films
    set_films(other, films, "other")
    embed(other, ADAPT)
    mine, theirs = encoder_bytes(learnable), encoder_bytes(other)
    assert mine == theirs
    assert len(mine) == 1

    train = films["split"] == "train"
    films.loc[train, codes] = 1 - films.loc[train, codes].clip(0, 1)
    set_films(other, films, "third")
    embed(other, ADAPT)
    assert len(encoder_bytes(other)) == 2, "while train labels do change it"


def test_a_patient_with_a_test_film_is_left_out(learnable):
    films = learnable.read("films")
    subject = films.loc[films["split"] == "train", "subject_id"].iloc[0]
    stray = films[films["split"] == "test"].head(1).assign(dicom_id="stray", subject_id=subject)
    set_films(learnable, pd.concat([films, stray], ignore_index=True), "crossing")
    _, labels = adapting.read_labels(learnable)
    assert subject not in set(labels["subject_id"])
    assert set(labels["split"]) == {"train", "validate"}


def test_a_killed_adapting_ends_with_the_same_weights(learnable, tiny_workspace, tmp_path):
    embed(learnable, ADAPT)
    other = Workspace.create(tmp_path / "other")
    set_films(other, tiny_workspace.read("films"), "v")

    def stop_in_epoch_two(done: int, total: int, message: str = "") -> None:
        if message == "adapting, epoch 2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(other, ADAPT, stop_in_epoch_two)
    assert len(list(other.path.glob("models/encoder/*/checkpoint.pt"))) == 1
    assert not encoder_bytes(other)
    embed(other, ADAPT)
    assert encoder_bytes(other) == encoder_bytes(learnable)


def test_uncertain_labels_are_left_out_and_not_mentioned_is_absent():
    frame = pd.DataFrame({"edema": [1, 0, -1, -2]})
    y, known = adapting._targets(frame, ["Edema"])
    assert y[:, 0].tolist() == [1, 0, 0, 0]
    assert known[:, 0].tolist() == [1, 1, 0, 1]


# The map -----------------------------------------------------------------------------------------------------------


def test_few_films_lie_at_their_principal_components(workspace_copy):
    set_films(workspace_copy, workspace_copy.read("films").head(9), "few")
    result = embed(workspace_copy, EmbedSettings("toy", device="cpu", workers=1))
    assert result["map"] == 9
    ids, array = index.read_embeddings(workspace_copy)
    table = workspace_copy.read("map").set_index("dicom_id").loc[list(ids)]
    values = index.unit(np.asarray(array))
    centred = values - values.mean(axis=0)
    singular = np.linalg.svd(centred, full_matrices=False)
    expected = np.abs(singular.U[:, :2] * singular.S[:2])
    np.testing.assert_allclose(np.abs(table[["x", "y"]].to_numpy()), expected, atol=1e-4)


def test_principal_components_agree_with_scikit_learn():
    from sklearn.decomposition import PCA

    class Blocks:
        values = np.random.default_rng(0).normal(size=(70, 6)).astype(np.float32) + 1
        shape = (70, 6)

        def __len__(self):
            return 70

        def blocks(self):
            yield 0, self.values[:50]
            yield 50, self.values[50:]

    expected = PCA(3).fit_transform(index.unit(Blocks.values))
    np.testing.assert_allclose(np.abs(layout.principal(Blocks(), 3)), np.abs(expected), atol=1e-5)


def test_the_map_is_seeded_and_joins_what_is_known(workspace_copy, monkeypatch):
    with_map = EmbedSettings("toy", device="cpu", workers=1, neighbours=5)
    result = embed(workspace_copy, with_map)
    first = workspace_copy.read("map")
    assert len(first) == result["map"] == result["films"]
    assert np.isfinite(first[["x", "y"]].to_numpy()).all()
    points = layout.lay_out(workspace_copy, index.current(workspace_copy), 5, 0)
    np.testing.assert_allclose(points, first[["x", "y"]], atol=1e-6)
    monkeypatch.setattr(layout, "lay_out", None)  # a map that is drawn again fails
    assert embed(workspace_copy, with_map)["map"] == result["map"]


def test_near_films_lie_near_on_the_map(workspace_copy):
    embed(workspace_copy, EmbedSettings("toy", device="cpu", workers=1, neighbours=8))
    points = workspace_copy.read("map").set_index("dicom_id")[["x", "y"]]
    near = index.nearest(workspace_copy, list(points.index), 3)
    apart = np.linalg.norm(
        points.loc[near["query"]].to_numpy() - points.loc[near["dicom_id"]].to_numpy(), axis=1
    ).mean()
    values = points.to_numpy()
    anyhow = np.linalg.norm(values[:, None] - values[None], axis=2).mean()
    assert apart < 0.5 * anyhow


def test_real_films_embed(open_cxr, tmp_path):
    from cars.ingest import IngestSettings, ingest

    workspace = Workspace.create(tmp_path / "real")
    ingest(workspace, IngestSettings("mimic-cxr-jpg", str(open_cxr), limit=24, workers=1))
    result = embed(workspace, EmbedSettings(size=64, device="cpu", workers=1, map=False))
    assert (result["films"], result["failed"], result["dim"]) == (24, 0, 1280)
    assert "random" not in result["backbone"], "ImageNet weights came with the installation"
