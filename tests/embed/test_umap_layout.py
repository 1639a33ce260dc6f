"""The layout equals umap-learn's own, a stopped one goes on to the same points, and landmarks stand for the rest."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from cars.embed import layout, umap_layout
from cars.errors import Cancelled


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    """5,000 points in 4 groups of 8 dimensions; above 4,096 umap-learn takes given neighbours as they are."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 8)) * 8
    return (rng.normal(size=(5000, 8)) + centres[np.arange(5000) % 4]).astype(np.float32)


@pytest.fixture(scope="module")
def graph(groups: np.ndarray) -> object:
    return umap_layout.graph_of(*layout.component_neighbours(groups, 15, 0), seed=3)


@pytest.fixture(scope="module")
def points(graph: object, groups: np.ndarray) -> np.ndarray:
    return umap_layout.lay_out(graph, groups[:, :2], 3)


def test_the_layout_is_umap_learns(groups: np.ndarray, points: np.ndarray) -> None:
    import umap

    near, distance = layout.component_neighbours(groups, 15, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = umap.UMAP(
            n_neighbors=15, precomputed_knn=(near, distance), init=groups[:, :2].copy(), random_state=3, n_jobs=1,
            n_epochs=umap_layout.EPOCHS,
        ).fit_transform(groups)  # fmt: skip
    np.testing.assert_array_equal(points, theirs)


def test_a_stopped_layout_goes_on_to_the_same_points(
    graph: object, groups: np.ndarray, points: np.ndarray, tmp_path: Path
) -> None:
    file = tmp_path / "layout.npz"

    def stop_at(epoch: int):
        def progress(done: int, total: int, message: str) -> None:
            if done == epoch:
                raise Cancelled("stop")

        return progress

    for epoch in (40, 110):
        with pytest.raises(Cancelled):
            umap_layout.lay_out(graph, groups[:, :2], 3, file, stop_at(epoch))
        with np.load(file) as saved:
            assert int(saved["epoch"]) == epoch
    seen: list[int] = []
    again = umap_layout.lay_out(graph, groups[:, :2], 3, file, lambda done, *_: seen.append(done))
    assert seen[0] == 110, "finished epochs are not done again"
    np.testing.assert_array_equal(again, points)


def test_a_killed_layout_goes_on_from_what_the_clock_saved(
    graph: object, groups: np.ndarray, points: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(umap_layout, "CHECKPOINT_SECONDS", 0.0)
    file, left = tmp_path / "layout.npz", tmp_path / "left.npz"

    def progress(done: int, total: int, message: str) -> None:
        if done == 70:  # what a kill at this moment would leave on disk
            shutil.copy(file, left)

    np.testing.assert_array_equal(umap_layout.lay_out(graph, groups[:, :2], 3, file, progress), points)
    seen: list[int] = []
    again = umap_layout.lay_out(graph, groups[:, :2], 3, left, lambda done, *_: seen.append(done))
    assert seen[0] == 70
    np.testing.assert_array_equal(again, points)


def test_neighbours_are_the_true_ones_and_self_comes_first() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(size=(60, 3)), np.zeros((4, 3))]).astype(np.float32)  # four twins
    near, distance = layout.component_neighbours(values, 6, 0)
    true = np.sort(np.linalg.norm(values[:, None] - values[None], axis=2), axis=1)[:, :6]
    assert (near[:, 0] == np.arange(64)).all()
    assert (distance[:, 0] == 0).all()
    assert all(len(set(row)) == 6 for row in near.tolist())
    np.testing.assert_allclose(distance, true, atol=1e-4)


def test_an_inverted_file_finds_nearly_all(monkeypatch: pytest.MonkeyPatch, groups: np.ndarray) -> None:
    exact, _ = layout.component_neighbours(groups, 10, 0)
    monkeypatch.setattr(layout.index, "FLAT_BELOW", 1000)
    found, _ = layout.component_neighbours(groups, 10, 0)
    share = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), found.tolist(), strict=True)])
    assert share >= 0.93


def test_where_too_few_are_found_the_last_one_stands_in() -> None:
    rows = np.array([[7, 0, 3, -1], [5, 9, 2, 1], [-1, -1, -1, -1]])
    far = np.array([[0.0, 0.1, 0.2, 9.0], [0.1, 0.2, 0.3, 0.4], [9.0, 9.0, 9.0, 9.0]], np.float32)
    near, distance = layout._without_self(np.array([7, 1, 4]), rows, far, 4)
    assert near.tolist() == [[7, 0, 3, 3], [1, 5, 9, 2], [4, 4, 4, 4]]
    np.testing.assert_allclose(distance, [[0, 0.1, 0.2, 0.2], [0, 0.1, 0.2, 0.3], [0, 0, 0, 0]])


def test_which_mode_auto_means() -> None:
    assert layout.mode_of("auto", layout.AUTO_LANDMARK) == "umap"
    assert layout.mode_of("auto", layout.AUTO_LANDMARK + 1) == "landmark"
    assert layout.mode_of("umap", 10**6) == "umap"


def test_landmarks_keep_the_groups_apart(
    groups: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sklearn.manifold import trustworthiness

    class Blocks:
        shape = groups.shape

        def __len__(self) -> int:
            return len(groups)

        def blocks(self):
            yield 0, groups

    monkeypatch.setattr(layout.index, "read_embeddings", lambda *_: (np.arange(len(groups)), Blocks()))
    placed = layout.by_landmarks(None, tmp_path, 15, 0, 500, tmp_path)
    assert placed.shape == (5000, 2)
    assert np.isfinite(placed).all()
    member = np.arange(5000) % 4
    centres = np.stack([placed[member == g].mean(axis=0) for g in range(4)])
    own = np.linalg.norm(placed - centres[member], axis=1).mean()
    others = np.linalg.norm(centres[:, None] - centres[None], axis=2)[np.triu_indices(4, 1)].min()
    assert own < 0.5 * others
    some = np.arange(0, 5000, 5)
    assert trustworthiness(layout.principal(Blocks(), 8)[some], placed[some], n_neighbors=10) > 0.8
    np.testing.assert_array_equal(placed, layout.by_landmarks(None, tmp_path, 15, 0, 500, tmp_path))
