"""How far two sets of vectors lie apart as distributions: Fréchet distance (FID) and kernel distance (KID).

FID: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017, arXiv
1706.08500. KID: Bińkowski et al., "Demystifying MMD GANs", 2018, arXiv 1801.01401. Both are named after Inception's
features and are taken here over whatever encoder gave the vectors, which must be named beside them.

FID is biased: two halves of one set of films have a FID well above 0, the more so the fewer the films (Chong and
Forsyth 2020, arXiv 1911.07023). So compare only values over equally many vectors, beside that of real with real. KID
is unbiased and may fall below 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .neighbours import Vectors

BLOCK = 8192


def frechet(real: Vectors, fake: Vectors) -> float:
    """Squared Fréchet distance of the normal distributions with the two sets' means and covariances, ≥ 0.

    |m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½), covariances over n − 1. With C = Fᵀ F the trace of the root is the sum of
    the singular values of F₁ F₂ᵀ, so no root of a matrix is taken, and sets smaller than their dimension need no
    (D, D) matrix. real: (N, D), fake: (M, D). Raises: DataError for fewer than two vectors, or of two lengths.
    """
    _check(real, fake)
    (mean, factor), (other_mean, other) = _moments(real), _moments(fake)
    shared = float(np.linalg.svd(factor @ other.T, compute_uv=False).sum())
    apart = float(((mean - other_mean) ** 2).sum())
    return max(0.0, apart + float((factor**2).sum()) + float((other**2).sum()) - 2 * shared)


def _moments(vectors: Vectors) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and a factor F (≤ max(n, D), D) with Fᵀ F the covariance; float64, rows read block by block."""
    n, dim = vectors.shape
    if n <= dim:
        rows = np.asarray(vectors[:], np.float64)
        mean = rows.mean(axis=0)
        return mean, (rows - mean) / np.sqrt(n - 1)
    blocks = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
    mean = np.sum([np.asarray(vectors[b], np.float64).sum(axis=0) for b in blocks], axis=0) / n
    covariance = np.zeros((dim, dim))
    for block in blocks:
        rows = np.asarray(vectors[block], np.float64) - mean
        covariance += rows.T @ rows
    values, axes = np.linalg.eigh(covariance / (n - 1))
    return mean, np.sqrt(np.clip(values, 0, None))[:, None] * axes.T


def kernel_distance(real: Vectors, fake: Vectors) -> float:
    """Squared maximum mean discrepancy under the kernel (x·y / D + 1)³, the unbiased estimate; may be below 0.

    real: (N, D), fake: (M, D). Raises: DataError for fewer than two vectors, or of two lengths.
    """
    _check(real, fake)
    x, y = (np.asarray(v[:], np.float64) for v in (real, fake))

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: np.ndarray) -> float:
        pairs = kernel(a, a)
        return float((pairs.sum() - np.trace(pairs)) / (len(a) * (len(a) - 1)))

    return within(x) + within(y) - 2 * float(kernel(x, y).mean())


@dataclass(frozen=True)
class Drawn:
    """A distance over random subsets. value: their mean; low, high: the 2.5% and 97.5% quantiles of the draws; size:
    vectors of each set in a draw; draws: how many."""

    value: float
    low: float
    high: float
    size: int
    draws: int


def drawn(
    real: Vectors,
    fake: Vectors,
    distance: Callable[[np.ndarray, np.ndarray], float],
    size: int,
    draws: int = 100,
    seed: int = 0,
) -> Drawn:
    """A distance over `draws` pairs of subsets of `size` vectors, as KID is defined, drawn without replacement.

    The quantiles show how far one draw differs from the next. With `size` half of each set they are close to a 95%
    interval of the distance over the whole sets (a delete-half jackknife); with a smaller one they are wider. A
    distance that the number of vectors biases, such as FID, can be compared between sets of different n at one `size`.
    Raises: DataError when a set has fewer than `size` vectors, or size is below 2.
    """
    _check(real, fake)
    if not 2 <= size <= min(len(real), len(fake)):
        raise DataError(
            f"Subsets of {size} cannot be drawn from sets of {len(real)} and {len(fake)} vectors.",
            "Choose a size from 2 up to the smaller set's.",
        )
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        first, second = (rng.choice(len(v), size, replace=False) for v in (real, fake))
        values.append(distance(np.asarray(real[first]), np.asarray(fake[second])))
    low, high = np.quantile(values, [0.025, 0.975])
    return Drawn(float(np.mean(values)), float(low), float(high), size, draws)


def _check(real: Vectors, fake: Vectors) -> None:
    if min(len(real), len(fake)) < 2 or real.shape[1] != fake.shape[1]:
        raise DataError(
            f"Sets of shape {real.shape} and {fake.shape} have no distance.",
            "Both need at least two vectors, of one encoder.",
        )
