"""Brier score: mean squared error of one finding's probabilities."""

from __future__ import annotations

import numpy as np

from ._base import mean, metric


def _losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return (p - y) ** 2


@metric(
    "brier",
    label="Brier score",
    direction="lower",
    range=(0.0, 1.0),
    paper="Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 1950",
    ranks=False,
    shared=lambda case: case.mean(_losses(case.y, case.p)),
)
def brier(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of (probability − label)²: it falls with better calibration and with better ranking. NaN without a film."""
    return mean(_losses(y_true, prob), weights)
