"""The verb `space`: against brute force, blind to test patients, frozen, and resumable."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from coverage_frames import edits_frame, films_frame, workspace_of
from PIL import Image

from cars import index, schema
from cars.coverage import GapsSettings, gaps
from cars.coverage.space import SpaceSettings, measure, reference, space, verb
from cars.errors import Cancelled, DataError, WorkspaceError
from cars.vectors import knn, spectrum, vendi
from cars.workspace import Workspace

DIM = 6


def put_vectors(workspace: Workspace, ids: list[str], vectors: np.ndarray, key: str = "made-up") -> None:
    """The layout that `embed` writes."""
    folder = workspace.folder("embeddings", key)
    order = np.argsort(ids)
    for n, rows in enumerate(np.array_split(order, 3)):
        np.save(folder / f"shard{n}.npy", vectors[rows].astype(np.float16))
    rows = [(ids[i], f"shard{n}", k) for n, part in enumerate(np.array_split(order, 3)) for k, i in enumerate(part)]
    pd.DataFrame(rows, columns=["dicom_id", "shard", "row"]).to_parquet(folder / "rows.parquet")
    words = {"key": key, "backbone": "none", "label": "none", "revision": "1", "size": 8, "dim": DIM, "seed": 0}
    (folder / "info.json").write_text(json.dumps({**words, "weights": None}))
    (workspace.path / "embeddings" / "CURRENT").write_text(key)


def made(folder, seed: int = 0, patients: int = 70) -> tuple[Workspace, pd.DataFrame, np.ndarray]:
    """A workspace whose films have vectors: near each other within a patient, some equal between patients."""
    rng = np.random.default_rng(seed)
    frame = films_frame(seed, patients)
    centre = dict(zip(frame["subject_id"].unique(), rng.normal(size=(patients, DIM)), strict=True))
    vectors = np.stack([centre[s] for s in frame["subject_id"]]) + 0.2 * rng.normal(size=(len(frame), DIM))
    vectors[rng.integers(0, len(frame), 6)] = vectors[rng.integers(0, len(frame), 6)]
    vectors = vectors.astype(np.float16)
    workspace = workspace_of(folder, frame)
    put_vectors(workspace, list(frame["dicom_id"]), vectors)
    return workspace, frame, vectors


def brute(frame: pd.DataFrame, vectors: np.ndarray, k: int, strangers: bool) -> dict[str, np.ndarray]:
    """Every distance, in float64: the train films' radii, and the others' nearest and balls."""
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit = unit.astype(np.float32).astype(np.float64)
    split, patient = frame["split"].to_numpy(), frame["subject_id"].to_numpy()
    train = unit[split == "train"]

    def pairs(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))

    own = patient[split == "train"]
    among = pairs(train, train)
    among[own[:, None] == own[None] if strangers else np.eye(len(own), dtype=bool)] = np.inf
    radii = np.sort(among, axis=1)[:, k - 1]
    across = pairs(unit[split == "test"], train)
    return {
        "radii": radii, "distance": across.min(axis=1), "balls": (across <= radii + 1e-9).sum(axis=1),
        "reached": (among <= radii + 1e-9).sum(axis=1), "alone": among.min(axis=1),
    }  # fmt: skip


@pytest.mark.parametrize("neighbours", ["other-patients", "all-films"])
@pytest.mark.parametrize(("seed", "k"), [(0, 1), (1, 1), (2, 4)])
def test_each_film_is_as_brute_force_has_it(tmp_path, seed, k, neighbours):
    workspace, frame, vectors = made(tmp_path / "ws", seed)
    result = space(workspace, SpaceSettings(k=k, neighbours=neighbours))
    wanted = brute(frame, vectors, k, neighbours == "other-patients")
    found = workspace.read("space_films").set_index("dicom_id")
    test = found.loc[list(frame.loc[frame["split"] == "test", "dicom_id"])]
    np.testing.assert_allclose(test["distance"], wanted["distance"], atol=1e-6)
    np.testing.assert_array_equal(test["balls"], wanted["balls"])
    np.testing.assert_array_equal(test["covered"], wanted["balls"] > 0)
    train = found.loc[list(frame.loc[frame["split"] == "train", "dicom_id"])]
    np.testing.assert_allclose(train["distance"], wanted["alone"], atol=1e-6)
    # copies of one film may tie for the k-th place, of which `balls` counts those that were taken
    assert (train["balls"] <= wanted["reached"]).all()
    assert train["balls"].sum() == k * len(train)
    radius = dict(zip(train.index, wanted["radii"], strict=True))
    np.testing.assert_allclose(test["radius"], [radius[i] for i in test["nearest_dicom_id"]], atol=1e-6)
    assert result["coverage"]["test"]["value"] == pytest.approx((wanted["balls"] > 0).mean(), abs=1e-6)
    assert result["near_misses"] == (wanted["balls"] == 0).sum()
    assert k > 1 or result["near_misses"], "some film is out of reach"
    assert result["coverage"]["test"]["n_patients"] == frame.loc[frame["split"] == "test", "subject_id"].nunique()


def test_scores_and_diversity_are_those_of_the_functions(tmp_path):
    workspace, frame, vectors = made(tmp_path / "ws", 4)
    result = space(workspace, SpaceSettings(k=2, neighbours="all-films"))
    from cars.vectors import prdc

    order = frame["dicom_id"].argsort()
    sides = {s: index.unit(vectors[order][(frame["split"][order] == s).to_numpy()]) for s in ("train", "test")}
    assert result["prdc"]["test"] == pytest.approx(prdc(sides["train"], sides["test"], 2), abs=1e-6)
    assert result["vendi"]["test"]["1"] == pytest.approx(vendi(spectrum(sides["test"])), abs=1e-3)
    summary = workspace.read("space_summary")
    scored = summary[~summary["measure"].str.startswith("vendi")]
    assert (scored["low"] <= scored["value"] + 1e-12).all()
    assert (scored["value"] <= scored["high"] + 1e-12).all()


def test_an_interval_takes_a_patients_films_for_one():
    patients = np.array(["a"] * 8 + ["b"] * 8, object)
    found = measure.clustered(np.arange(16) < 8, patients)
    assert found["value"] == 0.5
    alone = measure.clustered(np.array([True, False]), np.array(["a", "b"], object))
    assert (found["low"], found["high"]) == pytest.approx((alone["low"], alone["high"])), "two patients, not 16 films"
    assert np.isnan(measure.clustered(np.zeros(0, bool), patients[:0])["value"])


def test_test_patients_are_never_in_the_reference(tmp_path):
    workspace, frame, vectors = made(tmp_path / "ws", 5)
    # a patient whose films the split tears apart: neither side may use the train part
    torn = frame.loc[frame["split"] == "test", "subject_id"].iloc[0]
    frame.loc[frame.index[frame["subject_id"] == torn][:1], "split"] = "train"
    workspace = workspace_of(tmp_path / "torn", frame)
    put_vectors(workspace, list(frame["dicom_id"]), vectors)
    space(workspace, SpaceSettings(k=2))
    found = workspace.read("space_films")
    held_out = set(frame.loc[frame["split"].isin(["validate", "test"]), "subject_id"])
    used = set(found["nearest_dicom_id"]) | set(found.loc[found["split"] == "train", "dicom_id"])
    assert not used & set(frame.loc[frame["subject_id"].isin(held_out), "dicom_id"])
    parts = sorted(workspace.path.glob("space/*/radii-*.parquet"))
    before = pd.concat([pd.read_parquet(p) for p in parts])

    other = vectors.copy()
    other[frame["subject_id"].isin(held_out).to_numpy()] *= -1
    changed = workspace_of(tmp_path / "changed", frame)
    put_vectors(changed, list(frame["dicom_id"]), other)
    space(changed, SpaceSettings(k=2))
    after = pd.concat([pd.read_parquet(p) for p in sorted(changed.path.glob("space/*/radii-*.parquet"))])
    np.testing.assert_array_equal(after["radius"], before["radius"])


# Gaps -----------------------------------------------------------------------------------------------------------------


def test_a_gap_is_judged_by_the_test_films_that_match_it(tmp_path):
    workspace, frame, vectors = made(tmp_path / "ws", 6, 120)
    gaps(workspace, GapsSettings(threshold=12, max_order=3, attributes="sex,view,race,findings", where="sex:F,M"))
    result = space(workspace, SpaceSettings(k=3))
    films = frame.merge(workspace.read("space_films"), on=["dicom_id", "split"])
    films = films[films["sex"].isin(["F", "M"])]
    table = workspace.read("space_gaps").merge(workspace.read("gaps")[["gap_id", "pattern", "test_films"]], on="gap_id")
    assert list(table["gap_id"]) == list(workspace.read("gaps")["gap_id"])
    assert result["gaps"]["gaps"] == len(table)
    assert set(table["basis"]) >= {"match", "one attribute away"}

    def matching(part, pattern):
        for name, value in pattern.items():
            column = schema.COLUMN_OF.get(name, name)
            part = part[part[column] == (schema.FINDING_CODES[value] if name in schema.COLUMN_OF else value)]
        return part

    unit = dict(zip(frame["dicom_id"], index.unit(vectors), strict=True))
    for row in table.to_dict("records"):
        pattern = json.loads(row["pattern"])
        test, train = films[films["split"] == "test"], films[films["split"] == "train"]
        chosen = matching(test, pattern)
        assert len(chosen) == row["test_films"]
        if chosen.empty:
            assert row["basis"] in ("one attribute away", "none")
            parts = [matching(test, {n: v for n, v in pattern.items() if n != d}) for d in pattern]
            chosen = pd.concat(parts).drop_duplicates("dicom_id")
        else:
            assert row["basis"] == "match"
        assert row["n_films"] == len(chosen)
        assert row["n_patients"] == chosen["subject_id"].nunique()
        assert row["uncovered"] == (~chosen["covered"].astype(bool)).sum()
        if len(chosen):
            assert row["covered"] == pytest.approx(chosen["covered"].mean())
            assert row["mean_distance"] == pytest.approx(chosen["distance"].mean())
            assert row["low"] <= row["covered"] <= row["high"]
        else:
            assert row["basis"] == "none"
            assert np.isnan(row["covered"])
            assert np.isnan(row["low"])
        own = matching(train, pattern)
        assert row["train_films"] == len(own)
        if len(own):
            score = vendi(spectrum(np.stack([unit[i] for i in own["dicom_id"]])))
            assert row["vendi"] == pytest.approx(score, rel=1e-5)
        else:
            assert np.isnan(row["vendi"])
        assert np.isnan(row["covered_after"]), "nothing synthetic was measured"


def test_new_gaps_are_measured_without_new_radii(tmp_path, monkeypatch):
    workspace, *_ = made(tmp_path / "ws", 7)
    first = space(workspace, SpaceSettings(k=2))
    assert first["gaps"] is None
    assert not workspace.has("space_gaps")
    gaps(workspace, GapsSettings(threshold=6, max_order=2))
    monkeypatch.setattr(reference, "knn", None)
    monkeypatch.setattr(measure, "relate", None)
    second = space(workspace, SpaceSettings(k=2))
    assert second["gaps"]["gaps"] == len(workspace.read("space_gaps")) > 0
    assert second["coverage"] == first["coverage"]


# Synthetic films ------------------------------------------------------------------------------------------------------


class Encoder:
    """Sees a film's DIM numbers in its first row."""

    size, dim = 8, DIM

    def embed(self, films: np.ndarray) -> np.ndarray:
        return films[:, 0, :DIM].astype(np.float32) - 128


