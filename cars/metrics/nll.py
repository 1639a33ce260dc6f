"""NLL: negative log likelihood (log loss, binary cross-entropy) of one finding's probabilities."""

from __future__ import annotations

import numpy as np

from ._base import mean, metric

#: Probabilities are kept this far from 0 and 1, as scikit-learn does, so that one certain mistake is not infinite.
EPSILON = float(np.finfo(np.float64).eps)


def _losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    inside = np.clip(p, EPSILON, 1 - EPSILON)
    return -(y * np.log(inside) + (1 - y) * np.log1p(-inside))


@metric(
    "nll",
    label="NLL",
    direction="lower",
    range=(0.0, float(-np.log(EPSILON))),
    paper="Good, Rational decisions, Journal of the Royal Statistical Society B 1952",
    ranks=False,
    shared=lambda case: case.mean(_losses(case.y, case.p)),
)
def nll(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of −log of the probability given to what was so, in nats. NaN without a film."""
    return mean(_losses(y_true, prob), weights)
