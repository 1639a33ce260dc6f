"""The map: films in two dimensions, near ones near."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import index
from ..index import unit
from ..progress import Progress, part_of, silent
from ..provenance import digest
from ..workspace import Workspace, atomic_write
from .settings import EmbedSettings
from .umap_layout import graph_of
from .umap_layout import lay_out as optimise

#: Fewer films than this are laid out by their two principal components; UMAP needs neighbourhoods.
UMAP_FROM = 16
#: With more films than this, `auto` lays out landmarks.
AUTO_LANDMARK = 100_000
#: Principal components that the layout of many films works on.
COMPONENTS = 50
#: Landmarks that place a film.
NEAREST = 8
BLOCK = 8192


def draw(
    workspace: Workspace,
    folder: Path,
    label: str,
    described: dict[str, Any],
    settings: EmbedSettings,
    progress: Progress,
) -> int:
    """Lay the films out and publish the table `map`, unless this very map is published. Returns: films on it.

    What is finished of a long layout lies in <folder>/map-<version>/ until the map is published.
    """
    films = int(described["films"])
    mode = mode_of(settings.map_mode, films)
    how = [settings.neighbours, settings.seed, mode, *([settings.landmarks] if mode == "landmark" else [])]
    version = digest(folder.name, described["rows"], how)
    if not workspace.has_part("map", "map", version):
        ids, _ = index.read_embeddings(workspace, folder)
        progress(0, 1000, "drawing the map (its first use compiles for up to a minute)")
        work = folder / f"map-{version}"
        work.mkdir(exist_ok=True)
        if mode == "landmark":
            points = by_landmarks(
                workspace, folder, settings.neighbours, settings.seed, settings.landmarks, work, progress
            )
        else:
            points = lay_out(workspace, folder, settings.neighbours, settings.seed, work, progress)
        frame = pd.DataFrame({"dicom_id": ids, "x": points[:, 0], "y": points[:, 1], "backbone": label})
        workspace.write_part("map", "map", frame, version)
        shutil.rmtree(work)
    workspace.publish("map", version)
    return films


def mode_of(asked: str, films: int) -> str:
    """ "umap" or "landmark": what `auto` means for so many films."""
    return ("landmark" if films > AUTO_LANDMARK else "umap") if asked == "auto" else asked


def lay_out(
    workspace: Workspace, folder: Path, neighbours: int, seed: int, work: Path | None = None,
    progress: Progress = silent,
) -> np.ndarray:  # fmt: skip
    """float64 (N, 2): UMAP (McInnes et al. 2018, arXiv 1802.03426) on FAISS neighbours, started from PCA.

    Fewer than UMAP_FROM films lie at their first two principal components. Up to FLAT_BELOW films the neighbours are
    the index's; beyond, those among the first COMPONENTS principal components, which cost a twentieth of the time.

    Args:
        work: a folder for what is finished: neighbours and the layout's checkpoint. A later call goes on from there.
    """
    _, array = index.read_embeddings(workspace, folder)
    parts = principal(array, COMPONENTS)
    if len(array) < UMAP_FROM:
        return parts[:, :2].astype(np.float64)
    k = min(neighbours, len(array) - 1)

    def found() -> tuple[np.ndarray, np.ndarray]:
        if len(array) <= index.FLAT_BELOW:
            return _neighbours(workspace, folder, array, k)
        return component_neighbours(parts, k, seed, part_of(progress, 0.0, 0.4))

    near, distance = _kept(work, found)
    graph = graph_of(near, distance, seed)
    checkpoint = None if work is None else work / "layout.npz"
    points = optimise(graph, parts[:, :2], seed, checkpoint, part_of(progress, 0.4, 1.0))
    return points.astype(np.float64)


def by_landmarks(
    workspace: Workspace, folder: Path, neighbours: int, seed: int, landmarks: int, work: Path | None = None,
    progress: Progress = silent,
) -> np.ndarray:  # fmt: skip
    """float64 (N, 2): UMAP of a seeded sample of films, every other film between the landmarks that are most like it.

    A film lies at the mean of its NEAREST landmarks, weighed by exp(−(d − d₁) / mean(d − d₁)) for distances d in the
    space of principal components. A landmark map shows the same groups; fine structure inside them is smoother.
    """
    import faiss

    _, array = index.read_embeddings(workspace, folder)
    parts = principal(array, COMPONENTS)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(parts))[: max(landmarks, UMAP_FROM)])
    own = np.ascontiguousarray(parts[chosen])
    k = min(neighbours, len(own) - 1)
    near, distance = _kept(work, lambda: component_neighbours(own, k, seed, part_of(progress, 0.0, 0.3)))
    checkpoint = None if work is None else work / "layout.npz"
    placed = optimise(graph_of(near, distance, seed), own[:, :2], seed, checkpoint, part_of(progress, 0.3, 0.7))
    flat = faiss.IndexFlatL2(own.shape[1])
    flat.add(own)
    points = np.empty((len(parts), 2))
    for start in range(0, len(parts), BLOCK):
        progress(700 + 300 * start // len(parts), 1000, "placing films between the landmarks")
        squared, rows = flat.search(np.ascontiguousarray(parts[start : start + BLOCK]), min(NEAREST, len(own)))
        apart = np.sqrt(np.maximum(squared, 0))
        apart -= apart[:, :1]
        weight = np.exp(-apart / np.maximum(apart.mean(axis=1, keepdims=True), 1e-12))
        weight /= weight.sum(axis=1, keepdims=True)
        points[start : start + BLOCK] = np.einsum("nk,nkd->nd", weight, placed[rows])
    points[chosen] = placed
    return points


def _kept(work: Path | None, make: Callable[[], tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """(neighbours, distances) of a file in `work`, made and written there when it is not there yet."""
    path = None if work is None else work / "neighbours.npz"
    if path is not None and path.is_file():
        with np.load(path, allow_pickle=False) as file:
            return file["near"], file["distance"]
    near, distance = make()
    if path is not None:
        with atomic_write(path) as stream:
            np.savez(stream, near=near, distance=distance)
    return near, distance


def component_neighbours(
    parts: np.ndarray, k: int, seed: int, progress: Progress = silent
) -> tuple[np.ndarray, np.ndarray]:
    """(rows (N, k), distances (N, k) float32) by FAISS: each point itself, then its k − 1 nearest others.

    Exact up to FLAT_BELOW points; beyond, an inverted file whose probes are raised until 95 % of the true neighbours of
    a seeded sample are found.
    """
    import faiss

    parts = np.ascontiguousarray(parts, dtype=np.float32)
    n, dim = parts.shape
    rng = np.random.default_rng(seed)
    finder: Any = faiss.IndexFlatL2(dim)
    finder.add(parts)
    if n > index.FLAT_BELOW:
        asked = np.sort(rng.choice(n, 256, replace=False))
        _, truth = finder.search(parts[asked], k)
        lists = int(2 ** round(np.log2(np.sqrt(n))))
        finder = faiss.IndexIVFFlat(faiss.IndexFlatL2(dim), dim, lists)
        finder.train(parts[np.sort(rng.choice(n, min(n, 64 * lists), replace=False))])
        finder.add(parts)
        finder.nprobe = 4
        while finder.nprobe < lists:
            _, found = finder.search(parts[asked], k)
            share = np.mean([len(set(a) & set(b)) / k for a, b in zip(found.tolist(), truth.tolist(), strict=True)])
            if share >= index.RECALL:
                break
            finder.nprobe *= 2
    near = np.empty((n, k), np.int64)
    distance = np.zeros((n, k), np.float32)
    for start in range(0, n, BLOCK):
        progress(start, n, "looking for neighbours")
        squared, rows = finder.search(parts[start : start + BLOCK], k + 1)
        near[start : start + BLOCK], distance[start : start + BLOCK] = _without_self(
            np.arange(start, start + len(rows)), rows, np.sqrt(np.maximum(squared, 0)), k
        )
    return near, distance


def _neighbours(workspace: Workspace, folder: Path, array: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows (N, k), cosine distances (N, k)): each film itself, then its k − 1 nearest others."""
    near = np.empty((len(array), k), np.int64)
    distance = np.zeros((len(array), k), np.float32)
    for start, block in array.blocks():
        similarity, rows = index.search(workspace, block, k + 1, folder)
        stop = start + len(block)
        near[start:stop], distance[start:stop] = _without_self(
            np.arange(start, stop), rows, np.maximum(0, 1 - similarity), k
        )
    return near, distance


def _without_self(own: np.ndarray, rows: np.ndarray, distance: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours with the point itself first, at distance 0, then k − 1 others.

    own: (n,) each point's row. rows, distance: (n, k + 1), nearest first, −1 where an inverted file found too few: the
    last one found then stands for the missing. Twins may come before the point itself, or push it out of the list.
    """
    other = (rows != own[:, None]) & (rows >= 0)
    order = np.argsort(~other, axis=1, kind="stable")[:, : k - 1]
    near, apart = np.take_along_axis(rows, order, 1), np.take_along_axis(distance, order, 1)
    there = other.sum(axis=1)
    last = np.minimum(np.arange(k - 1)[None, :], np.maximum(there[:, None] - 1, 0))
    near, apart = np.take_along_axis(near, last, 1), np.take_along_axis(apart, last, 1)
    none = there == 0
    near[none], apart[none] = own[none, None], 0
    return (
        np.concatenate([own[:, None], near], axis=1),
        np.concatenate([np.zeros((len(own), 1), np.float32), apart.astype(np.float32)], axis=1),
    )


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