def put_edits(workspace: Workspace, frame: pd.DataFrame, vectors: np.ndarray) -> list[str]:
    """Accepted edits of train films that look, to `Encoder`, like these vectors (whole numbers)."""
    sources = frame.loc[frame["split"] == "train", "dicom_id"].tolist()
    edits = edits_frame(frame, [(sources[n], "Edema", "insert") for n in range(len(vectors))])
    paths = []
    for n, vector in enumerate(vectors):
        film = np.full((8, 8), 128, np.uint8)
        film[0, :DIM] = vector + 128
        paths.append(f"films/synthetic/ed/{n}.png")
        workspace.folder("films", "synthetic", "ed")
        Image.fromarray(film).save(workspace.path / paths[-1])
    workspace.write_part("edits", "a", edits.assign(film_path=paths))
    return list(edits["edit_id"])


@pytest.fixture
def seen(monkeypatch):
    monkeypatch.setattr(index, "encoder", lambda *args: Encoder())


@pytest.mark.parametrize("seed", [0, 1, 3, 4, 5])
def test_synthetic_films_never_lower_coverage_and_change_no_radius(tmp_path, seen, seed):
    workspace, frame, vectors = made(tmp_path / "ws", 10 + seed)
    gaps(workspace, GapsSettings(threshold=8, max_order=2))
    before = space(workspace, SpaceSettings(k=2))
    frozen = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in workspace.path.glob("space/*/radii-*.parquet")}
    old = workspace.read("space_films").set_index("dicom_id")
    # some as a film that no train film is near, some anywhere
    missed = old[(old["split"] == "test") & ~old["covered"]].index[0]
    like = vectors[frame["dicom_id"] == missed][0].astype(np.float64)
    rng = np.random.default_rng(seed)
    ids = put_edits(workspace, frame, np.vstack([np.round(40 * like), rng.integers(-60, 60, (4, DIM))]))
    after = space(workspace, SpaceSettings(k=2))
    assert {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in frozen} == frozen
    assert after["key"] == before["key"]
    found = workspace.read("space_films").set_index("dicom_id")
    real = found[found["origin"] == "real"].loc[old.index]
    for column in ("distance", "radius", "balls", "covered"):
        np.testing.assert_array_equal(real[column], old[column])
    assert (real["covered_after"] >= real["covered"]).all()
    assert real.loc[missed, "covered_after"]
    assert real.loc[missed, "nearest_synthetic"] == ids[0]
    assert after["coverage"]["test and synthetic"]["value"] > after["coverage"]["test"]["value"]
    assert after["films"]["synthetic"] == 5
    assert set(found.loc[found["origin"] == "synthetic"].index) == set(ids)
    table = workspace.read("space_gaps").dropna(subset="covered")
    assert (table["covered_after"] >= table["covered"]).all()
    assert (table["covered_after"] > table["covered"]).any()
    assert space(workspace, SpaceSettings(k=2, synthetic=False))["coverage"] == before["coverage"]


