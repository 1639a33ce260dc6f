"""Specificity at a threshold that was chosen on other films."""

from __future__ import annotations

import numpy as np

from ._base import mean, metric


@metric(
    "specificity",
    label="Specificity at the validate threshold",
    direction="higher",
    range=(0.0, 1.0),
    paper="Altman and Bland, Diagnostic tests 1: sensitivity and specificity, BMJ 1994",
    ranks=False,
    threshold=True,
    shared=lambda case: case.share(~case.positive, case.p < case.threshold),
)
def specificity(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray, threshold: float) -> np.ndarray:
    """Share of the films without the finding whose probability stays below the threshold. NaN without a negative."""
    if np.isnan(threshold):
        return np.full(len(weights), np.nan)
    negative = y_true == 0
    return mean(prob[negative] < threshold, weights[:, negative])
