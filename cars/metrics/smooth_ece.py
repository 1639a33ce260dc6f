"""Smooth ECE: calibration error by kernel smoothing, with no bins to choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ._base import metric

if TYPE_CHECKING:
    from ._shared import Draws

#: The bandwidth is not sought below this; a smaller error is given as the smoothed error at this bandwidth.
SMALLEST = 0.001
#: (cosines, points at which the smoothed residual is evaluated), for bandwidths down to 0.03, 0.008 and 0.001.
_LEVELS = ((64, 512), (256, 2048), (2560, 10240))
#: Beyond πkσ = 6.4 a cosine is damped to 1e-9 and left out.
_REACH = 6.4
_CHUNK = 256


@metric(
    "smooth_ece",
    label="Smooth ECE",
    direction="lower",
    range=(0.0, 1.0),
    paper="Błasiok and Nakkiran, Smooth ECE: principled reliability diagrams via kernel smoothing, 2023, "
    "arXiv 2309.12236",
    ranks=False,
    costly=True,
    shared=lambda case: case.smooth_ece(),
)
def smooth_ece(y_true: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """∫₀¹ |mean over films of K_σ(t, prob) · (y − prob)| dt at the σ that equals the integral itself.

    K_σ is the Gaussian of standard deviation σ reflected at 0 and 1. The integral never rises with σ, so there is one
    such σ; it is found to 1e-9, and not sought below 0.001. NaN without a film.
    """
    return smooth_ece_at(y_true, prob, weights, None)[0]


def smooth_ece_at(
    y: np.ndarray, prob: np.ndarray, weights: np.ndarray, sigma: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """(integral (R,), bandwidth (R,)) at a given bandwidth of 0.001 or more, or at the fixed point for None.

    The reflected Gaussian is the heat kernel of the unit interval,
    K_σ(t, p) = 1 + 2 Σ_k exp(−(πkσ)²/2) cos(πkt) cos(πkp).
    So the films enter through the cosine coefficients of their residuals, once for all bandwidths, and a bandwidth
    costs one cosine transform. The integral is a midpoint sum, put right where the residual changes its sign.
    """
    value, width = np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    for start in range(0, len(weights), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(weights)))
        rows = rows[weights[rows].any(axis=1)]
        for cosines, points in _LEVELS:
            floor = _floor(cosines)
            if not len(rows) or (sigma is not None and sigma < floor):
                continue
            integral = _integrals(y, prob, weights[rows], cosines, points)
            if sigma is not None:
                widths = np.full(len(rows), float(sigma))
                found = integral(widths, np.arange(len(rows)))
            else:
                found, widths = _fixed_points(integral, len(rows), floor)
            value[rows], width[rows] = found, widths
            # at the floor the cosines left out would count: those rows again with more of them
            rows = rows[(widths <= floor) & (floor > SMALLEST)]
    return value, width


def shared_smooth_ece(y: np.ndarray, prob: np.ndarray, draws: Draws) -> np.ndarray:
    """`smooth_ece` of resamples of groups of films, at least one film: (R,)."""
    from . import _smooth
    from ._fits import HALVES

    order = np.argsort(draws.group, kind="stable")
    p, residual, group = prob[order], (y - prob)[order], draws.group[order]
    starts = np.flatnonzero(np.append(True, np.diff(group) > 0))
    counts = draws.counts[group[starts]].astype(np.float64)
    total = np.diff(np.append(starts, len(group))) @ counts
    values = np.full(len(draws), np.nan)
    rows = np.flatnonzero(total > 0)
    reach = float(p.min()), float(p.max())
    start, unsettled = 0.05, []
    for cosines, points in _LEVELS:
        sums = _smooth.cosine_sums(residual, p, starts, cosines)
        coefficients = (counts[:, rows] / total[rows]).T @ sums
        coefficients[:, 1:] *= 2
        paired = np.ascontiguousarray(coefficients.reshape(len(rows), -1, 2).transpose(0, 2, 1))
        floor = _floor(cosines)
        found, settled = _smooth.fixed_points(paired, _smooth.waves(points, cosines), floor, start, *reach, HALVES)
        values[rows] = found
        unsettled.append(rows[settled < 0])
        rows = rows[settled == 0]
        if not len(rows):
            break
        start = float(np.nanmedian(found)) if (settled == 1).any() else floor / 2
    rest = np.concatenate([*unsettled, rows])  # at the very floor, or where a fixed point was not closed in upon
    weights = np.ascontiguousarray(draws.counts[:, rest].T)[:, draws.group]
    values[rest] = smooth_ece_at(y, prob, weights, None)[0]
    return values


def _floor(cosines: int) -> float:
    """The smallest bandwidth that so many cosines are good for."""
    return _REACH / (np.pi * cosines) if cosines < _LEVELS[-1][0] else SMALLEST


#: (bandwidths (n,), rows (n,)) → integrals (n,)
Integral = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _integrals(y: np.ndarray, p: np.ndarray, w: np.ndarray, cosines: int, points: int) -> Integral:
    from scipy.fft import dct

    weights = w.astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    coefficients = np.empty((len(w), cosines))
    residual = (y - p)[:, None]
    for start in range(0, cosines, 256):
        k = np.arange(start, min(start + 256, cosines))
        coefficients[:, k] = weights @ (residual * np.cos(np.pi * p[:, None] * k))
    damping = -((np.pi * np.arange(cosines)) ** 2) / 2

    def integral(sigma: np.ndarray, rows: np.ndarray) -> np.ndarray:
        smooth = np.zeros((len(rows), points))
        smooth[:, :cosines] = coefficients[rows] * np.exp(damping * sigma[:, None] ** 2)
        # type 3: x₀ + 2 Σ x_k cos(πk(j + ½)/points), the value at the middle of the j-th of `points` pieces
        curve = dct(smooth, type=3, axis=1, overwrite_x=True)
        total = np.abs(curve).sum(axis=1)
        # where the sign changes, two triangles stand in place of |a|/2 + |b|/2; and the sum over the arches on either
        # side is short by h²/12 of their slope there (Euler and Maclaurin), while at 0 and 1 the slope is 0
        row, left = np.nonzero(curve[:, :-1] * curve[:, 1:] < 0)
        a, b = np.abs(curve[row, left]), np.abs(curve[row, left + 1])
        np.add.at(total, row, (a + b) / 6 - a * b / (a + b))
        return total / points

    return integral


def _fixed_points(integral: Integral, n: int, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """(integral, σ) where σ = integral(σ), of each row; at σ = floor where the integral is smaller there.

    integral(σ) − σ falls strictly, so regula falsi with halved ends (Illinois) closes in from both sides.
    """
    everyone = np.arange(n)
    low, high = np.full(n, floor), np.ones(n)
    over, under = integral(low, everyone) - low, integral(high, everyone) - high
    at, value = low.copy(), over + low
    active = everyone[over > 0]
    kept = np.zeros(n, dtype=np.int8)  # which end stayed last time: −1 low, 1 high
    for _ in range(100):
        if not len(active):
            break
        a, b, f, g = low[active], high[active], over[active], under[active]
        middle = np.clip(b - g * (b - a) / (g - f), a, b)
        difference = integral(middle, active) - middle
        at[active], value[active] = middle, difference + middle
        up = difference > 0
        low[active], over[active] = np.where(up, middle, a), np.where(up, difference, f)
        high[active], under[active] = np.where(up, b, middle), np.where(up, g, difference)
        again = kept[active]
        under[active] = np.where(up & (again == 1), under[active] / 2, under[active])
        over[active] = np.where(~up & (again == -1), over[active] / 2, over[active])
        kept[active] = np.where(up, 1, -1)
        done = (np.abs(difference) < 1e-10) | (high[active] - low[active] < 1e-10)
        active = active[~done]
    return value, at