def test_a_synthetic_film_reaches_as_far_as_the_train_film_nearest_to_it(tmp_path, seen):
    workspace, frame, vectors = made(tmp_path / "ws", 30)
    ids = put_edits(workspace, frame, np.random.default_rng(1).integers(-60, 60, (12, DIM)))
    space(workspace, SpaceSettings(k=2))
    found = workspace.read("space_films").set_index("dicom_id")
    listing = [pd.read_parquet(p).assign(shard=p.stem) for p in workspace.path.glob("space/edits-*/*.parquet")]
    where = pd.concat(listing).set_index("dicom_id").loc[ids]
    shards = {p.stem: np.load(p) for p in workspace.path.glob("space/edits-*/*.npy")}
    made_up = index.unit(np.stack([shards[s][r] for s, r in zip(where["shard"], where["row"], strict=True)]))
    unit = dict(zip(frame["dicom_id"], index.unit(vectors), strict=True))
    for test in frame.loc[frame["split"] == "test", "dicom_id"]:
        apart = np.linalg.norm(made_up - unit[test], axis=1)
        reached = (apart <= found.loc[ids, "radius"].to_numpy()).any()
        assert found.loc[test, "covered_after"] == (found.loc[test, "covered"] or reached)
        assert found.loc[test, "distance_synthetic"] == pytest.approx(apart.min(), abs=1e-5)


