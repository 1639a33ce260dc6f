"""Nearest neighbours within one set of vectors, by FAISS, in bounded memory.

FAISS proposes candidates in float32; their distances are then taken anew from the differences, in float64. Products of
long float32 vectors would put equal films at a small distance, and two ways of asking would disagree.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..progress import Progress, silent

#: Reference rows in memory at once, as float32: 336 MB at 1,280 numbers a row.
REFERENCE_BLOCK = 65_536
#: Rows gathered at once to take distances anew.
GATHERED = 16_384
#: Candidates beyond those asked for, so that float32 cannot push a true neighbour out.
SPARE = 3
#: Films that measure what share of the true neighbours an inverted file finds.
MEASURED = 256


class Vectors(Protocol):
    """(N, D) numbers, rows by slice or integer array."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> np.ndarray: ...


def read(vectors: Vectors, rows: Any) -> np.ndarray:
    """Those rows as contiguous float32."""
    return np.ascontiguousarray(vectors[rows], dtype=np.float32)


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Euclidean distance of each row pair, float64 (n,); the same whichever comes first. Both float32 (n, D)."""
    difference = first.astype(np.float64) - second
    return np.sqrt(np.einsum("ij,ij->i", difference, difference))


def on_gpus(index: Any) -> Any:
    """The FAISS index on every GPU there is, or as it is."""
    import faiss

    return faiss.index_cpu_to_all_gpus(index) if faiss.get_num_gpus() > 0 else index


class Exact:
    """Candidates by comparing with every row, a block of rows at a time."""

    def __init__(self, vectors: Vectors, block: int = REFERENCE_BLOCK) -> None:
        self.vectors, self.block = vectors, block
        self._only: Any = None

    def candidates(self, queries: np.ndarray, k: int) -> np.ndarray:
        """The rows of the k nearest of each query, int64 (n, ≤ k), in no promised order."""
        n = len(self.vectors)
        best = np.empty((len(queries), 0), np.float32)
        rows = np.empty((len(queries), 0), np.int64)
        for start in range(0, n, self.block):
            index = self._index(start, min(start + self.block, n))
            found, near = index.search(queries, min(k, index.ntotal))
            best = np.concatenate([best, found], axis=1)
            rows = np.concatenate([rows, near + start], axis=1)
            if best.shape[1] > k:
                kept = np.argpartition(best, k - 1, axis=1)[:, :k]
                best, rows = np.take_along_axis(best, kept, 1), np.take_along_axis(rows, kept, 1)
        return rows

    def _index(self, start: int, stop: int) -> Any:
        """A flat index of the rows; kept where one block holds them all."""
        import faiss

        if self._only is not None:
            return self._only
        index = on_gpus(faiss.IndexFlatL2(self.vectors.shape[1]))
        index.add(read(self.vectors, slice(start, stop)))
        if stop - start == len(self.vectors):
            self._only = index
        return index


class Inverted:
    """Candidates from a FAISS inverted file: √N lists of float16 vectors, of which the nearest few are searched.

    How many is raised until `recall` of the true nearest k are found, measured against `Exact` on a seeded sample; the
    measured share is `self.recall`. Neighbours that are missed make distances too large, never too small.
    """

    def __init__(self, vectors: Vectors, recall: float = 0.95, k: int = 10, seed: int = 0) -> None:
        import faiss

        n, dim = vectors.shape
        self.lists = max(1, 2 ** round(np.log2(np.sqrt(n))))
        self.index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatL2(dim), dim, self.lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2
        )
        rng = np.random.default_rng(seed)
        self.index.train(read(vectors, np.sort(rng.choice(n, min(n, 64 * self.lists), replace=False))))
        for start in range(0, n, GATHERED):
            self.index.add(read(vectors, slice(start, start + GATHERED)))
        sample = np.sort(rng.choice(n, min(MEASURED, n), replace=False))
        queries = read(vectors, sample)
        k = min(k + 1, n)  # each finds itself
        true = Exact(vectors, GATHERED).candidates(queries, k)
        self.index = on_gpus(self.index)
        self.probes = 1
        while True:
            found = self.candidates(queries, k)
            self.recall = float(np.mean([len(set(a) & set(b)) / k for a, b in zip(found.tolist(), true.tolist())]))
            if self.recall >= recall or self.probes >= self.lists:
                break
            self.probes *= 2

    def candidates(self, queries: np.ndarray, k: int) -> np.ndarray:
        """As `Exact.candidates`; −1 where the searched lists hold fewer than k."""
        import faiss

        # several GPUs hold copies, which plain `nprobe =` would not reach
        on_gpu = faiss.get_num_gpus() > 0
        parameters = faiss.GpuParameterSpace() if on_gpu else faiss.ParameterSpace()
        parameters.set_index_parameter(self.index, "nprobe", self.probes)
        return self.index.search(queries, min(k, self.index.ntotal))[1]


def knn(
    vectors: Vectors,
    k: int,
    groups: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    search: Exact | Inverted | None = None,
    progress: Progress = silent,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest others of each row.

    Args:
        groups: (N,) any; rows of the row's own group do not count (a patient's other films). By default only the row
            itself does not count; a copy of it under another row does, at distance 0.
        rows: which rows to ask for, by default all. search: reused between calls; by default `Exact`.

    Returns: rows (n, k) int64 and Euclidean distances (n, k) float64, the nearest first, equal ones by row; −1 and
    infinity where there are fewer than k.
    """
    asked = np.arange(len(vectors)) if rows is None else np.asarray(rows, np.int64)
    search = Exact(vectors) if search is None else search
    group = np.arange(len(vectors)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    own = np.bincount(group)[group]
    near = np.full((len(asked), k), -1, np.int64)
    distance = np.full((len(asked), k), np.inf)
    # a row has `own` rows of its group, so among its k + own nearest there are k others; few have many
    wanted = np.minimum(k + own[asked] + SPARE, len(vectors))
    order, done = np.argsort(wanted, kind="stable"), 0
    while done < len(order):
        most = int(wanted[order[min(done + GATHERED // int(wanted[order[done]]), len(order)) - 1]])
        take = order[done : done + max(1, GATHERED // most)]
        here = asked[take]
        queries = read(vectors, here)
        found = search.candidates(queries, int(wanted[take].max()))
        valid = (found >= 0) & (group[found] != group[here][:, None])
        exact = np.full(found.shape, np.inf)
        query, _ = np.nonzero(valid)
        exact[valid] = distances(queries[query], read(vectors, found[valid]))
        found = np.where(valid, found, np.iinfo(np.int64).max)
        best = np.lexsort((found, exact), axis=1)[:, :k]
        got = min(k, found.shape[1])
        distance[take, :got] = np.take_along_axis(exact, best, 1)
        near[take, :got] = np.where(np.isfinite(distance[take, :got]), np.take_along_axis(found, best, 1), -1)
        done += len(take)
        progress(done, len(order), "looking for neighbours")
    return near, distance
