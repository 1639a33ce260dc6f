"""What all metrics share: the checks of their input, the weighted form, and how they register.

A metric is written once, for weighted films, and used two ways:

    auprc(y_true, prob)                      one number; every film counts once
    auprc(y_true, prob, weights)             (R,) numbers; row r of weights (R, N) says how often film n counts

The second form is what makes a patient-level bootstrap of 1,000 resamples fast: a resample is a row of weights, so
films are sorted once, not 1,000 times.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DataError
from . import METRICS

#: (y (N,) float of 0 and 1, prob (N,) float64, weights (R, N) float64) → (R,) float64
Weighted = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def metric(
    name: str, *, label: str, direction: str, range: tuple[float, float], paper: str, ranks: bool
) -> Callable[[Weighted], Callable[..., Any]]:
    """Decorator: register a weighted function as the metric `name`.

    Args:
        label: how pages write it. direction: "higher" or "lower" is better. range: lowest and highest value.
        paper: where it is defined.
        ranks: True when only the order of the probabilities matters, so that calibration cannot change it.
    """

    def wrap(function: Weighted) -> Callable[..., Any]:
        @functools.wraps(function)
        def checked(y_true: Any, prob: Any, weights: Any = None) -> Any:
            y, p, w = check(name, y_true, prob, weights)
            values = function(y, p, w) if y.size else np.full(len(w), np.nan)
            return float(values[0]) if weights is None else values

        vars(checked).update(metric=name, label=label, direction=direction, range=range, paper=paper, ranks=ranks)
        del checked.__wrapped__  # the inner function has another signature; help() should show this one
        return METRICS.register(name)(checked)

    return wrap


def check(name: str, y_true: Any, prob: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays of the agreed shapes. Raises: DataError that quotes the first wrong value."""
    y = np.asarray(y_true, dtype=np.float64)
    p = np.asarray(prob, dtype=np.float64)
    if y.ndim != 1 or y.shape != p.shape:
        raise DataError(
            f"{name} got labels of shape {y.shape} and probabilities of shape {p.shape}.",
            "Both must be one-dimensional and equally long.",
        )
    wrong = y[(y != 0) & (y != 1)]
    if wrong.size:
        raise DataError(f"{name} got the label {wrong[0]:g}.", "Labels are 0 or 1; leave out uncertain films first.")
    wrong = p[~((p >= 0) & (p <= 1))]  # NaN fails both comparisons
    if wrong.size:
        raise DataError(f"{name} got the probability {wrong[0]:g}.", "Probabilities lie in [0, 1].")
    if weights is None:
        return y, p, np.ones((1, y.size))
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 2 or w.shape[1] != y.size:
        raise DataError(f"{name} got weights of shape {w.shape} for {y.size} films.", "Weights are (R, films).")
    wrong = w[~((w >= 0) & np.isfinite(w))]
    if wrong.size:
        raise DataError(f"{name} got the weight {wrong[0]:g}.", "A weight is finite and not negative.")
    return y, p, w


def cumulative(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and of all films at or above each distinct probability, the highest first: both (R, T)."""
    order = np.argsort(-p, kind="stable")
    ends: Any = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))  # the last film of each run of ties
    if len(ends) == len(p):
        ends = slice(None)  # no ties: nothing to copy
    sorted_weights = w[:, order]
    everything = np.cumsum(sorted_weights, axis=1)[:, ends]
    positives = np.cumsum(sorted_weights * y[order], axis=1)[:, ends]
    return positives, everything


def mean(values: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Weighted mean of values (N,) under each row of w (R, N): (R,); NaN where a row has no weight."""
    with np.errstate(invalid="ignore"):
        return (w @ values) / w.sum(axis=1)
