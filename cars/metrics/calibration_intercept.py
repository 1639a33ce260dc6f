"""Calibration intercept: is the finding foretold too often or too rarely?"""

from __future__ import annotations

import numpy as np

from ._base import metric
from ._logits import logits_of


@metric(
    "calibration_intercept",
    label="Calibration intercept",
    direction="target",
    target=0.0,
    range=(-np.inf, np.inf),
    paper="Van Calster et al., Calibration: the Achilles heel of predictive analytics, BMC Medicine 2019",
    ranks=False,
    costly=True,
    shared=lambda case: case.intercept(),
)
def calibration_intercept(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Calibration-in-the-large: the a of logit P(finding) = a + logit(prob), slope held at 1.

    Above 0: foretold too rarely. NaN where one class is alone.
    """
    from . import _kernels

    return _kernels.offset_intercept(logits_of(prob), y_true, weights)
