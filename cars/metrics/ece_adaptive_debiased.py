"""Debiased adaptive ECE: equal-mass bins, less what chance adds on few films."""

from __future__ import annotations

import numpy as np

from ._base import metric
from ._bins import debiased_absolute_error, equal_mass


@metric(
    "ece_adaptive_debiased",
    label="Adaptive ECE, debiased",
    direction="lower",
    range=(-1.0, 1.0),
    paper="Kumar, Liang and Ma, Verified uncertainty calibration, 2019, arXiv 1909.10155",
    ranks=False,
    shared=lambda case: debiased_absolute_error(case.equal_mass),
)
def ece_adaptive_debiased(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`ece_adaptive` less the excess that sampling alone gives each bin. NaN without a film."""
    return debiased_absolute_error(equal_mass([np.ones_like(prob), y_true, prob], prob, weights))
