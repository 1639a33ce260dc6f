"""Semantic uncertainty of an edit: do several tries and several judges agree that the finding is there?

For one finding, K edits of the same film (other seeds) are seen by M judges: probabilities p of shape (K, M). With the
binary entropy H(p) = −p log₂ p − (1 − p) log₂(1 − p), in bits:

    total   H(mean of all p)                 how uncertain the answer is, 0 to 1
    mutual  total − mean of all H(p)         how much of that is disagreement between tries and judges

The second is the mutual information between the answer and who is asked (BALD: Houlsby et al. 2011, "Bayesian Active
Learning for Classification and Preference Learning", arXiv 1112.5745). The rest, the mean of H(p), is doubt that all
share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..imaging import square
from ..schema import FINDINGS


def binary_entropy(p: np.ndarray) -> np.ndarray:
    """Bits, in [0, 1], of probabilities in [0, 1]; 0 at 0 and 1. Of p's shape."""
    p = np.asarray(p, np.float64)
    inside = (p > 0) & (p < 1)
    safe = np.where(inside, p, 0.5)
    return np.where(inside, -safe * np.log2(safe) - (1 - safe) * np.log2(1 - safe), np.where(np.isnan(p), np.nan, 0.0))


def decompose(p: np.ndarray) -> tuple[float, float, int]:
    """(total, mutual, n) of probabilities of any shape, in bits; n is how many count.

    NaN, from a judge that does not know the finding, does not count. Both are NaN where n is 0.
    """
    p = np.asarray(p, np.float64)
    p = p[~np.isnan(p)]
    if not p.size:
        return float("nan"), float("nan"), 0
    total = float(binary_entropy(p.mean()))
    # by Jensen's inequality it is never negative but for rounding
    return total, max(0.0, total - float(binary_entropy(p).mean())), int(p.size)


def uncertainty_rows(
    films: Sequence[np.ndarray], changes: Mapping[str, str], judges: Sequence[Any]
) -> list[dict[str, Any]]:
    """One row a changed finding: finding, k (films), m (judges that know it), total, mutual, n (probabilities).

    films: K edits of one source, uint8 (H, W). judges: M objects with .size and .probabilities.
    """
    seen = [j.probabilities(np.stack([square(film, j.size) for film in films])) for j in judges]
    return rows_of(np.stack(seen, axis=1), changes)


def rows_of(seen: np.ndarray, changes: Mapping[str, str]) -> list[dict[str, Any]]:
    """The same from what the judges said: (K, M, 14) probabilities, NaN where a judge does not know the finding."""
    rows = []
    for finding in changes:
        p = seen[:, :, FINDINGS.index(finding)]  # (K, M)
        total, mutual, n = decompose(p)
        knowing = int((~np.isnan(p)).any(axis=0).sum())
        rows.append({"finding": finding, "k": len(p), "m": knowing, "total": total, "mutual": mutual, "n": n})
    return rows
