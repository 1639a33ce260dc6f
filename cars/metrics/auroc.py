"""AUROC: area under the receiver operating characteristic."""

from __future__ import annotations

import numpy as np

from ._base import cumulative, metric


@metric(
    "auroc",
    label="AUROC",
    direction="higher",
    range=(0.0, 1.0),
    paper="Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 1982",
    ranks=True,
)
def auroc(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The chance that a film with the finding gets a higher probability than one without; a tie counts half.

    NaN without a positive or without a negative.
    """
    positives, everything = cumulative(y_true, prob, weights)
    negatives = everything - positives
    gained = np.diff(positives, axis=1, prepend=0.0)
    total_positive, total_negative = positives[:, -1], negatives[:, -1]
    # at each distinct probability: its positives beat every negative below it, and half of those that tie
    tied = np.diff(negatives, axis=1, prepend=0.0)
    below = total_negative[:, None] - negatives
    with np.errstate(invalid="ignore", divide="ignore"):
        area = (gained * (below + tied / 2)).sum(axis=1) / (total_positive * total_negative)
    return np.where((total_positive > 0) & (total_negative > 0), area, np.nan)
