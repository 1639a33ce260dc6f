"""Vendi score: how many clearly different vectors a set amounts to.

Friedman and Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning", 2022, arXiv 2210.02410; other
orders: Pasarkar and Dieng, "Cousins of the Vendi Score", 2023, arXiv 2310.12952. The kernel is the cosine: with rows X
at length 1, the eigenvalues of X Xᵀ / n and of Xᵀ X / n are the same but for zeros, so the smaller matrix is solved.
"""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from .neighbours import Vectors

BLOCK = 8192


def spectrum(vectors: Vectors) -> np.ndarray:
    """Eigenvalues of the cosine kernel over n, float64 (min(n, D),), from 0 up, summing to 1; empty for no vector.

    Raises: DataError for a vector of zeros, which has no direction.
    """
    n, dim = vectors.shape
    if not n:
        return np.zeros(0)
    if n <= dim:
        rows = _unit(vectors, slice(None))
        matrix = rows @ rows.T
    else:
        matrix = np.zeros((dim, dim))
        for start in range(0, n, BLOCK):
            rows = _unit(vectors, slice(start, start + BLOCK))
            matrix += rows.T @ rows
    return np.clip(np.linalg.eigvalsh(matrix / n), 0, None)


def _unit(vectors: Vectors, rows: slice) -> np.ndarray:
    values = np.asarray(vectors[rows], np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise DataError("A vector of zeros has no direction, so it has no cosine to others.", "Leave it out.")
    return values / lengths


def vendi(eigenvalues: np.ndarray, q: float = 1.0) -> float:
    """The score of order q from a spectrum: exp of its Rényi entropy, between 1 and n; NaN for no vector.

    q = 1 is the published score, exp(−Σ λ ln λ); 2 is 1 / Σ λ²; infinity is 1 / max λ. Larger orders hear rare
    vectors less. q must be above 0.
    """
    if not len(eigenvalues):
        return float("nan")
    kept = eigenvalues[eigenvalues > 0]
    if q == 1:
        return float(np.exp(-np.sum(kept * np.log(kept))))
    if np.isinf(q):
        return float(1 / kept.max())
    return float(np.sum(kept**q) ** (1 / (1 - q)))


def vendi_of(vectors: Vectors, q: float = 1.0) -> float:
    """The score of order q of vectors."""
    return vendi(spectrum(vectors), q)
