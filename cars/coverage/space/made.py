"""Vectors of the accepted synthetic films, made by the encoder of the real ones and kept beside the radii.

space/edits-<encoder>/<shard>.npy        float16 (n, dim)
space/edits-<encoder>/<shard>.parquet    dicom_id (the edit's id), row (-1: could not be read), reason; written last
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ... import index
from ...errors import FilmError
from ...imaging import decode, square
from ...progress import Progress
from ...provenance import digest
from ...workspace import Workspace, atomic_write
from .reference import Films, Normalised

EDITS_PER_SHARD = 64


def synthetic_films(workspace: Workspace, frame: pd.DataFrame, device: str, progress: Progress) -> Films:
    """The accepted edits that can be read, with vectors; those that no shard holds are embedded first.

    frame: the films of `load_rows` whose origin is not real; subject_id is the source's.

    Raises: DataError when the encoder has changed since the films were embedded.
    """
    folder = workspace.folder("space", f"edits-{index.info(workspace)['key']}")
    paths = workspace.query("coverage/space_edits")
    where = dict(zip(paths["dicom_id"], paths["path"]))
    wanted = frame[frame["dicom_id"].isin(list(where))].sort_values("dicom_id", ignore_index=True)
    todo = [i for i in wanted["dicom_id"] if i not in _listing(folder)]
    encoder = index.encoder(workspace, device) if todo else None
    for start in range(0, len(todo), EDITS_PER_SHARD):
        ids = todo[start : start + EDITS_PER_SHARD]
        _embed(folder, ids, [workspace.path / where[i] for i in ids], encoder)
        progress(start + len(ids), len(todo), "embedding synthetic films")
    known = _listing(folder)
    wanted = wanted[[known[i][1] >= 0 for i in wanted["dicom_id"]]].reset_index(drop=True)
    shard, names = pd.factorize(np.array([known[i][0] for i in wanted["dicom_id"]], object))
    rows = np.array([known[i][1] for i in wanted["dicom_id"]], np.int64)
    array = index.ShardedArray(folder, names, shard, rows, int(index.info(workspace)["dim"]))
    return Films(wanted, Normalised(array, np.arange(len(wanted))))


def _embed(folder: Path, ids: list[str], paths: list[Path], encoder: object) -> None:
    films, reasons = [], []
    for path in paths:
        try:
            films.append(square(decode(path, at_least=encoder.size), encoder.size))
            reasons.append("")
        except FilmError as error:
            reasons.append(error.reason)
    good = np.array([not reason for reason in reasons])
    dim = encoder.dim
    vectors = encoder.embed(np.stack(films)) if films else np.empty((0, dim), np.float32)
    name = digest(folder.name, *ids)
    with atomic_write(folder / f"{name}.npy") as stream:
        np.save(stream, vectors.astype(np.float16))
    row = np.where(good, np.cumsum(good) - 1, -1).astype(np.int32)
    with atomic_write(folder / f"{name}.parquet") as stream:
        pd.DataFrame({"dicom_id": ids, "row": row, "reason": reasons}).to_parquet(stream, index=False)


def _listing(folder: Path) -> dict[str, tuple[str, int]]:
    """edit → (shard, row) over the finished shards."""
    found: dict[str, tuple[str, int]] = {}
    for path in sorted(folder.glob("*.parquet")):
        part = pd.read_parquet(path)
        found |= {i: (path.stem, int(row)) for i, row in zip(part["dicom_id"], part["row"])}
    return found
