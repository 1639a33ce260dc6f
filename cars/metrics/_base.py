"""What all metrics share: the checks of their input, the weighted form, and how they register.

A metric is written once, for weighted films, and used two ways:

    auprc(y_true, prob)                      one number; every film counts once
    auprc(y_true, prob, weights)             (R,) numbers; row r of weights (R, N) says how often film n counts

The second form is what makes a patient-level bootstrap of 2,000 resamples fast: a resample is a row of weights, so
films are sorted once, not 2,000 times.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from . import METRICS

if TYPE_CHECKING:
    from ._shared import Case

#: (y (N,) float of 0 and 1, prob (N,) float64, weights (R, N) uint8 or float64[, threshold]) → (R,) float64
Weighted = Callable[..., np.ndarray]
#: direction → what pages say of it; a "target" metric names its own.
_BETTER = {"higher": "higher is better", "lower": "lower is better", "none": "neither more nor less is better"}


def metric(
    name: str,
    *,
    label: str,
    direction: str,
    range: tuple[float, float],
    paper: str,
    ranks: bool,
    target: float | None = None,
    threshold: bool = False,
    scaling: bool | None = None,
    costly: bool = False,
    shared: Callable[[Case], np.ndarray] | None = None,
) -> Callable[[Weighted], Callable[..., Any]]:
    """Decorator: register a weighted function as the metric `name`.

    Args:
        label: how pages write it. direction: "higher" or "lower" is better; "target": the nearer to `target` the
            better; "none": it describes, and nothing is better. Differences are judged for the first two only.
        range: lowest and highest value. paper: where it is defined.
        ranks: True when only the order of the probabilities matters.
        threshold: True when the function takes a fourth argument, the probability from which a film is called positive;
            callers choose it on other films than those scored.
        scaling: whether temperature scaling can change the value; by default what `ranks` implies. A threshold is
            scaled along with the probabilities, so it cannot change those.
        costly: True when a resample takes much longer than a pass over the films; it is then given fewer of them.
        shared: a second form that takes a `Case` and gives the same numbers from what the metrics of a case share.
    """
    if direction not in (*_BETTER, "target") or (direction == "target") != (target is not None):
        raise DataError(
            f"The metric {name} has direction {direction!r} and target {target!r}.",
            "Directions are higher, lower, target (with a target) and none.",
        )

    def wrap(function: Weighted) -> Callable[..., Any]:
        @functools.wraps(function)
        def checked(y_true: Any, prob: Any, weights: Any = None, threshold: float = 0.5) -> Any:
            y, p, w = check(name, y_true, prob, weights)
            extra = (float(threshold),) if checked.threshold else ()
            values = function(y, p, w, *extra) if y.size else np.full(len(w), np.nan)
            return float(values[0]) if weights is None else values

        vars(checked).update(
            metric=name, label=label, direction=direction, range=range, paper=paper, ranks=ranks, target=target,
            threshold=threshold, scaling=(not ranks and not threshold) if scaling is None else scaling, costly=costly,
            shared=shared, better=_BETTER.get(direction) or f"{target:g} is best",
        )  # fmt: skip
        del checked.__wrapped__  # the inner function has another signature; help() should show this one
        return METRICS.register(name)(checked)

    return wrap


def check(name: str, y_true: Any, prob: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays of the agreed shapes; whole weights up to 255 as uint8. Raises: DataError that quotes the wrong value."""
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
        return y, p, np.ones((1, y.size), dtype=np.uint8)
    w = np.asarray(weights)
    if w.ndim != 2 or w.shape[1] != y.size:
        raise DataError(f"{name} got weights of shape {w.shape} for {y.size} films.", "Weights are (R, films).")
    if w.dtype == np.uint8:
        return y, p, w
    w = w.astype(np.float64)
    wrong = w[~((w >= 0) & np.isfinite(w))]
    if wrong.size:
        raise DataError(f"{name} got the weight {wrong[0]:g}.", "A weight is finite and not negative.")
    return y, p, w


def sorted_by(p: np.ndarray, highest_first: bool) -> tuple[np.ndarray, np.ndarray]:
    """(order (N,) of the films by probability, whether each film of that order ends a run of ties (N,) bool)."""
    order = np.argsort(-p if highest_first else p, kind="stable")
    return order, np.append(np.diff(p[order]) != 0, True)


def sums(columns: list[np.ndarray], w: np.ndarray, group: np.ndarray | None = None, groups: int = 1) -> np.ndarray:
    """Weighted sums of columns, each (N,), within each group (N,) of films: (R, groups, columns)."""
    from . import _kernels

    inside = np.zeros(w.shape[1], dtype=np.int64) if group is None else group
    return _kernels.sums(inside, np.stack(columns, axis=1), w, groups)


def mean(values: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Weighted mean of values (N,) under each row of w (R, N): (R,); NaN where a row has no weight."""
    totals = sums([np.asarray(values, dtype=np.float64), np.ones(len(values))], w)[:, 0]
    with np.errstate(invalid="ignore"):
        return totals[:, 0] / totals[:, 1]
