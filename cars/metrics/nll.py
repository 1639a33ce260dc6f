"""NLL: negative log likelihood (log loss, binary cross-entropy) of one finding's probabilities."""

from __future__ import annotations

import numpy as np

from ._base import mean, metric

#: Probabilities are kept this far from 0 and 1, as scikit-learn does, so that one certain mistake is not infinite.
EPSILON = float(np.finfo(np.float64).eps)


@metric(
    "nll",
    label="NLL",
    direction="lower",
    range=(0.0, float(-np.log(EPSILON))),
    paper="Good, Rational decisions, Journal of the Royal Statistical Society B 1952",
    ranks=False,
)
def nll(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of −log of the probability given to what was so, in nats. NaN without a film."""
    p = np.clip(prob, EPSILON, 1 - EPSILON)
    return mean(-(y_true * np.log(p) + (1 - y_true) * np.log1p(-p)), weights)
