"""Sensitivity at a threshold that was chosen on other films."""

from __future__ import annotations

import numpy as np

from ._base import mean, metric


@metric(
    "sensitivity",
    label="Sensitivity at the validate threshold",
    direction="higher",
    range=(0.0, 1.0),
    paper="Altman and Bland, Diagnostic tests 1: sensitivity and specificity, BMJ 1994",
    ranks=False,
    threshold=True,
    shared=lambda case: case.share(case.positive, case.p >= case.threshold),
)
def sensitivity(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray, threshold: float) -> np.ndarray:
    """Share of the films with the finding whose probability reaches the threshold. NaN without a positive.

    `report` takes the threshold that gives a specificity of 0.90 on the validate films; what specificity that gives on
    the test films is the metric `specificity`, and the two belong together.
    """
    if np.isnan(threshold):
        return np.full(len(weights), np.nan)
    positive = y_true == 1
    return mean(prob[positive] >= threshold, weights[:, positive])
