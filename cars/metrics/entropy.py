"""Predictive entropy: how undecided the probabilities are, whatever the truth."""

from __future__ import annotations

import numpy as np

from ._base import mean, metric


def binary_entropy(prob: np.ndarray) -> np.ndarray:
    """−p·log p − (1 − p)·log(1 − p) in nats, of any shape; 0 at 0 and 1."""
    from scipy.special import entr

    return entr(prob) + entr(1 - np.asarray(prob, dtype=np.float64))


@metric(
    "entropy",
    label="Predictive entropy",
    direction="none",
    range=(0.0, float(np.log(2))),
    paper="Shannon, A mathematical theory of communication, Bell System Technical Journal 1948",
    ranks=False,
    shared=lambda case: case.mean(binary_entropy(case.p)),
)
def entropy(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean entropy of the finding's probability in nats, log 2 = 0.69 at 0.5. Needs no label. NaN without a film."""
    return mean(binary_entropy(prob), weights)