def test_only_accepted_edits_that_can_be_read_count_and_each_is_embedded_once(tmp_path, seen, monkeypatch):
    workspace, frame, _ = made(tmp_path / "ws", 31)
    ids = put_edits(workspace, frame, np.random.default_rng(2).integers(-60, 60, (9, DIM)))
    workspace.records.decide(ids[0], "reject")
    (workspace.path / "films/synthetic/ed/1.png").write_bytes(b"no film")
    assert space(workspace, SpaceSettings(k=2))["films"]["synthetic"] == 7
    workspace.records.decide(ids[2], "reject")
    monkeypatch.setattr(index, "encoder", lambda *args: pytest.fail("nothing is left to embed"))
    assert space(workspace, SpaceSettings(k=2))["films"]["synthetic"] == 6


# Running --------------------------------------------------------------------------------------------------------------


def test_a_second_run_computes_nothing(tmp_path, monkeypatch):
    workspace, *_ = made(tmp_path / "ws", 8)
    first = space(workspace, SpaceSettings(k=2))
    monkeypatch.setattr(verb, "_measure", None)
    assert space(workspace, SpaceSettings(k=2)) == first


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "FILMS_PER_SHARD", 16)
    workspace, *_ = made(tmp_path / "ws", 9)
    whole = Workspace.create(tmp_path / "whole")
    made(whole.path, 9)

    asked = []

    def stopping(vectors, k, groups=None, rows=None, search=None, progress=lambda *a: None):
        if len(asked) == 2:
            raise Cancelled("The job was asked to stop.")
        asked.append(rows)
        return knn(vectors, k, groups, rows, search)

    monkeypatch.setattr(reference, "knn", stopping)
    with pytest.raises(Cancelled):
        space(workspace, SpaceSettings(k=2))
    assert not workspace.has("space_films")
    kept = {p: p.stat().st_mtime_ns for p in workspace.path.glob("space/*/radii-*.parquet")}
    assert len(kept) == 2
    monkeypatch.setattr(reference, "knn", knn)
    result = space(workspace, SpaceSettings(k=2))
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert len(list(workspace.path.glob("space/*/radii-*.parquet"))) > 2
    assert space(whole, SpaceSettings(k=2)) == result
    pd.testing.assert_frame_equal(workspace.read("space_films"), whole.read("space_films"))


