"""Logistic recalibration of many resamples: plain Newton steps from the fit of the films as they are.

As `_kernels.recalibration` and `_kernels.offset_intercept`. Films that weigh nothing are left out of a resample
before it is fitted, and the exponential is a polynomial, so that the processor takes several films at a time. Where
plain steps do not close in, the fit is left to `_kernels`, which damps them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._kernels import numba

#: Steps before a fit is handed on; from a neighbour's fit it takes about four.
_STEPS = 25
#: 2 to the power of minus k; beyond, exp(−x) is 0 in double precision.
HALVES = 0.5 ** np.arange(1076, dtype=np.float64)


def compiled_with(**options: Any) -> Any:
    """A decorator: machine code, kept on disk where that can be written (as `_kernels.compiled`)."""

    def wrap(function: Any) -> Any:
        try:
            return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        except RuntimeError:
            return numba.njit(nogil=True, error_model="numpy", **options)(function)

    return wrap


#: Sums may be taken in any order: they differ by rounding, 1e-15 of their size.
ANY_ORDER = {"reassoc", "contract", "nsz"}


@compiled_with()
def falling(x: float, halves: np.ndarray) -> float:
    """exp(−x) for x ≥ 0, to about 3e-16 of its value: 2^−k · exp(r), with r within ±log(2)/2 of 0."""
    x = min(x, 744.0)
    k = int(x * 1.4426950408889634 + 0.5)
    r = (k * 0.6931471803691238 - x) + k * 1.9082149292705877e-10  # log(2) in two parts, the first exact times k
    high = 2.505210838544172e-08 + r * (2.08767569878681e-09 + r * 1.6059043836821613e-10)
    high = 2.48015873015873e-05 + r * (2.7557319223985893e-06 + r * (2.755731922398589e-07 + r * high))
    high = 0.008333333333333333 + r * (0.001388888888888889 + r * (0.0001984126984126984 + r * high))
    power = 1.0 + r * (1.0 + r * (0.5 + r * (0.16666666666666666 + r * (0.041666666666666664 + r * high))))
    return power * halves[k]


@compiled_with(fastmath=ANY_ORDER)
def recalibration(
    z: np.ndarray, y: np.ndarray, group: np.ndarray, counts: np.ndarray, start: np.ndarray, halves: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(intercept and slope (R, 2), whether it is to be fitted otherwise (R,)) for logits z, labels y and groups (N,).

    NaN where a cut on the logits separates the classes. start (2,): where each fit begins.
    """
    resamples = counts.shape[1]
    found = np.full((resamples, 2), np.nan)
    otherwise = np.zeros(resamples, dtype=np.bool_)
    its_z, its_y, its_w = np.empty(z.size), np.empty(z.size), np.empty(z.size)
    for r in range(resamples):
        low_positive = low_negative = np.inf
        high_positive = high_negative = -np.inf
        m = 0
        for n in range(z.size):
            weight = counts[group[n], r]
            its_z[m], its_y[m], its_w[m] = z[n], y[n], weight
            m += weight > 0
        for n in range(m):
            if its_y[n] == 1.0:
                low_positive, high_positive = min(low_positive, its_z[n]), max(high_positive, its_z[n])
            else:
                low_negative, high_negative = min(low_negative, its_z[n]), max(high_negative, its_z[n])
        if high_negative <= low_positive or high_positive <= low_negative:
            continue
        a, b = start[0], start[1]
        otherwise[r] = True
        for _ in range(_STEPS):
            gradient_a = gradient_b = curve_aa = curve_ab = curve_bb = 0.0
            for n in range(m):
                eta = a + b * its_z[n]
                small = falling(abs(eta), halves)
                share = 1.0 / (1.0 + small)
                residual = its_w[n] * (its_y[n] - (share if eta >= 0 else small * share))
                spread = its_w[n] * small * share * share
                gradient_a += residual
                gradient_b += residual * its_z[n]
                curve_aa += spread
                curve_ab += spread * its_z[n]
                curve_bb += spread * its_z[n] * its_z[n]
            determinant = curve_aa * curve_bb - curve_ab * curve_ab
            if not determinant > 0:
                break
            step_a = (curve_bb * gradient_a - curve_ab * gradient_b) / determinant
            step_b = (curve_aa * gradient_b - curve_ab * gradient_a) / determinant
            a, b = a + step_a, b + step_b
            if not abs(step_a) + abs(step_b) < 1e6:
                break
            if abs(step_a) < 1e-10 * (1 + abs(a)) and abs(step_b) < 1e-10 * (1 + abs(b)):
                found[r, 0], found[r, 1] = a, b
                otherwise[r] = False
                break
    return found, otherwise


@compiled_with(fastmath=ANY_ORDER)
def offset_intercept(
    z: np.ndarray, y: np.ndarray, group: np.ndarray, counts: np.ndarray, start: float, halves: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The a for which the probabilities of a + z (N,) sum to the positives, NaN where one class is alone: (R,).

    And (R,) whether it is to be fitted otherwise: where all probabilities are next to 0 or 1 the sum hardly moves.

    Newton steps kept inside a bracket that shrinks, from `start`.
    """
    resamples = counts.shape[1]
    found = np.full(resamples, np.nan)
    otherwise = np.zeros(resamples, dtype=np.bool_)
    its_z, its_w = np.empty(z.size), np.empty(z.size)
    for r in range(resamples):
        positives = everything = reach = 0.0
        m = 0
        for n in range(z.size):
            weight = counts[group[n], r]
            its_z[m], its_w[m] = z[n], weight
            m += weight > 0
            everything += weight
            positives += weight * y[n]
        if positives == 0 or positives == everything:
            continue
        for n in range(m):
            reach = max(reach, abs(its_z[n]))
        level = np.log(positives / (everything - positives))
        low, high, a = level - reach - 1.0, level + reach + 1.0, start
        if not low < a < high:
            a = level
        spread = 0.0
        for _ in range(200):
            total = spread = 0.0
            for n in range(m):
                eta = a + its_z[n]
                small = falling(abs(eta), halves)
                share = 1.0 / (1.0 + small)
                total += its_w[n] * (share if eta >= 0 else small * share)
                spread += its_w[n] * small * share * share
            if total > positives:
                high = a
            else:
                low = a
            step = (positives - total) / spread if spread > 0 else np.inf
            if abs(step) < 1e-9 * (1 + abs(a)):  # the next one would be of the order of its square
                a += step
                break
            a = a + step if low < a + step < high else (low + high) / 2
        found[r] = a
        otherwise[r] = not spread > 1e-4
    return found, otherwise
