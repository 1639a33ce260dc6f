"""Uncertainty part of the Brier score: how hard the finding is for one who knows its prevalence only."""

from __future__ import annotations

import numpy as np

from ._base import metric
from ._brier_parts import brier_parts


@metric(
    "brier_uncertainty",
    label="Brier, uncertainty",
    direction="none",
    range=(0.0, 0.25),
    paper="Murphy, A new vector partition of the probability score, Journal of Applied Meteorology 1973",
    ranks=True,
    shared=lambda case: case.brier_parts.uncertainty,
)
def brier_uncertainty(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """prevalence · (1 − prevalence): a property of the test films, the same for every model. NaN without a film."""
    return brier_parts(y_true, prob, weights).uncertainty
