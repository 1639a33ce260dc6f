"""The films' vectors on disk, and search among them.

    embeddings/CURRENT                     the key that counts
    embeddings/<key>/info.json             backbone, revision, size, dim, label
    embeddings/<key>/<shard>.npy           float16 (n, dim)
    embeddings/<key>/<shard>.parquet       dicom_id, film_key, row (-1: failed), reason; written last
    embeddings/<key>/rows.parquet          dicom_id, shard, row: the vectors that count, sorted by dicom_id
    embeddings/<key>/index.faiss, .json    FAISS index over exactly those rows; the JSON carries their hash

Similarity is the cosine of two vectors' angle, in [-1, 1]. An index whose hash is not that of rows.parquet is rebuilt,
never used. Verbs may use this module: it writes nothing but the index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .backbones import BACKBONES
from .errors import DataError, WorkspaceError
from .progress import Progress, silent
from .provenance import digest
from .workspace import Workspace, atomic_write, write_json

#: Up to here every vector is compared (exact); beyond, an inverted file of float16 vectors is searched.
FLAT_BELOW = 50_000
#: An inverted file probes as many lists as it takes to find this share of the true nearest ten.
RECALL = 0.95
BLOCK = 8192
#: Films of a sample that measures how alike films of different patients are.
SAMPLE = 1000


class ShardedArray:
    """float16 (N, dim) over memory-mapped shards: `array[rows]`, `array[a:b]`, `len`, `shape`, `numpy.asarray`."""

    dtype = np.dtype(np.float16)

    def __init__(self, folder: Path, names: np.ndarray, shard: np.ndarray, rows: np.ndarray, dim: int) -> None:
        self.names, self.shard, self.row = names, shard, rows
        self.shape = (len(rows), dim)
        self._maps = {n: np.load(folder / f"{name}.npy", mmap_mode="r") for n, name in enumerate(self.names)}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """float16 (n, dim), a copy, for a slice, an integer array, a bool mask, or (dim,) for one integer."""
        if isinstance(rows, (int, np.integer)):
            return self[[rows]][0]
        wanted = np.arange(len(self))[rows]
        out = np.empty((len(wanted), self.shape[1]), np.float16)
        for n in np.unique(self.shard[wanted]):
            here = np.flatnonzero(self.shard[wanted] == n)
            out[here] = self._maps[n][self.row[wanted[here]]]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.float16)

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, float32 (≤ size, dim)) through all rows in order."""
        for start in range(0, len(self), size):
            yield start, self[start : start + size].astype(np.float32)


def current(workspace: Workspace) -> Path:
    """The folder of the embeddings that count. Raises: WorkspaceError when no films have been embedded."""
    try:
        key = (workspace.path / "embeddings" / "CURRENT").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        key = ""
    folder = workspace.path / "embeddings" / key
    if not key or not (folder / "rows.parquet").exists():
        raise WorkspaceError(
            "The films of this workspace have not been embedded yet.", f"Run `cars embed --workspace {workspace.path}`."
        )
    return folder


def info(workspace: Workspace) -> dict[str, Any]:
    """What made the current vectors: key, backbone, label, revision, weights, size, dim, seed."""
    return json.loads((current(workspace) / "info.json").read_text(encoding="utf-8"))


def read_embeddings(workspace: Workspace, folder: Path | None = None) -> tuple[np.ndarray, ShardedArray]:
    """(dicom_ids (N,) of str, their vectors float16 (N, dim), memory-mapped), of `folder` or of the current ones.

    Raises: WorkspaceError when no films have been embedded.
    """
    place, array = _read(workspace, folder)
    return place.to_numpy(), array


def _read(workspace: Workspace, folder: Path | None = None) -> tuple[pd.Index, ShardedArray]:
    """The ids, which know their rows, and the vectors. The ids stay in memory until rows.parquet is another file."""
    folder = folder or current(workspace)
    stat = (folder / "rows.parquet").stat()
    place, names, shard, rows = _rows(str(folder), stat.st_mtime_ns, stat.st_ino)
    dim = json.loads((folder / "info.json").read_text(encoding="utf-8"))["dim"]
    return place, ShardedArray(folder, names, shard, rows, dim)


