"""Bins of probabilities, for the calibration errors and the parts of the Brier score."""

from __future__ import annotations

import numpy as np

from ._base import sorted_by, sums

#: Bins of every binned metric; 15 as in Guo et al. 2017.
BINS = 15


def bin_of(prob: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin of equal width of each probability: [0, 1/bins), …, [1 − 1/bins, 1]; int (N,)."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    return np.clip(np.searchsorted(edges, prob, side="right") - 1, 0, bins - 1)


def equal_width(columns: list[np.ndarray], prob: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Weighted sums of columns, each (N,), over 15 bins of equal width: (R, 15, columns)."""
    return sums(columns, w, bin_of(prob), BINS)


def equal_mass(columns: list[np.ndarray], prob: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The same over 15 bins that hold equally many films, as far as ties allow.

    The edges are the k/15 quantiles as NumPy computes them from the films, each as often as its weight; a film on an
    edge goes up. The bins are those of the resample, not of the sample.
    """
    from . import _kernels

    order, last = sorted_by(prob, highest_first=False)
    return _kernels.quantile_sums(order, last, np.stack(columns, axis=1)[order], w, BINS)


def absolute_error(totals: np.ndarray) -> np.ndarray:
    """Σ over bins of (share of films) · |observed − mean probability|, from sums (R, bins, [1, y, prob]): (R,)."""
    with np.errstate(invalid="ignore"):
        return np.abs(totals[..., 1] - totals[..., 2]).sum(axis=1) / totals[..., 0].sum(axis=1)


def debiased_absolute_error(totals: np.ndarray) -> np.ndarray:
    """The same less what chance alone adds (Kumar et al. 2019, arXiv 1909.10155, their estimator for the ℓ1 error).

    In a bin of n films whose observed frequency is o, another sample's would be about normal(o, o(1 − o)/n). The mean
    of |that − mean probability| exceeds |o − mean probability|; the excess, here in closed form (the folded normal's
    mean), is taken off. Below 0 when the error is smaller than chance explains.
    """
    from scipy.special import ndtr

    n = totals[..., 0]
    filled = n > 0
    size = np.where(filled, n, 1.0)
    observed = totals[..., 1] / size
    gap = np.abs(observed - totals[..., 2] / size)
    spread = np.sqrt(np.clip(observed * (1 - observed), 0.0, None) / size)
    known = spread > 0
    ratio = gap / np.where(known, spread, 1.0)
    folded = spread * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + gap * (1 - 2 * ndtr(-ratio))
    excess = np.where(known, folded - gap, 0.0)
    with np.errstate(invalid="ignore"):
        return np.where(filled, n * (gap - excess), 0.0).sum(axis=1) / n.sum(axis=1)


def debiased_squared_error(totals: np.ndarray) -> np.ndarray:
    """Σ over bins of share · [(observed − mean probability)² − o(1 − o)/(n − 1)]: (R,); below 0 by chance.

    Kumar et al. 2019, arXiv 1909.10155; Roelofs et al. 2022, arXiv 2012.08668. A bin of less than two films adds 0.
    """
    n = totals[..., 0]
    enough = n >= 2
    size = np.where(enough, n, 2.0)
    observed = totals[..., 1] / size
    error = (observed - totals[..., 2] / size) ** 2 - observed * (1 - observed) / (size - 1)
    with np.errstate(invalid="ignore"):
        return np.where(enough, n * error, 0.0).sum(axis=1) / n.sum(axis=1)
