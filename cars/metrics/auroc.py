"""AUROC: area under the receiver operating characteristic."""

from __future__ import annotations

import numpy as np

from ._base import metric, sorted_by


@metric(
    "auroc",
    label="AUROC",
    direction="higher",
    range=(0.0, 1.0),
    paper="Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 1982",
    ranks=True,
    shared=lambda case: case.ranking[0],
)
def auroc(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The chance that a film with the finding gets a higher probability than one without; a tie counts half.

    NaN without a positive or without a negative.
    """
    from . import _kernels

    order, last = sorted_by(prob, highest_first=False)
    return _kernels.auroc(order, last, y_true[order], weights)