@lru_cache(maxsize=2)
def _rows(folder: str, modified: int, inode: int) -> tuple[pd.Index, np.ndarray, np.ndarray, np.ndarray]:
    """(ids, names of the shards, the shard of each id, its row there). modified, inode: only the key of the memory."""
    table = pd.read_parquet(Path(folder) / "rows.parquet")
    ids = table["dicom_id"].to_numpy(object)
    ids.flags.writeable = False  # every caller gets these very ids
    names, shard = np.unique(table["shard"].to_numpy(object), return_inverse=True)
    return pd.Index(ids, dtype=object), names, shard, table["row"].to_numpy()


def vectors(workspace: Workspace, dicom_ids: Sequence[str]) -> np.ndarray:
    """float32 (N, dim), not normalised, in the order of the ids. Raises: DataError for a film that has no vector."""
    place, array = _read(workspace)
    return array[_rows_of(place, dicom_ids)].astype(np.float32)


def _rows_of(place: pd.Index, wanted: Sequence[str]) -> np.ndarray:
    found = place.get_indexer(pd.Index(list(wanted), dtype=object))
    if (found < 0).any():
        missing = list(wanted)[int(np.argmax(found < 0))]
        raise DataError(f"The film {missing!r} has no vector.", "Embed again, or look at the films that failed.")
    return found.astype(np.int64)


def encoder(workspace: Workspace, device: str = "auto") -> Any:
    """The backbone that made the current vectors, loaded: `.embed(uint8 (B, S, S))`, `.size` is S.

    Raises: DataError when its weights have changed since, so that their vectors could not be compared.
    """
    made = info(workspace)
    weights = made["weights"]
    if weights and (workspace.path / weights).exists():
        weights = workspace.path / weights  # an adapted encoder or a fine-tuned unit of this workspace
    backbone = BACKBONES.get(made["backbone"])(weights=weights, size=made["size"], seed=made["seed"])
    if backbone.revision != made["revision"]:
        raise DataError(
            f"The weights of {made['backbone']} were {made['revision']} when the films were embedded and are "
            f"{backbone.revision} now.",
            "Embed the films again.",
        )
    return backbone.load(device)


# The index -----------------------------------------------------------------------------------------------------------


def unit(values: np.ndarray) -> np.ndarray:
    """Rows at length 1, float32, contiguous; a row of zeros stays zero."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def refresh(workspace: Workspace, progress: Progress = silent, folder: Path | None = None) -> dict[str, Any]:
    """Build the index of `folder`, or of the current vectors, unless it is there and theirs.

    Returns: index.json: kind (flat or ivf), films, rows (the hash of the vectors that it holds), and for an inverted
    file lists, probes, and recall (measured share of the true nearest ten among those found).
    """
    folder = folder or current(workspace)
    known = _fresh(folder)
    if known is None:
        _build(workspace, folder, progress)
        known = _fresh(folder)
    if known is None:
        raise WorkspaceError(f"The vectors in {folder} changed while they were indexed.", "Run the same command again.")
    return known


def _rows_digest(folder: Path) -> str:
    """Which vectors count. A shard's name is the hash of its films and of the encoder, so names stand for contents."""
    path = folder / "rows.parquet"
    stat = path.stat()
    return _digest_of(str(path), stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=8)
def _digest_of(path: str, modified: int, inode: int) -> str:
    """The digest of a rows.parquet, once for each version of the file."""
    rows = pd.read_parquet(path)
    return digest(*(rows[name].tolist() for name in ("dicom_id", "shard", "row")))


def _fresh(folder: Path) -> dict[str, Any] | None:
    """index.json when it describes the index.faiss beside it and the rows that count now, else None."""
    try:
        known = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        bytes_there = (folder / "index.faiss").stat().st_size
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return known if known.get("rows") == _rows_digest(folder) and known.get("bytes") == bytes_there else None


