"""The map: films in two dimensions, near ones near."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import index
from ..index import unit
from ..progress import Progress
from ..provenance import digest
from ..workspace import Workspace
from .settings import EmbedSettings

#: Fewer films than this are laid out by their two principal components; UMAP needs neighbourhoods.
UMAP_FROM = 16


def draw(
    workspace: Workspace,
    folder: Path,
    label: str,
    described: dict[str, Any],
    settings: EmbedSettings,
    progress: Progress,
) -> int:
    """Lay the films out and publish the table `map`, unless this very map is published. Returns: films on it."""
    version = digest(folder.name, described["rows"], settings.neighbours, settings.seed)
    if not workspace.has_part("map", "map", version):
        ids, _ = index.read_embeddings(workspace, folder)
        progress(0, 1, "drawing the map (its first use compiles for up to a minute)")
        points = lay_out(workspace, folder, settings.neighbours, settings.seed)
        frame = pd.DataFrame({"dicom_id": ids, "x": points[:, 0], "y": points[:, 1], "backbone": label})
        workspace.write_part("map", "map", frame, version)
    workspace.publish("map", version)
    return int(described["films"])


def lay_out(workspace: Workspace, folder: Path, neighbours: int, seed: int) -> np.ndarray:
    """float64 (N, 2): UMAP (McInnes et al. 2018, arXiv 1802.03426) on the index's neighbours, started from PCA.

    Fewer than UMAP_FROM films lie at their first two principal components.
    """
    _, array = index.read_embeddings(workspace, folder)
    parts = principal(array, 50)
    if len(array) < UMAP_FROM:
        return parts[:, :2].astype(np.float64)
    k = min(neighbours, len(array) - 1)
    near, distance = _neighbours(workspace, folder, array, k)
    import umap

    with warnings.catch_warnings():
        # true, and meant: nothing is ever projected onto a finished map
        warnings.filterwarnings("ignore", message=".*transforming new data with transform will be unavailable.*")
        layout = umap.UMAP(
            n_neighbors=k, precomputed_knn=(near, distance), init=parts[:, :2].astype(np.float32), random_state=seed,
            n_jobs=1, n_epochs=200,
        )  # fmt: skip
        return layout.fit_transform(parts).astype(np.float64)


def _neighbours(workspace: Workspace, folder: Path, array: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows (N, k), cosine distances (N, k)): each film itself, then its k - 1 nearest others."""
    near = np.empty((len(array), k), np.int64)
    distance = np.zeros((len(array), k), np.float32)
    for start, block in array.blocks():
        similarity, rows = index.search(workspace, block, k + 1, folder)
        for n in range(len(block)):
            me = start + n
            keep = np.flatnonzero((rows[n] != me) & (rows[n] >= 0))[: k - 1]
            # an inverted file may find fewer than asked for: the last one found stands for the missing
            keep = np.pad(keep, (0, k - 1 - len(keep)), mode="edge") if len(keep) else np.zeros(k - 1, np.int64)
            near[me] = [me, *rows[n][keep]]
            distance[me, 1:] = np.maximum(0, 1 - similarity[n][keep])
    return near, distance


def principal(array: Any, most: int) -> np.ndarray:
    """float32 (N, min(most, dim)), at least two columns: the principal components of the vectors at length 1.

    Covariance is summed block by block, so no more than one block of float32 vectors is in memory.
    """
    dim = array.shape[1]
    total, products = np.zeros(dim), np.zeros((dim, dim))
    for _, block in array.blocks():
        values = unit(block)
        total += values.sum(axis=0, dtype=np.float64)
        products += values.T @ values
    mean = total / len(array)
    _, vectors = np.linalg.eigh(products / len(array) - np.outer(mean, mean))
    axes = vectors[:, ::-1][:, :most]
    # an eigenvector's sign is arbitrary: its largest entry is made positive, so that maps do not flip between machines
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    parts = np.concatenate([(unit(block) - mean) @ axes for _, block in array.blocks()])
    return np.pad(parts, ((0, 0), (0, max(0, 2 - parts.shape[1])))).astype(np.float32)
