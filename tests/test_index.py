"""The index: exact against brute force, and never used when it is not of the vectors that count."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest

from cars import index
from cars.errors import DataError, WorkspaceError
from cars.workspace import Workspace

DIM = 12


def fill(workspace: Workspace, values: np.ndarray, key: str = "k", shards: int = 3, current: bool = True) -> list[str]:
    """Vectors as `embed` leaves them, in several shards whose order is not that of the ids. Returns: the ids."""
    folder = workspace.folder("embeddings", key)
    ids = [f"d{n:05d}" for n in range(len(values))]
    order = np.random.default_rng(0).permutation(len(values))
    rows = []
    for s, part in enumerate(np.array_split(order, shards)):
        name = f"{key}-shard{s}"
        np.save(folder / f"{name}.npy", values[part].astype(np.float16))
        rows += [(ids[n], name, row) for row, n in enumerate(part)]
    frame = pd.DataFrame(sorted(rows), columns=["dicom_id", "shard", "row"])
    frame.to_parquet(folder / "rows.parquet", index=False)
    (folder / "info.json").write_text(json.dumps({"key": key, "dim": values.shape[1]}))
    if current:
        (workspace.path / "embeddings" / "CURRENT").write_text(key)
    return ids


@pytest.fixture
def workspace(tmp_path):
    return Workspace.create(tmp_path / "ws")


@pytest.fixture
def values():
    return np.random.default_rng(1).normal(size=(400, DIM)).astype(np.float16).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)[None]


def test_reads_what_was_written(workspace, values):
    ids = fill(workspace, values)
    got, array = index.read_embeddings(workspace)
    assert list(got) == ids
    np.testing.assert_array_equal(np.asarray(array, np.float32), values)
    np.testing.assert_array_equal(array[5], values[5])
    np.testing.assert_array_equal(array[[9, 2, 2]], values[[9, 2, 2]])
    np.testing.assert_array_equal(array[np.arange(400) % 7 == 0], values[::7])
    np.testing.assert_array_equal(np.concatenate([block for _, block in array.blocks(64)]), values)
    np.testing.assert_array_equal(index.vectors(workspace, ["d00007", "d00003"]), values[[7, 3]])


def test_ids_are_read_once_and_again_when_they_change(workspace, values):
    fill(workspace, values)
    first, _ = index.read_embeddings(workspace)
    assert np.shares_memory(index.read_embeddings(workspace)[0], first)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = "another"
    rows = index.current(workspace) / "rows.parquet"
    table = pd.read_parquet(rows)
    table.iloc[::-1].to_parquet(rows.with_name("turned"))
    os.replace(rows.with_name("turned"), rows)
    turned, array = index.read_embeddings(workspace)
    assert list(turned) == list(first)[::-1]
    np.testing.assert_array_equal(np.asarray(array, np.float32), values[::-1])
    np.testing.assert_array_equal(index.vectors(workspace, ["d00007"]), values[[7]])
    with pytest.raises(DataError, match="d99999"):
        index.vectors(workspace, ["d00007", "d99999"])


def test_nearest_is_brute_forces_nearest(workspace, values):
    ids = fill(workspace, values)
    queries = [ids[n] for n in (0, 17, 399)]
    found = index.nearest(workspace, queries, k=5)
    assert list(found) == ["query", "rank", "dicom_id", "similarity"]
    similar = cosine(values, values)
    np.fill_diagonal(similar, -2)
    for n in (0, 17, 399):
        best = np.argsort(-similar[n])[:5]
        rows = found[found["query"] == ids[n]]
        assert rows["rank"].tolist() == [1, 2, 3, 4, 5]
        assert rows["dicom_id"].tolist() == [ids[b] for b in best]
        np.testing.assert_allclose(rows["similarity"], similar[n, best], atol=1e-5)


def test_a_film_is_not_its_own_neighbour_even_among_copies(workspace, values):
    values[10:20] = values[10]
    ids = fill(workspace, values)
    found = index.nearest(workspace, ids[10:20], k=4)
    assert (found["query"] != found["dicom_id"]).all()
    assert (found.groupby("query").size() == 4).all()
    np.testing.assert_allclose(found["similarity"], 1, atol=1e-5)


def test_asking_for_more_films_than_there_are(workspace, values):
    ids = fill(workspace, values[:4])
    assert len(index.nearest(workspace, ids[:1], k=50)) == 3
    assert index.nearest(workspace, [], k=5).empty


def test_words_of_errors(workspace, values):
    with pytest.raises(WorkspaceError, match="cars embed"):
        index.nearest(workspace, ["d00001"])
    fill(workspace, values)
    with pytest.raises(DataError, match="'elsewhere'"):
        index.nearest(workspace, ["elsewhere"])
    with pytest.raises(DataError, match="12 numbers"):
        index.search(workspace, np.zeros((1, 5), np.float32), 3)


def test_a_stale_index_is_rebuilt_and_never_used(workspace, values):
    ids = fill(workspace, values)
    old = index.refresh(workspace)
    assert index.refresh(workspace) == old
    turned = values[::-1].copy()
    fill(workspace, turned, shards=4)
    similar = cosine(turned, turned)
    np.fill_diagonal(similar, -2)
    found = index.nearest(workspace, ids[:3], k=1)
    assert found["dicom_id"].tolist() == [ids[similar[n].argmax()] for n in range(3)]
    assert index.refresh(workspace)["rows"] != old["rows"]


@pytest.mark.parametrize("damage", ["no description", "half a file", "no file", "another's hash"])
def test_a_damaged_index_is_rebuilt(workspace, values, damage):
    ids = fill(workspace, values)
    index.refresh(workspace)
    expected = index.nearest(workspace, ids[:2], 3)
    folder = index.current(workspace)
    if damage == "no description":
        (folder / "index.json").unlink()
    elif damage == "half a file":
        (folder / "index.faiss").write_bytes((folder / "index.faiss").read_bytes()[:1000])
    elif damage == "no file":
        (folder / "index.faiss").unlink()
    else:
        described = json.loads((folder / "index.json").read_text())
        (folder / "index.json").write_text(json.dumps({**described, "rows": "0" * 16}))
    index._open.cache_clear()
    assert index.refresh(workspace)["films"] == len(ids)
    pd.testing.assert_frame_equal(index.nearest(workspace, ids[:2], 3), expected)
    assert (folder / "index.faiss").stat().st_size == json.loads((folder / "index.json").read_text())["bytes"]


def test_a_build_that_is_killed_between_its_files_does_not_count(workspace, values, monkeypatch):
    fill(workspace, values)
    index.refresh(workspace)
    fill(workspace, values[::-1].copy(), shards=4)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(index, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        index.refresh(workspace)
    monkeypatch.undo()
    assert not (index.current(workspace) / "index.json").exists()
    assert index.refresh(workspace)["films"] == len(values)


def test_two_workspaces_keep_their_indexes_apart(tmp_path, values):
    one, two = Workspace.create(tmp_path / "one"), Workspace.create(tmp_path / "two")
    ids = fill(one, values)
    fill(two, np.roll(values, 1, axis=0))
    a, b = (index.nearest(w, ids[:20], 1) for w in (one, two))
    assert a["dicom_id"].tolist() != b["dicom_id"].tolist()


def test_the_inverted_file_finds_what_it_says(workspace, monkeypatch):
    rng = np.random.default_rng(4)
    values = (rng.normal(size=(20, DIM))[rng.integers(0, 20, 1500)] + 0.5 * rng.normal(size=(1500, DIM))).astype(
        np.float16
    )
    ids = fill(workspace, values.astype(np.float32))
    monkeypatch.setattr(index, "FLAT_BELOW", 1000)
    described = index.refresh(workspace)
    assert described["kind"] == "ivf"
    assert described["recall"] >= index.RECALL
    assert described["probes"] < described["lists"], "it need not look everywhere"
    similar = cosine(values.astype(np.float32), values.astype(np.float32))
    np.fill_diagonal(similar, -2)
    found = index.nearest(workspace, ids, 10)
    truth = np.argsort(-similar, axis=1)[:, :10]
    of = {i: set(g) for i, g in found.groupby("query")["dicom_id"]}
    recall = np.mean([len(of[ids[n]] & {ids[t] for t in truth[n]}) / 10 for n in range(len(ids))])
    assert recall == pytest.approx(described["recall"], abs=0.03), "as measured on all films"


# Questions of the gates ----------------------------------------------------------------------------------------------


def test_distance_to_the_real_films(workspace, values):
    fill(workspace, values)
    queries = np.concatenate([values[:2], np.random.default_rng(9).normal(size=(3, DIM)).astype(np.float32)])
    expected = 1 - np.sort(cosine(queries, values), axis=1)[:, ::-1][:, :3].mean(axis=1)
    np.testing.assert_allclose(index.knn_distance(workspace, queries, 3), expected, atol=1e-5)


def owned(workspace: Workspace, ids: list[str], owners: list[str]) -> None:
    workspace.write_part("films", "f", pd.DataFrame({"dicom_id": ids, "subject_id": owners}))


def test_near_copies_of_another_patient(workspace, values):
    ids = fill(workspace, values)
    owned(workspace, ids, [f"p{n // 100}" for n in range(400)])  # 100 films a patient: more than the first look finds
    queries = np.stack([values[5], values[150], values[5] + 0.9 * np.ones(DIM)]).astype(np.float32)
    found = index.near_copies(workspace, queries, ["p0", "p0", "p0"], threshold=0.999)
    assert found["copy"].tolist() == [False, True, False], "its own patient's film is no copy; another's is"
    assert found["dicom_id"][1] == ids[150]
    assert (found["subject_id"] != "p0").all()
    similar = cosine(queries, values)
    similar[:, :100] = -2
    np.testing.assert_allclose(found["similarity"], similar.max(axis=1), atol=1e-5)


def test_where_all_films_are_of_one_patient_nothing_is_a_copy(workspace, values):
    ids = fill(workspace, values[:50])
    owned(workspace, ids, ["p0"] * 50)
    found = index.near_copies(workspace, values[:2], ["p0", "p0"])
    assert found["dicom_id"].isna().all()
    assert not found["copy"].any()


def test_the_threshold_is_what_strangers_reach(workspace, values):
    ids = fill(workspace, values)
    owners = [f"p{n // 4}" for n in range(400)]
    owned(workspace, ids, owners)
    similar = cosine(values, values)
    for n in range(400):
        similar[n, n // 4 * 4 : n // 4 * 4 + 4] = -2
    expected = np.quantile(similar.max(axis=1), 0.999)
    assert index.likeness_of_strangers(workspace) == pytest.approx(expected, abs=1e-5)
