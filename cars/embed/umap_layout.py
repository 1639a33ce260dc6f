"""UMAP's layout with checkpoints: a map of 377,110 films takes minutes, and a killed run goes on to the same points.

umap-learn builds the graph (McInnes et al. 2018, arXiv 1802.03426) and moves the points; its own loop over the epochs
is written out here, so that the state between two epochs can be saved. `tests/embed/test_umap_layout.py` holds it
against umap-learn's own result, point for point, and fails when a new version changes what happens inside.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..progress import Progress, silent
from ..workspace import atomic_write

EPOCHS = 200
#: UMAP's defaults: learning rate, repulsion, and random others that push a point away for each that pulls it.
RATE, REPULSION, NEGATIVES = 1.0, 1.0, 5
CHECKPOINT_SECONDS = 60.0
#: Names of the saved arrays.
STATE = ("points", "random", "next_sample", "next_negative")


@dataclass
class Layout:
    """A layout on its way.

    points: (N, 2) float32. random: (N, 3) int64, the state of each point's random numbers. next_sample, next_negative:
    (edges,) the epoch at which an edge is used next. epoch: how many epochs are done.
    """

    points: np.ndarray
    random: np.ndarray
    next_sample: np.ndarray
    next_negative: np.ndarray
    epoch: int = 0


def graph_of(near: np.ndarray, distance: np.ndarray, seed: int) -> Any:
    """The fuzzy graph of neighbours as a scipy COO matrix, without edges too weak to be used once in EPOCHS.

    Args:
        near: (N, k) int, each point itself first. distance: (N, k) float, ascending.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*using precomputed.*")
        from umap.umap_ import fuzzy_simplicial_set
    graph, _, _ = fuzzy_simplicial_set(
        np.empty((len(near), 1), np.float32), near.shape[1], np.random.RandomState(seed), "euclidean",
        knn_indices=near, knn_dists=distance.astype(np.float32),
    )  # fmt: skip
    graph = graph.tocoo()
    graph.sum_duplicates()
    graph.data[graph.data < graph.data.max() / EPOCHS] = 0.0
    graph.eliminate_zeros()
    return graph


def lay_out(
    graph: Any, start: np.ndarray, seed: int, checkpoint: Path | None = None, progress: Progress = silent
) -> np.ndarray:
    """Move the points of a graph until films that are neighbours lie near each other.

    Args:
        graph: as `graph_of` gives it. start: (N, 2), where the points begin, for example principal components.
        checkpoint: a file that is written every minute and at a stop, and read when it is there.

    Returns: (N, 2) float32, the same for the same input and machine, however often the run was interrupted.
    """
    from umap.layouts import _get_optimize_layout_euclidean_single_epoch_fn
    from umap.umap_ import find_ab_params, make_epochs_per_sample

    a, b = find_ab_params(1.0, 0.1)
    each = make_epochs_per_sample(graph.data, EPOCHS)
    negative = each / NEGATIVES
    state = _restored(checkpoint) or _begun(graph, start, seed, each, negative)
    one_epoch = _get_optimize_layout_euclidean_single_epoch_fn(False)
    nothing = np.zeros(1, np.float32)  # the arrays of UMAP's density variant, which is not used
    saved = time.monotonic()
    try:
        while state.epoch < EPOCHS:
            progress(state.epoch, EPOCHS, "drawing the map")
            n = state.epoch
            rate = RATE if n == 0 else RATE * (1.0 - (n - 1) / EPOCHS)
            one_epoch(
                state.points, state.points, graph.row, graph.col, graph.shape[0], each, a, b, state.random, REPULSION,
                2, True, rate, negative, state.next_negative, state.next_sample, n, False, nothing, nothing,
                0, 0, 0, 0, nothing, nothing, 0,
            )  # fmt: skip
            state.epoch += 1
            if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save(state, checkpoint)
                saved = time.monotonic()
    except BaseException:
        # cancelled between two epochs: nothing is half done
        if checkpoint is not None:
            _save(state, checkpoint)
        raise
    progress(EPOCHS, EPOCHS, "drawing the map")
    return state.points


def _begun(graph: Any, start: np.ndarray, seed: int, each: np.ndarray, negative: np.ndarray) -> Layout:
    """The state before the first epoch, as umap-learn makes it."""
    from umap.umap_ import INT32_MAX, INT32_MIN

    random = np.random.RandomState(seed)
    start = np.asarray(start, np.float32)
    if len(np.unique(start, axis=0)) < len(start):  # points on one spot would never part
        start = start + random.normal(scale=1e-3 * max(float(start.std()), 1e-6), size=start.shape).astype(np.float32)
    spread = np.maximum(start.max(axis=0) - start.min(axis=0), 1e-12)
    points = (10.0 * (start - start.min(axis=0)) / spread).astype(np.float32, order="C")
    state = random.randint(INT32_MIN, INT32_MAX, 3).astype(np.int64)
    own = np.full((len(points), 3), state, np.int64) + points[:, 0].astype(np.float64).view(np.int64).reshape(-1, 1)
    return Layout(points, own, each.copy(), negative.copy())


def _save(state: Layout, path: Path) -> None:
    with atomic_write(path) as stream:
        np.savez(stream, epoch=state.epoch, **{name: getattr(state, name) for name in STATE})


def _restored(path: Path | None) -> Layout | None:
    if path is None or not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        return Layout(**{name: file[name] for name in STATE}, epoch=int(file["epoch"]))
