"""Neighbours against every pair, in float64; groups, copies, blocks, the inverted file and GPUs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cars.vectors import Exact, Inverted, knn, neighbours


def every_pair(vectors: np.ndarray, k: int, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = vectors.astype(np.float64)
    squared = ((values[:, None] - values[None]) ** 2).sum(axis=2)
    distance = np.where(groups[:, None] == groups[None], np.inf, np.sqrt(squared))
    order = np.lexsort((np.broadcast_to(np.arange(len(values)), distance.shape), distance), axis=1)[:, :k]
    found = np.take_along_axis(distance, order, 1)
    return np.where(np.isfinite(found), order, -1), found


@given(seed=st.integers(0, 10_000), n=st.integers(7, 60), k=st.integers(1, 6), patients=st.integers(1, 30),
       block=st.sampled_from([5, 16, 1000]))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_neighbours_are_those_of_every_pair(seed, n, k, patients, block):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 5)).astype(np.float32)
    copied = rng.integers(0, n, size=n // 4)
    vectors[copied] = vectors[rng.integers(0, n, size=len(copied))]
    groups = rng.integers(0, patients, size=n)
    for given_groups, own in ((groups, groups), (None, np.arange(n))):
        near, distance = knn(vectors, k, given_groups, search=Exact(vectors, block))
        wanted_near, wanted = every_pair(vectors, min(k, n), own)
        np.testing.assert_allclose(distance[:, : wanted.shape[1]], wanted, atol=1e-12)
        np.testing.assert_array_equal(near[:, : wanted.shape[1]], wanted_near)


def test_a_copy_is_at_distance_zero_and_counts():
    vectors = np.array([[1, 2], [1, 2], [1, 2], [5, 5]], np.float32)
    near, distance = knn(vectors, 2)
    np.testing.assert_array_equal(near[:3], [[1, 2], [0, 2], [0, 1]])
    np.testing.assert_array_equal(distance[:3], 0)
    np.testing.assert_array_equal(distance[3], [5, 5])


def test_rows_are_asked_in_any_order():
    vectors = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    groups = np.repeat(np.arange(8), 5)
    every = knn(vectors, 3, groups)
    rows = np.array([7, 0, 33])
    some = knn(vectors, 3, groups, rows)
    np.testing.assert_array_equal(some[0], every[0][rows])
    np.testing.assert_array_equal(some[1], every[1][rows])


def test_a_patient_with_most_films_hides_nobody(monkeypatch):
    monkeypatch.setattr(neighbours, "GATHERED", 64)
    vectors = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)
    groups = np.where(np.arange(300) < 250, 0, np.arange(300))
    near, distance = knn(vectors, 4, groups)
    wanted_near, wanted = every_pair(vectors, 4, groups)
    np.testing.assert_array_equal(near, wanted_near)
    np.testing.assert_allclose(distance, wanted, atol=1e-12)


def test_an_inverted_file_measures_its_recall():
    vectors = np.random.default_rng(2).normal(size=(3000, 8)).astype(np.float32)
    search = Inverted(vectors, recall=0.9, k=5)
    assert 1 < search.probes < search.lists
    near, distance = knn(vectors, 5, search=search)
    true, wanted = knn(vectors, 5)
    found = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(near.tolist(), true.tolist())])
    assert search.recall >= 0.9
    assert found == pytest.approx(search.recall, abs=0.05), "the sample stands for all"
    assert (distance >= wanted - 1e-12).all(), "what is missed makes a distance too large, never too small"
    whole = Inverted(vectors, recall=1.0, k=5)
    assert whole.recall == 1


def test_gpus_are_used_where_there_are_any(monkeypatch):
    import faiss

    moved = []

    class OnGpus:
        def set_index_parameter(self, index, name, value):
            faiss.ParameterSpace().set_index_parameter(index, name, value)

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", lambda index: moved.append(index) or index, raising=False)
    monkeypatch.setattr(faiss, "GpuParameterSpace", OnGpus, raising=False)
    vectors = np.random.default_rng(3).normal(size=(200, 8)).astype(np.float32)
    near, _ = knn(vectors, 3)
    assert len(moved) == 1
    same, _ = knn(vectors, 3, search=Inverted(vectors, recall=1.0, k=3))
    assert len(moved) == 3, "the index, and the exact one that its recall is measured with"
    np.testing.assert_array_equal(near, same)