def test_new_vectors_or_settings_have_radii_of_their_own(tmp_path):
    workspace, frame, vectors = made(tmp_path / "ws", 8)
    first = space(workspace, SpaceSettings(k=2))
    keys = {first["key"], space(workspace, SpaceSettings(k=3))["key"]}
    keys.add(space(workspace, SpaceSettings(k=2, neighbours="all-films"))["key"])
    put_vectors(workspace, list(frame["dicom_id"]), vectors, "another")
    keys.add(space(workspace, SpaceSettings(k=2))["key"])
    assert len(keys) == 4


def test_an_inverted_file_says_what_it_found(tmp_path):
    workspace, *_ = made(tmp_path / "ws", 8, 150)
    exact = space(workspace, SpaceSettings(k=3))
    assert exact["search"] == {"search": "exact", "recall": 1.0}
    found = space(workspace, SpaceSettings(k=3, search="ivf", recall=1.0))
    assert found["search"] == {"search": "ivf", "recall": 1.0}
    assert found["coverage"] == exact["coverage"]
    assert found["key"] != exact["key"]


def test_what_is_missing_is_said(tmp_path):
    frame = films_frame(0, 10)
    with pytest.raises(WorkspaceError, match="not been embedded"):
        space(workspace_of(tmp_path / "a", frame), SpaceSettings())
    workspace, frame, vectors = made(tmp_path / "b", 0, 8)
    with pytest.raises(DataError, match="needs 50 other train patients"):
        space(workspace, SpaceSettings(k=50))
    workspace = workspace_of(tmp_path / "c", frame.assign(split="none"))
    put_vectors(workspace, list(frame["dicom_id"]), vectors)
    with pytest.raises(WorkspaceError, match="No train film"):
        space(workspace, SpaceSettings())


def test_films_without_a_vector_are_left_out(tmp_path):
    workspace, frame, vectors = made(tmp_path / "ws", 12)
    half = frame.index % 2 == 0
    put_vectors(workspace, list(frame.loc[half, "dicom_id"]), vectors[half], "half")
    result = space(workspace, SpaceSettings(k=2))
    assert result["films"]["test"] == (half & (frame["split"] == "test")).sum()
    assert set(workspace.read("space_films")["dicom_id"]) == set(frame.loc[half, "dicom_id"])
