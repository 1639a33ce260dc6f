"""Resolution part of the Brier score: how far the probabilities tell films apart."""

from __future__ import annotations

import numpy as np

from ._base import metric
from ._brier_parts import brier_parts


@metric(
    "brier_resolution",
    label="Brier, resolution",
    direction="higher",
    range=(-1.0, 1.0),
    paper="Stephenson, Coelho and Jolliffe, Two extra components in the Brier score decomposition, "
    "Weather and Forecasting 2008",
    ranks=False,
    shared=lambda case: case.brier_parts.generalised_resolution,
)
def brier_resolution(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Generalised resolution: Murphy's, less the probabilities' variance within bins, plus twice their covariance.

    With the two terms within bins, Brier = reliability − resolution + uncertainty holds exactly. Below 0 where the
    probabilities within a bin run against the labels. NaN without a film.
    """
    return brier_parts(y_true, prob, weights).generalised_resolution
