"""Probabilities as logits, and the logistic recalibration of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ._shared import Draws

#: Probabilities are kept this far from 0 and 1, so that every logit is finite.
MARGIN = 1e-15


def logits_of(prob: np.ndarray) -> np.ndarray:
    """Probabilities of any shape → logits, float64."""
    from scipy.special import logit

    return logit(np.clip(np.asarray(prob, dtype=np.float64), MARGIN, 1 - MARGIN))


def recalibration(y: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Intercept and slope of the logistic regression of y (N,) on the logits, for weights (R, N): (R, 2).

    NaN where it has no finite fit: one class alone, or classes that a cut on the logit separates.
    """
    from . import _kernels

    z = logits_of(prob)
    whole = _kernels.recalibration(z, y, np.ones((1, len(y)), dtype=np.uint8), np.array([0.0, 0.0]))[0]
    start = whole if np.isfinite(whole).all() else np.array([0.0, 0.0])
    return _kernels.recalibration(z, y, weights, start)


def shared_recalibration(y: np.ndarray, prob: np.ndarray, draws: Draws) -> np.ndarray:
    """`recalibration` of resamples of groups: (R, 2)."""
    from . import _fits, _kernels

    z = logits_of(prob)
    origin = np.array([0.0, 0.0])
    whole = _kernels.recalibration(z, y, np.ones((1, len(y)), dtype=np.uint8), origin)[0]
    start = whole if np.isfinite(whole).all() else origin
    found, otherwise = _fits.recalibration(z, y, draws.group, draws.counts, start, _fits.HALVES)
    if otherwise.any():
        rows = np.ascontiguousarray(draws.counts[:, otherwise].T)[:, draws.group]
        found[otherwise] = _kernels.recalibration(z, y, rows, start)
    return found


def shared_intercept(y: np.ndarray, prob: np.ndarray, draws: Draws) -> np.ndarray:
    """The calibration intercept of resamples of groups: (R,)."""
    from . import _fits, _kernels

    z = logits_of(prob)
    whole = float(_kernels.offset_intercept(z, y, np.ones((1, len(y)), dtype=np.uint8))[0])
    start = whole if np.isfinite(whole) else 0.0
    found, otherwise = _fits.offset_intercept(z, y, draws.group, draws.counts, start, _fits.HALVES)
    if otherwise.any():
        rows = np.ascontiguousarray(draws.counts[:, otherwise].T)[:, draws.group]
        found[otherwise] = _kernels.offset_intercept(z, y, rows)
    return found
