"""The parts of the Brier score: reliability, resolution and uncertainty, with the terms within bins.

Murphy, A new vector partition of the probability score, Journal of Applied Meteorology 1973; Stephenson, Coelho and
Jolliffe, Two extra components in the Brier score decomposition, Weather and Forecasting 2008.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._bins import equal_width


@dataclass(frozen=True)
class BrierParts:
    """Each (R,). Brier = reliability − resolution + uncertainty + within_variance − within_covariance, exactly.

    within_variance: variance of the probabilities inside their bins. within_covariance: twice their covariance with the
    labels inside the bins. With one probability a bin both are 0, and Murphy's three parts suffice.
    """

    reliability: np.ndarray
    resolution: np.ndarray
    uncertainty: np.ndarray
    within_variance: np.ndarray
    within_covariance: np.ndarray

    @property
    def generalised_resolution(self) -> np.ndarray:
        """Resolution with the terms within bins (Stephenson et al. 2008): Brier = reliability − this + uncertainty."""
        return self.resolution - self.within_variance + self.within_covariance


def brier_parts(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> BrierParts:
    """The parts over 15 bins of equal width, for labels y (N,), probabilities p (N,) and weights w (R, N)."""
    return parts_of(equal_width([np.ones_like(p), y, p, p * p, p * y], p, w))


def parts_of(totals: np.ndarray) -> BrierParts:
    """The parts from sums of 1, y, p, p², p·y in each bin: (R, bins, 5)."""
    n, positives, forecast, squares, products = np.moveaxis(totals, 2, 0)
    size = np.where(n > 0, n, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        everything = n.sum(axis=1)
        prevalence = positives.sum(axis=1) / everything
        observed, stated = positives / size, forecast / size
        return BrierParts(
            reliability=(n * (stated - observed) ** 2).sum(axis=1) / everything,
            resolution=(n * (observed - prevalence[:, None]) ** 2).sum(axis=1) / everything,
            uncertainty=prevalence * (1 - prevalence),
            within_variance=(squares - forecast * stated).sum(axis=1) / everything,
            within_covariance=2 * (products - forecast * observed).sum(axis=1) / everything,
        )
