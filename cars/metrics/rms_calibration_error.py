"""RMS calibration error: the debiased ℓ2 form, over bins that hold equally many films."""

from __future__ import annotations

import numpy as np

from ._base import metric
from ._bins import debiased_squared_error, equal_mass


def _root(totals: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(debiased_squared_error(totals), 0.0))


@metric(
    "rms_calibration_error",
    label="RMS calibration error, debiased",
    direction="lower",
    range=(0.0, 1.0),
    paper="Roelofs et al., Mitigating bias in calibration error estimation, AISTATS 2022, arXiv 2012.08668",
    ranks=False,
    shared=lambda case: _root(case.equal_mass),
)
def rms_calibration_error(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """√(Σ share · [(observed − mean probability)² − o(1 − o)/(n − 1)]) over 15 equal-mass bins.

    0 where sampling explains all of the squared error (the sum is then not positive). NaN without a film.
    """
    return _root(equal_mass([np.ones_like(prob), y_true, prob], prob, weights))