def _build(workspace: Workspace, folder: Path, progress: Progress) -> None:
    import faiss

    rows = _rows_digest(folder)
    ids, array = read_embeddings(workspace, folder)
    described: dict[str, Any] = {"kind": "flat", "films": len(ids), "rows": rows}
    if len(ids) < FLAT_BELOW:
        index = faiss.IndexFlatIP(array.shape[1])
    else:
        index, lists = _trained_ivf(array)
        described |= {"kind": "ivf", "lists": lists}
    for start, block in array.blocks():
        index.add(unit(block))
        progress(min(start + BLOCK, len(ids)), len(ids), "indexing")
    if described["kind"] == "ivf":
        described |= _choose_probes(index, array, described["lists"])
    # without its JSON an index does not count, so a kill between the two files leaves nothing half true
    (folder / "index.json").unlink(missing_ok=True)
    data = faiss.serialize_index(index)
    with atomic_write(folder / "index.faiss") as stream:
        stream.write(data.data)
    write_json(folder / "index.json", {**described, "bytes": len(data)})


def _trained_ivf(array: ShardedArray) -> tuple[Any, int]:
    """An empty inverted file with lists trained on a seeded sample: about √N lists, float16 inside."""
    import faiss

    lists = max(2, 2 ** round(np.log2(np.sqrt(len(array)))))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(array.shape[1]), array.shape[1], lists, faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(len(array), min(len(array), 64 * lists), replace=False))
    index.train(unit(array[sample]))
    return index, lists


def _choose_probes(index: Any, array: ShardedArray, lists: int) -> dict[str, Any]:
    """Set index.nprobe to the least power of two that reaches RECALL on a sample of its own films."""
    sample = np.sort(np.random.default_rng(1).choice(len(array), min(256, len(array)), replace=False))
    queries = unit(array[sample])
    k = min(11, len(array))
    best = np.full((len(sample), 0), 0, np.float32)
    rows = np.zeros((len(sample), 0), np.int64)
    for start, block in array.blocks():
        found = queries @ unit(block).T
        best = np.concatenate([best, found], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(np.arange(start, start + len(block)), found.shape)], axis=1)
        kept = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, rows = np.take_along_axis(best, kept, 1), np.take_along_axis(rows, kept, 1)
    probes = 1
    while True:
        index.nprobe = probes
        _, near = index.search(queries, k)
        recall = float(np.mean([len(set(a) & set(b)) / k for a, b in zip(near.tolist(), rows.tolist())]))
        if recall >= RECALL or probes >= lists:
            return {"probes": probes, "recall": round(recall, 4)}
        probes *= 2


