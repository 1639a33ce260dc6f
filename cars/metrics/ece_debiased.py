"""Debiased ECE: the expected calibration error less what chance adds on few films."""

from __future__ import annotations

import numpy as np

from ._base import metric
from ._bins import debiased_absolute_error, equal_width


@metric(
    "ece_debiased",
    label="ECE, debiased",
    direction="lower",
    range=(-1.0, 1.0),
    paper="Kumar, Liang and Ma, Verified uncertainty calibration, 2019, arXiv 1909.10155",
    ranks=False,
    shared=lambda case: debiased_absolute_error(case.equal_width),
)
def ece_debiased(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`ece` less the excess that sampling alone gives each bin; a little below 0 is what a perfect model may get.

    The bias is that of independent films; several films of a patient make the true bias larger. NaN without a film.
    """
    return debiased_absolute_error(equal_width([np.ones_like(prob), y_true, prob], prob, weights))
