"""Calibration slope: are the probabilities too extreme or too timid?"""

from __future__ import annotations

import numpy as np

from ._base import metric
from ._logits import recalibration


@metric(
    "calibration_slope",
    label="Calibration slope",
    direction="target",
    target=1.0,
    range=(-np.inf, np.inf),
    paper="Cox, Two further applications of a model for binary regression, Biometrika 1958",
    ranks=False,
    costly=True,
    shared=lambda case: case.slope(),
)
def calibration_slope(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The b of the logistic regression logit P(finding) = a + b · logit(prob). Below 1: probabilities too extreme.

    Not penalised. NaN where one class is alone or a cut on the probability separates the classes, since no finite fit
    exists then.
    """
    return recalibration(y_true, prob, weights)[:, 1]
