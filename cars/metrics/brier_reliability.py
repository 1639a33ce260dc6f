"""Reliability part of the Brier score: how far observed frequencies lie from the probabilities given."""

from __future__ import annotations

import numpy as np

from ._base import metric
from ._brier_parts import brier_parts


@metric(
    "brier_reliability",
    label="Brier, reliability",
    direction="lower",
    range=(0.0, 1.0),
    paper="Murphy, A new vector partition of the probability score, Journal of Applied Meteorology 1973",
    ranks=False,
    shared=lambda case: case.brier_parts.reliability,
)
def brier_reliability(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ over 15 equal-width bins of share · (mean probability − observed frequency)². NaN without a film.

    Brier = reliability − resolution + uncertainty; see `brier_resolution`.
    """
    return brier_parts(y_true, prob, weights).reliability
