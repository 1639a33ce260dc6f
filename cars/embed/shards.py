"""From films to shards of vectors: decode ahead in worker processes, run the network here, write each shard once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..engines.local import default_workers, map_shards
from ..errors import DataError, FilmError, ResourceError
from ..imaging import decode, square
from ..progress import Progress
from ..provenance import digest
from ..workspace import Workspace, atomic_write
from .settings import EmbedSettings

FILMS_PER_SHARD = 256
#: Fewer films than this are decoded in this process: starting workers would take longer.
ALONE_BELOW = 64


def vectors(
    workspace: Workspace, folder: Path, backbone: Any, settings: EmbedSettings, progress: Progress
) -> tuple[pd.DataFrame, dict[str, str], int]:
    """Embed the films that no shard holds. Returns: (dicom_id, shard, row of all), id → why it failed, how many now."""
    films = workspace.query("embed/films")
    keys, failed = _film_keys(films)
    known = _listing(folder)
    path_of = dict(zip(films["dicom_id"], films["path"]))
    todo = [i for i, film_key in keys.items() if film_key not in known]
    if len(todo) * backbone.dim * 2 > workspace.free_bytes():
        raise ResourceError(
            f"The vectors of {len(todo):,} films need {len(todo) * backbone.dim * 2 / 2**30:.1f} GiB; the disk that "
            f"holds {workspace.path} has {workspace.free_bytes() / 2**30:.1f} GiB free.",
            "Free some space and run the same command again.",
        )
    shards = []
    for start in range(0, len(todo), FILMS_PER_SHARD):
        ids = todo[start : start + FILMS_PER_SHARD]
        shards.append((digest(folder.name, *(keys[i] for i in ids)), ids))
    progress(0, len(todo), "embedding")
    for name, ids, values, reasons, done in _embedded(shards, path_of, backbone, settings, progress):
        _write_shard(folder, name, ids, [keys[i] for i in ids], values, reasons)
        progress(done, len(todo), "embedding")
    if todo:
        known = _listing(folder)
    found = [(i, *known[film_key][:2]) for i, film_key in keys.items() if known[film_key][1] >= 0]
    failed |= {i: known[film_key][2] for i, film_key in keys.items() if known[film_key][1] < 0}
    return pd.DataFrame(found, columns=["dicom_id", "shard", "row"]), failed, len(todo)


def _film_keys(films: pd.DataFrame) -> tuple[dict[str, str], dict[str, str]]:
    """(dicom_id → hash of the film's file, dicom_id → why there is none). A file that changes gets another key."""
    keys: dict[str, str] = {}
    failed: dict[str, str] = {}
    for dicom_id, path in zip(films["dicom_id"], films["path"]):
        try:
            stat = os.stat(path)
            keys[dicom_id] = digest(dicom_id, path, stat.st_mtime_ns, stat.st_size)
        except OSError:
            failed[dicom_id] = "missing"
    return keys, failed


def _listing(folder: Path) -> dict[str, tuple[str, int, str]]:
    """film_key → (shard, row, reason) over the finished shards; row -1 where the film failed."""
    known: dict[str, tuple[str, int, str]] = {}
    for path in sorted(folder.glob("*.parquet")):
        if path.stem != "rows":
            part = pd.read_parquet(path)
            known |= {
                film_key: (path.stem, int(row), reason or "")
                for film_key, row, reason in zip(part["film_key"], part["row"], part["reason"])
            }
    return known


class _Decoder:
    """The actor of a worker: (paths) → uint8 (n, size, size) of the films that decode, and a reason for each or ''."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, paths: list[str]) -> tuple[np.ndarray, list[str]]:
        films: list[np.ndarray] = []
        reasons: list[str] = []
        for path in paths:
            try:
                films.append(square(decode(path, at_least=self.size), self.size))
                reasons.append("")
            except FilmError as error:
                reasons.append(error.reason)
        return np.stack(films) if films else np.empty((0, self.size, self.size), np.uint8), reasons


def _embedded(
    shards: list[tuple[str, list[str]]],
    path_of: dict[str, str],
    backbone: Any,
    settings: EmbedSettings,
    progress: Progress,
) -> Iterator[tuple[str, list[str], np.ndarray, list[str], int]]:
    """For each shard in order: (name, ids, float16 vectors of those that decode, a reason for each or '', films done).

    Decoding runs ahead in worker processes, one chunk a batch; the network runs here.
    """
    chunks = [ids[n : n + settings.batch] for _, ids in shards for n in range(0, len(ids), settings.batch)]
    total = sum(len(ids) for _, ids in shards)
    if not chunks:
        return
    backbone.load(settings.device)
    workers = settings.workers or (1 if total < ALONE_BELOW else default_workers())
    decoded = map_shards(partial(_Decoder, backbone.size), [[path_of[i] for i in c] for c in chunks], workers)
    done = 0
    # closed however this ends, so that a cancelled run leaves no worker behind
    with contextlib.closing(decoded):
        for name, ids in shards:
            values: list[np.ndarray] = [np.empty((0, backbone.dim), np.float16)]
            reasons: list[str] = []
            while len(reasons) < len(ids):
                films, why = next(decoded)
                values.append(_half(backbone.embed(films), backbone))
                reasons += why
                done += len(why)
                progress(done, total, "embedding")
            yield name, ids, np.concatenate(values), reasons, done


def _half(values: np.ndarray, backbone: Any) -> np.ndarray:
    """float32 → float16, the stored precision. Raises: DataError when a value does not fit or is not a number."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise DataError(
            f"{backbone.label} gave a feature that is not a number or beyond ±65,504.", "Check the weights and size."
        )
    return half


def _write_shard(
    folder: Path, name: str, ids: list[str], keys: list[str], values: np.ndarray, reasons: list[str]
) -> None:
    """The vectors, then their listing: a shard without its listing does not count and is written again."""
    good = np.array([not reason for reason in reasons])
    row = np.where(good, np.cumsum(good) - 1, -1).astype(np.int32)
    with atomic_write(folder / f"{name}.npy") as stream:
        np.save(stream, values)
    listing = pd.DataFrame({"dicom_id": ids, "film_key": keys, "row": row, "reason": reasons})
    with atomic_write(folder / f"{name}.parquet") as stream:
        listing.to_parquet(stream, index=False)


def publish_rows(folder: Path, rows: pd.DataFrame) -> None:
    """rows.parquet: what counts from now on; left alone when nothing changed."""
    path = folder / "rows.parquet"
    if path.exists() and pd.read_parquet(path).equals(rows):
        return
    with atomic_write(path) as stream:
        rows.to_parquet(stream, index=False)
