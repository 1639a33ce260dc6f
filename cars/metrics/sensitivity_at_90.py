"""Sensitivity at a specificity of 0.90, read from the ROC curve of the films scored."""

from __future__ import annotations

import numpy as np

from ._base import metric, sorted_by

#: The specificity at which sensitivity is read, here and for the threshold chosen on the validate films.
SPECIFICITY = 0.90


@metric(
    "sensitivity_at_90",
    label="Sensitivity at specificity 0.90",
    direction="higher",
    range=(0.0, 1.0),
    paper="Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 2006",
    ranks=True,
    shared=lambda case: case.ranking[2],
)
def sensitivity_at_90(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The height of the ROC curve at a false positive rate of 0.10, straight between its points, atop a step.

    The films scored choose the point themselves, so this is what the ranking allows, not what a threshold fixed
    beforehand delivers (`sensitivity` is). NaN without a positive or without a negative.
    """
    from . import _kernels

    order, last = sorted_by(prob, highest_first=True)
    return _kernels.sensitivity_at(order, last, y_true[order], weights, SPECIFICITY)
