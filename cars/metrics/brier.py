"""Brier score: mean squared error of one finding's probabilities."""

from __future__ import annotations

import numpy as np

from ._base import mean, metric


@metric(
    "brier",
    label="Brier score",
    direction="lower",
    range=(0.0, 1.0),
    paper="Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 1950",
    ranks=False,
)
def brier(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of (probability − label)²: it falls with better calibration and with better ranking. NaN without a film."""
    return mean((prob - y_true) ** 2, weights)
