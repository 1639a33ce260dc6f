"""ECE: expected calibration error of one finding's probabilities."""

from __future__ import annotations

import numpy as np

from ._base import metric

#: Equal-width bins of [0, 1]; 15 as in Guo et al. 2017.
BINS = 15


def bin_of(prob: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin of each probability: [0, 1/bins), …, [1 − 1/bins, 1]; int (N,)."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    return np.clip(np.searchsorted(edges, prob, side="right") - 1, 0, bins - 1)


@metric(
    "ece",
    label="ECE",
    direction="lower",
    range=(0.0, 1.0),
    paper="Guo et al., On calibration of modern neural networks, 2017, arXiv 1706.04599",
    ranks=False,
)
def ece(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ over 15 equal-width bins of (share of films) · |observed frequency − mean probability| of the finding.

    The binary form: the probability of the finding itself is binned, not the confidence in the likelier answer. It is
    biased upwards on few films, so compare it at equal n. NaN without a film.
    """
    members = np.eye(BINS)[bin_of(prob)]  # (N, bins)
    observed = weights @ (members * y_true[:, None])
    predicted = weights @ (members * prob[:, None])
    with np.errstate(invalid="ignore"):
        return np.abs(observed - predicted).sum(axis=1) / weights.sum(axis=1)
