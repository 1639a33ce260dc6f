"""Adaptive ECE: expected calibration error over bins that hold equally many films."""

from __future__ import annotations

import numpy as np

from ._base import metric
from ._bins import absolute_error, equal_mass


@metric(
    "ece_adaptive",
    label="Adaptive ECE",
    direction="lower",
    range=(0.0, 1.0),
    paper="Nixon et al., Measuring calibration in deep learning, 2019, arXiv 1904.01685",
    ranks=False,
    shared=lambda case: absolute_error(case.equal_mass),
)
def ece_adaptive(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `ece`, over 15 bins of equal mass: the k/15 quantiles of the probabilities are the edges, ties stay together.

    A rare finding's probabilities crowd near 0, where equal-width bins see one bin; these see all of them. NaN
    without a film.
    """
    return absolute_error(equal_mass([np.ones_like(prob), y_true, prob], prob, weights))
