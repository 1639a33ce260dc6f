"""AURC: area under the risk-coverage curve of a model that may decline to answer."""

from __future__ import annotations

import numpy as np

from ._base import metric, sorted_by


@metric(
    "aurc",
    label="AURC",
    direction="lower",
    range=(0.0, 1.0),
    paper="Geifman, Uziel and El-Yaniv, Bias-reduced uncertainty estimation for deep neural classifiers, 2018, "
    "arXiv 1805.08206",
    ranks=False,
    scaling=False,
    shared=lambda case: case.risk_area(),
)
def aurc(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over k of the error rate among the k most confident films; the answer is prob ≥ 0.5, the confidence
    |prob − 0.5|.

    Films of equal confidence have no order: the mean over all their orders is taken, in closed form. For a rare
    finding the error rate at 0.5 is near the prevalence, so look at it within one finding only. Temperature scaling
    moves neither the answer nor the order of the confidences. NaN without a film.
    """
    wrong = ((prob >= 0.5) != (y_true == 1)).astype(np.float64)
    return area(wrong, np.abs(prob - 0.5), weights)


def area(loss: np.ndarray, confidence: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the risk-coverage curve for losses (N,) when the most confident films are kept: (R,)."""
    from . import _kernels

    order, last = sorted_by(confidence, highest_first=True)
    return _kernels.risk_area(order, last, loss[order], weights)
