"""ECE: expected calibration error of one finding's probabilities, over bins of equal width."""

from __future__ import annotations

import numpy as np

from ._base import metric
from ._bins import absolute_error, bin_of, equal_width

__all__ = ["bin_of", "ece"]


@metric(
    "ece",
    label="ECE",
    direction="lower",
    range=(0.0, 1.0),
    paper="Guo et al., On calibration of modern neural networks, 2017, arXiv 1706.04599",
    ranks=False,
    shared=lambda case: absolute_error(case.equal_width),
)
def ece(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ over 15 equal-width bins of (share of films) · |observed frequency − mean probability| of the finding.

    The binary form: the probability of the finding itself is binned, not the confidence in the likelier answer. It is
    biased upwards on few films, so compare it at equal n, or take `ece_debiased`. NaN without a film.
    """
    return absolute_error(equal_width([np.ones_like(prob), y_true, prob], prob, weights))
