"""Where a probability becomes a yes: thresholds per finding, chosen on the validate films alone."""

from __future__ import annotations

import numpy as np

from .. import schema

#: The specificity that the second threshold holds on the validate films.
SPECIFICITY = 0.9
YOUDEN, AT_SPECIFICITY = "youden", "specificity_90"

#: finding → name of the rule → threshold, None where it is undefined
Thresholds = dict[str, dict[str, float | None]]


def choose(prob: np.ndarray, y: np.ndarray, known: np.ndarray) -> Thresholds:
    """Two thresholds a finding: a film is positive where its probability is at least the threshold.

    youden: the most sensitivity + specificity − 1 (Youden 1950, Index for rating diagnostic tests), the highest of
    several. specificity_90: the lowest with a specificity of at least 0.9, so the one with the most sensitivity.

    Args:
        prob: (N, 14) in [0, 1], after temperature scaling. y: (N, 14) of 0 and 1. known: (N, 14) bool.

    Both are None for a finding without a known positive or without a known negative.
    """
    found: Thresholds = {}
    for column, finding in enumerate(schema.FINDINGS):
        rows = known[:, column]
        found[finding] = _of_one(prob[rows, column], y[rows, column] == 1)
    return found


def _of_one(prob: np.ndarray, positive: np.ndarray) -> dict[str, float | None]:
    if positive.all() or not positive.any():
        return {YOUDEN: None, AT_SPECIFICITY: None}
    values = np.unique(prob)[::-1]  # descending: each is a threshold
    hits, false = _at_least(prob[positive], values), _at_least(prob[~positive], values)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    # sensitivity + specificity in whole numbers, so that thresholds that tie do tie
    youden = values[np.argmax(hits * n_negative - false * n_positive)]
    enough = np.flatnonzero((n_negative - false) / n_negative >= SPECIFICITY)
    # where even the highest value calls too many negatives positive, the threshold lies above it
    at = values[enough[-1]] if len(enough) else np.nextafter(values[0], 2.0)
    return {YOUDEN: float(youden), AT_SPECIFICITY: float(at)}


def _at_least(prob: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each value, how many probabilities are at least as large."""
    return len(prob) - np.searchsorted(np.sort(prob), values, side="left")