def search(
    workspace: Workspace, queries: np.ndarray, k: int, folder: Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(similarity (Q, k) float32, rows (Q, k) int64 into `read_embeddings`), the most alike first; row -1 is none."""
    folder = folder or current(workspace)
    described = refresh(workspace, folder=folder)
    index = _open(str(folder), described["rows"])
    if queries.ndim != 2 or queries.shape[1] != index.d:
        raise DataError(
            f"The index holds vectors of {index.d} numbers, not {queries.shape}.", "Use index.encoder(workspace)."
        )
    return index.search(unit(queries), min(k, described["films"]))


@lru_cache(maxsize=2)
def _open(folder: str, rows: str) -> Any:
    """The index in memory, on the GPUs where there are any. `rows` is the hash that it was checked against."""
    import faiss

    index = faiss.read_index(str(Path(folder) / "index.faiss"))
    known = _fresh(Path(folder))
    if known is None or known["rows"] != rows:
        raise WorkspaceError(f"The vectors in {folder} changed while they were read.", "Ask again.")
    return faiss.index_cpu_to_all_gpus(index) if faiss.get_num_gpus() > 0 else index


# Questions -----------------------------------------------------------------------------------------------------------


def nearest(workspace: Workspace, dicom_ids: Sequence[str], k: int = 12) -> pd.DataFrame:
    """The k films most like each of these, itself left out: query, rank (from 1), dicom_id, similarity.

    Raises: DataError for a film that has no vector; WorkspaceError when none has.
    """
    place, array = _read(workspace)
    own = _rows_of(place, dicom_ids)
    found: list[tuple[str, int, str, float]] = []
    if len(own):
        similarity, rows = search(workspace, array[own].astype(np.float32), k + 1)
        for n, row in enumerate(own):
            others = [(s, r) for s, r in zip(similarity[n], rows[n]) if r not in (row, -1)][:k]
            found += [(dicom_ids[n], rank, place[r], float(s)) for rank, (s, r) in enumerate(others, 1)]
    return pd.DataFrame(found, columns=["query", "rank", "dicom_id", "similarity"])


def knn_distance(workspace: Workspace, queries: np.ndarray, k: int = 5) -> np.ndarray:
    """How far each vector is from the real films: the mean of 1 − similarity over the k nearest, float32 (Q,)."""
    similarity, rows = search(workspace, queries, k)
    return np.nanmean(np.where(rows >= 0, 1 - similarity, np.nan), axis=1).astype(np.float32)


def near_copies(
    workspace: Workspace, queries: np.ndarray, subject_ids: Sequence[str], threshold: float | None = None
) -> pd.DataFrame:
    """For each vector the most alike film of *another* patient, and whether that is too alike.

    Args:
        queries: (Q, dim) vectors, for example of edited films.
        subject_ids: the patient of each, whose own films do not count.
        threshold: similarity from which a film is a near copy; by default `likeness_of_strangers`.

    Returns: dicom_id and subject_id of that film (null where every film is of the same patient), similarity,
    threshold, copy (bool); one row a vector, in their order.
    """
    if threshold is None:
        threshold = likeness_of_strangers(workspace)
    found = _nearest_stranger(workspace, queries, [str(s) for s in subject_ids])
    found["threshold"] = threshold
    found["copy"] = found["similarity"] >= threshold
    return found


def likeness_of_strangers(workspace: Workspace, seed: int = 0) -> float:
    """The similarity that 99.9% of a seeded sample of films have at most to their nearest film of another patient."""
    ids, array = read_embeddings(workspace)
    rows = np.sort(np.random.default_rng(seed).choice(len(ids), min(SAMPLE, len(ids)), replace=False))
    owners = _patients(workspace)
    found = _nearest_stranger(workspace, array[rows].astype(np.float32), [owners[i] for i in ids[rows]])
    known = found["similarity"].dropna()
    return float(known.quantile(0.999)) if len(known) else 1.0


def _patients(workspace: Workspace) -> dict[str, str]:
    films = workspace.read("films", ["dicom_id", "subject_id"])
    return dict(zip(films["dicom_id"], films["subject_id"]))


def _nearest_stranger(workspace: Workspace, queries: np.ndarray, subjects: list[str]) -> pd.DataFrame:
    ids, _ = read_embeddings(workspace)
    owners = _patients(workspace)
    found: list[tuple[str | None, str | None, float]] = [(None, None, np.nan)] * len(queries)
    open_rows, k = np.arange(len(queries)), 32
    while len(open_rows):
        similarity, rows = search(workspace, queries[open_rows], k)
        left = []
        for n, query in enumerate(open_rows):
            hit = next(
                ((s, r) for s, r in zip(similarity[n], rows[n]) if r >= 0 and owners.get(ids[r]) != subjects[query]),
                None,
            )
            if hit is None:
                left.append(query)
            else:
                found[query] = (ids[hit[1]], owners.get(ids[hit[1]]), float(hit[0]))
        if k >= len(ids):
            break
        # a patient with more than k films hides everybody else: look further for those only
        open_rows, k = np.array(left, int), k * 8
    return pd.DataFrame(found, columns=["dicom_id", "subject_id", "similarity"])
