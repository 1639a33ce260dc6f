"""Decoded films at a square size, kept in the workspace and read by memory map.

    cache/films-<size>/<shard>.npy     uint8 (n, size, size)
    cache/films-<size>/<shard>.json    {"ids", "keys", "failed"}: written last, so a shard without it does not count

A shard is named by the hash of its films' keys (id, path, time and size of the file). A later call decodes only films
that no shard holds, so the cache resumes after a kill, and a film whose file has changed is decoded anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .engines.local import map_shards
from .errors import DataError, FilmError, ResourceError
from .imaging import decode, square
from .progress import Progress, silent
from .provenance import digest
from .workspace import Workspace, atomic_write, write_json

FILMS_PER_SHARD = 512
OPEN_SHARDS = 64


class FilmCache:
    """Films by id. `ids`: those that can be read, in the order asked for; `failed`: id → why it cannot be decoded."""

    def __init__(self, folder: Path, size: int, where: dict[str, tuple[str, int]], failed: dict[str, str]) -> None:
        self.folder = folder
        self.size = size
        self.ids = list(where)
        self.failed = failed
        self._where = where
        self._open: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, dicom_id: str) -> bool:
        return dicom_id in self._where

    def __getstate__(self) -> dict[str, Any]:
        # a pickled memory map would carry its films; another process maps them again
        return {**self.__dict__, "_open": {}}

    def _shard(self, name: str) -> np.ndarray:
        shard = self._open.get(name)  # one look-up: another thread may close it in between
        if shard is None:
            shard = np.load(self.folder / f"{name}.npy", mmap_mode="r")
            if len(self._open) >= OPEN_SHARDS:  # each map holds a file descriptor
                self._open.pop(next(iter(list(self._open))), None)
            self._open[name] = shard
        return shard

    def images(self, ids: Sequence[str]) -> np.ndarray:
        """uint8 (N, size, size), a writable copy, in the order of `ids`.

        Raises: DataError for an id that the cache does not hold, with the reason where decoding failed.
        """
        films = np.empty((len(ids), self.size, self.size), np.uint8)
        for n, dicom_id in enumerate(ids):
            if dicom_id not in self._where:
                reason = self.failed.get(dicom_id, "it was not asked for when the cache was made")
                raise DataError(f"The film {dicom_id!r} is not in the cache: {reason}.", "Use the ids in `.ids`.")
            shard, row = self._where[dicom_id]
            films[n] = self._shard(shard)[row]
        return films


@dataclass(frozen=True)
class _Shard:
    name: str
    ids: tuple[str, ...]
    keys: tuple[str, ...]
    paths: tuple[str, ...]


def film_cache(
    workspace: Workspace,
    size: int,
    dicom_ids: Sequence[str] | None = None,
    progress: Progress = silent,
    workers: int | None = None,
    paths: Mapping[str, Path | str] | None = None,
) -> FilmCache:
    """The cache of the films asked for, decoding those that are not there yet.

    Args:
        size: side of the square, pixels.
        dicom_ids: default: all films of the table `films` that are on disk (or all of `paths`).
        paths: id → file, instead of the table (synthetic films).

    A film that cannot be decoded is left out and listed in `.failed`.
    Raises: ResourceError when the disk has no room for the films that are missing.
    """
    files = _files(workspace, dicom_ids, paths)
    folder = workspace.folder("cache", f"films-{size}")
    keys: dict[str, str] = {}
    failed: dict[str, str] = {}
    for dicom_id, path in files.items():
        try:
            if path is None:
                raise FileNotFoundError
            stat = os.stat(path)
            keys[dicom_id] = digest(dicom_id, path, stat.st_mtime_ns, stat.st_size)
        except OSError:
            failed[dicom_id] = "missing"
    where, known_failures = _index(folder)
    todo = [i for i, key in keys.items() if key not in where and key not in known_failures]
    if len(todo) * size * size > workspace.free_bytes():
        raise ResourceError(
            f"{len(todo):,} films at {size} pixels need {len(todo) * size * size / 2**30:.1f} GiB on the disk that "
            f"holds {workspace.path}; {workspace.free_bytes() / 2**30:.1f} GiB are free.",
            "Free some space, or put the workspace on a larger disk.",
        )
    shards = []
    for start in range(0, len(todo), FILMS_PER_SHARD):
        ids = tuple(todo[start : start + FILMS_PER_SHARD])
        its_keys = tuple(keys[i] for i in ids)
        shards.append(_Shard(digest(*its_keys), ids, its_keys, tuple(str(files[i]) for i in ids)))
    for _ in map_shards(partial(_Decoder, folder, size), shards, workers, progress, "decoding films"):
        pass
    if shards:
        where, known_failures = _index(folder)
    failed |= {i: known_failures[key] for i, key in keys.items() if key in known_failures}
    return FilmCache(folder, size, {i: where[key] for i, key in keys.items() if key in where}, failed)


def _files(
    workspace: Workspace, dicom_ids: Sequence[str] | None, paths: Mapping[str, Path | str] | None
) -> dict[str, str | None]:
    """id → path, None where the film is not on disk. Raises: DataError for an id that nobody knows."""
    if paths is not None:
        known: dict[str, str | None] = {i: str(path) for i, path in paths.items()}
    else:
        workspace.need("films", "ingest")
        films = workspace.read("films", ["dicom_id", "path", "on_disk"])
        if dicom_ids is None:
            films = films[films["on_disk"]]
        known = {
            i: path if there else None for i, path, there in zip(films["dicom_id"], films["path"], films["on_disk"])
        }
    if dicom_ids is None:
        return known
    unknown = next((i for i in dicom_ids if i not in known), None)
    if unknown is not None:
        raise DataError(f"There is no film {unknown!r} in this workspace.", "Use dicom_ids of the table films.")
    return {i: known[i] for i in dicom_ids}


def _index(folder: Path) -> tuple[dict[str, tuple[str, int]], dict[str, str]]:
    """(key → (shard, row), key → why it failed) over the finished shards of a folder."""
    where: dict[str, tuple[str, int]] = {}
    failed: dict[str, str] = {}
    for path in sorted(folder.glob("*.json")):
        listing = json.loads(path.read_text(encoding="utf-8"))
        where |= {key: (path.stem, row) for row, key in enumerate(listing["keys"])}
        failed |= listing["failed"]
    return where, failed


class _Decoder:
    """The actor: decodes one shard's films and writes its two files."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size

    def __call__(self, shard: _Shard) -> str:
        films: list[np.ndarray] = []
        kept: list[int] = []
        failed: dict[str, str] = {}
        for n, path in enumerate(shard.paths):
            try:
                films.append(square(decode(path, at_least=self.size), self.size))
                kept.append(n)
            except FilmError as error:
                failed[shard.keys[n]] = error.reason
        array = np.stack(films) if films else np.empty((0, self.size, self.size), np.uint8)
        with atomic_write(self.folder / f"{shard.name}.npy") as stream:
            np.save(stream, array)
        listing = {"ids": [shard.ids[n] for n in kept], "keys": [shard.keys[n] for n in kept], "failed": failed}
        write_json(self.folder / f"{shard.name}.json", listing)
        return shard.name
