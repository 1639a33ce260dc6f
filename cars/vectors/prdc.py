"""How two sets of vectors cover each other: precision, recall, density and coverage, and the same for each vector.

Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020, arXiv 2002.09797. A reference
vector's ball reaches to its k-th nearest other reference vector. Every pair is compared, in blocks, so memory is
bounded; a pair that float32 cannot decide is decided in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..progress import Progress, part_of, silent
from .neighbours import GATHERED, Vectors, distances, knn, read

#: Pairs compared at once: queries × reference vectors, 32 MB of float32.
QUERY_BLOCK, REFERENCE_BLOCK = 1024, 8192
#: Error of a squared distance of float32 products, as a share of the squared lengths: beyond what 4,096 sums make.
DOUBT = 1e-5


@dataclass(frozen=True)
class Relation:
    """M queries among N reference vectors with radii.

    nearest (M,) int64 and distance (M,) float64: the nearest reference vector, the first of equal ones. within (M,)
    int64: balls that a query lies in or on; inside (M,) int64: not counting their surface. holds (N,) bool: whether a
    query lies inside the reference vector's ball. held (N,) bool: whether it lies inside a query's ball; None where
    queries have no radii.
    """

    nearest: np.ndarray
    distance: np.ndarray
    within: np.ndarray
    inside: np.ndarray
    holds: np.ndarray
    held: np.ndarray | None


def relate(
    reference: Vectors,
    queries: Vectors,
    radii: np.ndarray,
    query_radii: np.ndarray | None = None,
    progress: Progress = silent,
) -> Relation:
    """Compare each query with each reference vector. radii (N,) and query_radii (M,): float64, Euclidean.

    Raises: DataError where there is no reference vector, or the two sets differ in their length of vectors.
    """
    n, m = len(reference), len(queries)
    if not n or reference.shape[1] != queries.shape[1]:
        raise DataError(
            f"Vectors of shape {queries.shape} cannot be compared with a reference of {reference.shape}.",
            "Both must come from the same encoder, and the reference must not be empty.",
        )
    nearest, distance = np.zeros(m, np.int64), np.full(m, np.inf)
    within, inside = np.zeros(m, np.int64), np.zeros(m, np.int64)
    holds = np.zeros(n, bool)
    held = None if query_radii is None else np.zeros(n, bool)
    for q in range(0, m, QUERY_BLOCK):
        block = slice(q, min(q + QUERY_BLOCK, m))
        asked = read(queries, block)
        for r in range(0, n, REFERENCE_BLOCK):
            here = slice(r, min(r + REFERENCE_BLOCK, n))
            pairs = _Pairs(asked, read(reference, here))
            row, exact = pairs.nearest(distance[block])
            closer = exact < distance[block]
            nearest[block] = np.where(closer, row + r, nearest[block])
            distance[block] = np.where(closer, exact, distance[block])
            on_or_in, strictly = pairs.balls(radii[None, here])
            within[block] += on_or_in.sum(axis=1)
            inside[block] += strictly.sum(axis=1)
            holds[here] |= strictly.any(axis=0)
            if query_radii is not None and held is not None:
                held[here] |= pairs.balls(query_radii[block, None])[1].any(axis=0)
            progress(q * n + r * len(asked), m * n, "comparing films")
    return Relation(nearest, distance, within, inside, holds, held)


class _Pairs:
    """Squared distances of a block of queries (q, D) and one of reference vectors (r, D), both float32."""

    def __init__(self, queries: np.ndarray, reference: np.ndarray) -> None:
        self.queries, self.reference = queries, reference
        lengths = np.einsum("ij,ij->i", queries, queries)
        others = np.einsum("ij,ij->i", reference, reference)
        self.doubt = np.float32(DOUBT * max(float(lengths.max()) + float(others.max()), 1e-30))
        self.squared = queries @ reference.T
        self.squared *= -2
        self.squared += lengths[:, None]
        self.squared += others[None]

    def exact(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(query, reference vector, float64 distance) of the pairs that a (q, r) bool mask chooses."""
        query, other = np.nonzero(chosen)
        found = np.empty(len(query))
        for start in range(0, len(query), GATHERED):
            part = slice(start, start + GATHERED)
            found[part] = distances(self.queries[query[part]], self.reference[other[part]])
        return query, other, found

    def nearest(self, so_far: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(reference vector (q,), distance (q,)) of the nearest in this block, the first of equal ones.

        Infinity where the block holds none that is nearer than `so_far`.
        """
        bound = np.minimum(self.squared.min(axis=1), so_far.astype(np.float32) ** 2) + self.doubt
        query, other, exact = self.exact(self.squared <= bound[:, None])
        order = np.lexsort((other, exact, query))
        query, first = np.unique(query[order], return_index=True)
        row, distance = np.zeros(len(so_far), np.int64), np.full(len(so_far), np.inf)
        row[query], distance[query] = other[order][first], exact[order][first]
        return row, distance

    def balls(self, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(in or on the ball, strictly inside), each (q, r) bool; radii (1, r) or (q, 1) float64."""
        limit = (radii**2).astype(np.float32)
        inside = self.squared < limit - self.doubt
        query, other, exact = self.exact((self.squared <= limit + self.doubt) & ~inside)
        within = inside.copy()
        reach = np.broadcast_to(radii, self.squared.shape)[query, other]
        within[query, other] = exact <= reach
        inside[query, other] = exact < reach
        return within, inside


def prdc(
    real: Vectors,
    fake: Vectors,
    k: int = 5,
    real_groups: np.ndarray | None = None,
    fake_groups: np.ndarray | None = None,
    progress: Progress = silent,
) -> dict[str, float]:
    """Precision, recall, density and coverage of `fake` with respect to `real`; equal to the package `prdc`.

    precision: share of fakes inside a real's ball (Kynkäänniemi et al. 2019, arXiv 1904.06991); density: the mean
    number of such balls over k, may exceed 1; coverage: share of real balls that hold a fake; recall: share of reals
    inside a fake's ball. Inside is strict, as in the package.

    Args:
        real_groups, fake_groups: (N,) and (M,); vectors of one group (a patient's films) do not count as each other's
            neighbours when radii are taken. The published definition has no groups.

    Raises: DataError when a set has no k neighbours for one of its vectors.
    """
    radii = _radii(real, k, real_groups, part_of(progress, 0, 0.4))
    fake_radii = _radii(fake, k, fake_groups, part_of(progress, 0.4, 0.6))
    found = relate(real, fake, radii, fake_radii, part_of(progress, 0.6, 1))
    return {
        "precision": float((found.inside > 0).mean()),
        "recall": float(found.held.mean()) if found.held is not None else float("nan"),
        "density": float(found.inside.mean() / k),
        "coverage": float(found.holds.mean()),
    }


def _radii(vectors: Vectors, k: int, groups: np.ndarray | None, progress: Progress) -> np.ndarray:
    radii = knn(vectors, k, groups, progress=progress)[1][:, -1]
    if not len(radii) or not np.isfinite(radii).all():
        raise DataError(f"Some of {len(radii):,} vectors have fewer than {k} neighbours.", "Lower k, or add vectors.")
    return radii


def expected_coverage(real: int, fake: int, k: int) -> float:
    """Coverage to expect when both sets come from one distribution (Naeem et al. 2020).

    It is the chance that the k nearest of a real among all others are not all real:
    1 − (N−1)…(N−k) / ((N+M−1)…(N+M−k)); 1 − 2⁻ᵏ for large N = M.
    """
    steps = np.arange(1, k + 1)
    return float(1 - np.prod((real - steps) / (real + fake - steps)))
