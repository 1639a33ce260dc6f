"""The reference of feature space: the real train films, how far each reaches, frozen on disk.

    space/<key>/info.json             what the radii are of: encoder, films, k, whose films count, search and recall
    space/<key>/radii-<n>.parquet     one shard of train films: dicom_id, nearest_dicom_id, distance, radius, neighbours

The key is the hash of the vectors, the patients, k, whose films count, and the search. Synthetic films are in none of
these, so adding them leaves the radii as they are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ... import index
from ...errors import DataError
from ...progress import Progress, part_of
from ...provenance import digest
from ...vectors import Exact, Inverted, knn
from ...workspace import Workspace, atomic_write, write_json
from .settings import SpaceSettings

#: Train films whose neighbours one part holds; a killed run goes on at the part where it stopped.
FILMS_PER_SHARD = 16_384


class Normalised:
    """Some rows of stored vectors, brought to length 1 as they are read: float32 (N, D)."""

    def __init__(self, array: Any, rows: np.ndarray) -> None:
        self.array, self.rows = array, rows
        self.shape = (len(rows), array.shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return index.unit(self.array[self.rows[rows]])


@dataclass(frozen=True)
class Films:
    """Films that have a vector: frame (dicom_id, subject_id, split, …), and their vectors in the same order."""

    frame: pd.DataFrame
    vectors: Normalised

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def ids(self) -> np.ndarray:
        return self.frame["dicom_id"].to_numpy(object)

    @property
    def patients(self) -> np.ndarray:
        return self.frame["subject_id"].to_numpy(object)

    @property
    def hash(self) -> str:
        """Which vectors of whom. A shard's name is the hash of its films and encoder, so it stands for contents."""
        array, rows = self.vectors.array, self.vectors.rows
        where = [array.names[n] for n in array.shard[rows]]
        return digest(list(self.ids), list(self.patients), where, [int(r) for r in array.row[rows]])

    def take(self, chosen: np.ndarray) -> Films:
        """Those of a bool mask or of row numbers."""
        return Films(
            self.frame.loc[chosen].reset_index(drop=True) if chosen.dtype == bool else self.frame.iloc[chosen],
            Normalised(self.vectors.array, self.vectors.rows[chosen]),
        )


@dataclass(frozen=True)
class Reference:
    """Train films with radii (N,) float64, nearest (N,) and distance (N,): the nearest film that may count, and
    chosen_by (N,): how many train films have it among their k nearest. recall: of the search, 1 for exact."""

    key: str
    films: Films
    radii: np.ndarray
    nearest: np.ndarray
    distance: np.ndarray
    chosen_by: np.ndarray
    search: dict[str, Any]


def embedded(workspace: Workspace, frame: pd.DataFrame) -> Films:
    """The films of a frame that have a vector, in the order of their ids.

    Raises: WorkspaceError when no films have been embedded.
    """
    ids, array = index.read_embeddings(workspace)
    row = pd.Series(np.arange(len(ids)), index=ids)
    kept = frame[frame["dicom_id"].isin(row.index)].sort_values("dicom_id", ignore_index=True)
    return Films(kept, Normalised(array, row[kept["dicom_id"].to_numpy(object)].to_numpy(np.int64)))


def may_be_reference(frame: pd.DataFrame) -> np.ndarray:
    """(films,) bool: real train films of patients who have no validation or test film."""
    held_out = frame.loc[frame["split"].isin(["validate", "test"]), "subject_id"].unique()
    train = (frame["split"] == "train") & (frame["origin"] == "real")
    return (train & ~frame["subject_id"].isin(held_out)).to_numpy()


def key_of(films: Films, settings: SpaceSettings, encoder: str) -> str:
    """The name of the radii of these films under these settings."""
    looked = [settings.search, settings.recall, settings.seed] if settings.search == "ivf" else settings.search
    return digest(encoder, films.hash, settings.k, settings.neighbours, looked)


def reference(workspace: Workspace, films: Films, settings: SpaceSettings, progress: Progress) -> Reference:
    """The radii of these train films: read where they are on disk, else found, shard by shard.

    Raises: DataError when a film has fewer than k neighbours that may count.
    """
    strangers = settings.neighbours == "other-patients"
    units = len(set(films.patients)) if strangers else len(films)
    if units <= settings.k:
        who = "patients" if strangers else "films"
        raise DataError(
            f"A radius needs {settings.k} other train {who}, and the train split has {units} with a vector.",
            "Lower --k, or embed more train films.",
        )
    encoder = str(index.info(workspace)["key"])
    key = key_of(films, settings, encoder)
    folder = workspace.folder("space", key)
    starts = range(0, len(films), FILMS_PER_SHARD)
    parts = [folder / f"radii-{n:05d}.parquet" for n in range(len(starts))]
    search, described = None, _described(folder)
    for n, start in enumerate(starts):
        if parts[n].exists():
            continue
        if search is None:
            progress(n, len(parts), "indexing the train films")
            search = _search(films, settings)
            # seeded, so a run that goes on after a kill searches in the same way
            described = {"search": settings.search, "recall": getattr(search, "recall", 1.0)}
            made_of = {"encoder": encoder, "films": len(films), "vectors": films.hash, "k": settings.k}
            write_json(folder / "info.json", {**described, **made_of, "neighbours": settings.neighbours})
        rows = np.arange(start, min(start + FILMS_PER_SHARD, len(films)))
        groups = films.patients.astype(str) if strangers else None
        share = part_of(progress, n / len(parts), (n + 1) / len(parts))
        near, distance = knn(films.vectors, settings.k, groups, rows, search, share)
        if settings.search == "ivf" and (lost := (near < 0).any(axis=1)).any():
            # lists that held too few neighbours: those films are compared with all
            near[lost], distance[lost] = knn(films.vectors, settings.k, groups, rows[lost])
        _write(parts[n], films.ids[rows], near, distance)
    return _read(key, films, parts, settings.k, described)


def _search(films: Films, settings: SpaceSettings) -> Exact | Inverted:
    if settings.search == "ivf":
        return Inverted(films.vectors, settings.recall, settings.k, settings.seed)
    return Exact(films.vectors)


def _described(folder: Path) -> dict[str, Any]:
    try:
        known = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {name: known[name] for name in ("search", "recall")}


def _write(path: Path, ids: np.ndarray, near: np.ndarray, distance: np.ndarray) -> None:
    frame = pd.DataFrame(
        {"dicom_id": ids, "nearest": near[:, 0], "distance": distance[:, 0], "radius": distance[:, -1]}
    )
    frame["neighbours"] = list(near.astype(np.int32))
    with atomic_write(path) as stream:
        frame.to_parquet(stream, index=False)


def _read(key: str, films: Films, parts: list[Path], k: int, search: dict[str, Any]) -> Reference:
    frame = pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)
    near = np.stack(frame["neighbours"].to_numpy()).astype(np.int64)
    chosen_by = np.bincount(near.ravel(), minlength=len(films))
    return Reference(
        key, films, frame["radius"].to_numpy(), frame["nearest"].to_numpy(), frame["distance"].to_numpy(), chosen_by,
        search,
    )  # fmt: skip
