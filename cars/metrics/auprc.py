"""AUPRC: area under the precision-recall curve, as average precision."""

from __future__ import annotations

import numpy as np

from ._base import metric, sorted_by


@metric(
    "auprc",
    label="AUPRC",
    direction="higher",
    range=(0.0, 1.0),
    paper="Davis and Goadrich, The relationship between precision-recall and ROC curves, ICML 2006",
    ranks=True,
    shared=lambda case: case.ranking[1],
)
def auprc(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ (recall_t − recall_{t−1}) · precision_t over the distinct probabilities; films that tie enter together.

    This is scikit-learn's `average_precision_score`: no interpolation between points, which would be too optimistic.
    Chance level is the prevalence, so compare it within one finding and one test set. NaN without a positive, and
    without a negative, where every ranking would score 1.
    """
    from . import _kernels

    order, last = sorted_by(prob, highest_first=True)
    return _kernels.auprc(order, last, y_true[order], weights)
