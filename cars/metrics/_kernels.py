"""The loops of the metrics over resamples × films, compiled by numba: one pass a resample, nothing of size (R, N) made.

Imported by the metrics when they are first called, since numba takes a second to import. Each kernel takes weights
w (R, N), uint8 (the counts of a bootstrap) or float64, reads a row at a time and gives up the interpreter lock, so
that threads may share the rows. Compiled code is kept beside the file, or in the user's cache where that cannot be
written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def _numba() -> Any:
    """numba, which imports whatever is called `coverage` and breaks where that is not the package that measures tests.

    Folders and scripts of that name are near at hand in a project about coverage, so numba gets to see none.
    """
    present = sys.modules.get("coverage", sys)
    if present is None or hasattr(present, "types"):
        import numba
    else:
        sys.modules["coverage"] = None  # type: ignore[assignment]
        try:
            import numba
        finally:
            del sys.modules["coverage"]
            if present is not sys:
                sys.modules["coverage"] = present
    return numba


numba = _numba()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in machine code, compiled at its first call."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True)(function)


@compiled
def auroc(order: np.ndarray, last: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """order (N,): films from the lowest probability; last (N,): it ends its run of ties; y (N,): in that order."""
    values = np.empty(w.shape[0])
    for r in range(w.shape[0]):
        positives = negatives = area = tied_positives = tied_negatives = 0.0
        for i in range(order.size):
            weight = float(w[r, order[i]])
            tied_positives += weight * y[i]
            tied_negatives += weight * (1.0 - y[i])
            if last[i]:
                # a positive beats every negative below it and half of those that tie
                area += tied_positives * (negatives + tied_negatives / 2)
                positives += tied_positives
                negatives += tied_negatives
                tied_positives = tied_negatives = 0.0
        values[r] = area / (positives * negatives) if positives > 0 and negatives > 0 else np.nan
    return values


@compiled
def auprc(order: np.ndarray, last: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """order (N,): films from the highest probability; last, y: as for `auroc`, in that order."""
    values = np.empty(w.shape[0])
    for r in range(w.shape[0]):
        positives = everything = area = gained = 0.0
        for i in range(order.size):
            weight = float(w[r, order[i]])
            everything += weight
            gained += weight * y[i]
            if last[i] and gained > 0:
                positives += gained
                area += gained * positives / everything
                gained = 0.0
        values[r] = area / positives if positives > 0 and everything > positives else np.nan
    return values


@compiled
def sensitivity_at(order: np.ndarray, last: np.ndarray, y: np.ndarray, w: np.ndarray, specificity: float) -> np.ndarray:
    """The ROC curve's height at 1 − specificity, straight between its points; order: from the highest probability."""
    values = np.empty(w.shape[0])
    for r in range(w.shape[0]):
        positives = negatives = 0.0
        for i in range(order.size):
            weight = float(w[r, order[i]])
            positives += weight * y[i]
            negatives += weight * (1.0 - y[i])
        if positives == 0 or negatives == 0:
            values[r] = np.nan
            continue
        allowed = (1.0 - specificity) * negatives
        hits = alarms = tied_hits = tied_alarms = 0.0
        for i in range(order.size):
            weight = float(w[r, order[i]])
            tied_hits += weight * y[i]
            tied_alarms += weight * (1.0 - y[i])
            if last[i]:
                if alarms + tied_alarms > allowed + 1e-9 * negatives:  # 1 − 0.9 is a little less than a tenth
                    hits += tied_hits * (allowed - alarms) / tied_alarms
                    break
                hits += tied_hits
                alarms += tied_alarms
                tied_hits = tied_alarms = 0.0
        values[r] = hits / positives
    return values


@compiled
def sums(group: np.ndarray, columns: np.ndarray, w: np.ndarray, groups: int) -> np.ndarray:
    """Weighted sums of columns (N, C) within each group (N,): (R, groups, C)."""
    totals = np.zeros((w.shape[0], groups, columns.shape[1]))
    for r in range(w.shape[0]):
        for n in range(group.size):
            weight = float(w[r, n])
            if weight != 0:
                for c in range(columns.shape[1]):
                    totals[r, group[n], c] += weight * columns[n, c]
    return totals


@compiled
def quantile_sums(order: np.ndarray, last: np.ndarray, columns: np.ndarray, w: np.ndarray, groups: int) -> np.ndarray:
    """As `sums`, over groups of equal mass; order, columns: films from the lowest probability; (R, groups, C).

    A run of ties goes where the last of its copies goes, which is where NumPy's quantiles (linear) of the films,
    written out as often as they weigh, as the edges of half-open bins would put it.
    """
    totals = np.zeros((w.shape[0], groups, columns.shape[1]))
    run = np.zeros(columns.shape[1])
    for r in range(w.shape[0]):
        everything = 0.0
        for i in range(order.size):
            everything += float(w[r, order[i]])
        before = 0.0
        run[:] = 0.0
        for i in range(order.size):
            weight = float(w[r, order[i]])
            before += weight
            for c in range(columns.shape[1]):
                run[c] += weight * columns[i, c]
            if last[i]:
                group = 0
                if everything > 1:
                    group = min(groups - 1, max(0, int(groups * (before - 1.0) / (everything - 1.0))))
                for c in range(columns.shape[1]):
                    totals[r, group, c] += run[c]
                run[:] = 0.0
    return totals


@compiled
def recalibration(z: np.ndarray, y: np.ndarray, w: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Intercept and slope of the logistic regression of y on the logits z (N,), by damped Newton steps: (R, 2).

    NaN where no finite fit exists: one class alone, or a logit that separates the classes (a tie at the border counts
    as separated, since the likelihood then still rises without end). start (2,): where each row begins.
    """
    found = np.empty((w.shape[0], 2))
    for r in range(w.shape[0]):
        found[r, :] = np.nan
        low_positive = low_negative = np.inf
        high_positive = high_negative = -np.inf
        for n in range(z.size):
            if w[r, n] > 0:
                if y[n] == 1:
                    low_positive, high_positive = min(low_positive, z[n]), max(high_positive, z[n])
                else:
                    low_negative, high_negative = min(low_negative, z[n]), max(high_negative, z[n])
        if high_negative <= low_positive or high_positive <= low_negative:
            continue
        a, b, loss = start[0], start[1], np.inf
        step_a = step_b = 0.0
        for _ in range(200):
            new = gradient_a = gradient_b = curve_aa = curve_ab = curve_bb = 0.0
            for n in range(z.size):
                weight = float(w[r, n])
                if weight > 0:
                    eta = a + b * z[n]
                    small = np.exp(-abs(eta))
                    p = 1.0 / (1.0 + small) if eta >= 0 else small / (1.0 + small)
                    new += weight * (max(eta, 0.0) + np.log1p(small) - y[n] * eta)
                    residual = weight * (y[n] - p)
                    spread = weight * small / (1.0 + small) ** 2
                    gradient_a += residual
                    gradient_b += residual * z[n]
                    curve_aa += spread
                    curve_ab += spread * z[n]
                    curve_bb += spread * z[n] * z[n]
            if new > loss + 1e-12 * abs(loss):  # the step went too far: half of it
                step_a, step_b = step_a / 2, step_b / 2
                a, b = a - step_a, b - step_b
                continue
            loss = new
            determinant = curve_aa * curve_bb - curve_ab * curve_ab
            if determinant <= 0:
                break
            step_a = (curve_bb * gradient_a - curve_ab * gradient_b) / determinant
            step_b = (curve_aa * gradient_b - curve_ab * gradient_a) / determinant
            a, b = a + step_a, b + step_b
            if abs(step_a) < 1e-10 * (1 + abs(a)) and abs(step_b) < 1e-10 * (1 + abs(b)):
                found[r, 0], found[r, 1] = a, b
                break
    return found


@compiled
def offset_intercept(z: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The a for which the probabilities of a + z (N,) sum to the positives: (R,); NaN where one class is alone.

    Newton steps kept inside a bracket that shrinks, since the sum rises with a.
    """
    found = np.empty(w.shape[0])
    for r in range(w.shape[0]):
        positives = everything = 0.0
        reach = 0.0
        for n in range(z.size):
            weight = float(w[r, n])
            if weight > 0:
                everything += weight
                positives += weight * y[n]
                reach = max(reach, abs(z[n]))
        found[r] = np.nan
        if positives == 0 or positives == everything:
            continue
        level = np.log(positives / (everything - positives))
        low, high, a = level - reach - 1.0, level + reach + 1.0, 0.0
        if not low < a < high:
            a = level
        for _ in range(200):
            total = spread = 0.0
            for n in range(z.size):
                weight = float(w[r, n])
                if weight > 0:
                    eta = a + z[n]
                    small = np.exp(-abs(eta))
                    total += weight * (1.0 / (1.0 + small) if eta >= 0 else small / (1.0 + small))
                    spread += weight * small / (1.0 + small) ** 2
            if total > positives:
                high = a
            else:
                low = a
            new = a + (positives - total) / spread if spread > 0 else (low + high) / 2
            if not low < new < high:
                new = (low + high) / 2
            if abs(new - a) < 1e-12 * (1 + abs(new)):
                a = new
                break
            a = new
        found[r] = a
    return found


@compiled
def harmonic(x: float) -> float:
    """Σ_{j=1..x} 1/j, and for x in between the digamma function of x + 1 plus Euler's constant; x ≥ 0, to 1e-14."""
    x += 1.0
    shift = 0.0
    while x < 12.0:
        shift -= 1.0 / x
        x += 1.0
    square = 1.0 / (x * x)
    series = square * (
        1 / 12
        - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square * (1 / 132 - square * 691 / 32760))))
    )
    return shift + np.log(x) - 0.5 / x - series + 0.5772156649015329


@compiled
def risk_area(order: np.ndarray, last: np.ndarray, loss: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Mean over k of the mean loss of the k first films; order: the most confident first; loss (N,): in that order.

    Films that tie have no order: the mean over all their orders, Σ_{j=1..m} (lost + j·rate) / (kept + j), by harmonic
    numbers.
    """
    values = np.empty(w.shape[0])
    for r in range(w.shape[0]):
        kept = lost = area = more = more_lost = 0.0
        before = 0.0  # harmonic(kept)
        for i in range(order.size):
            weight = float(w[r, order[i]])
            more += weight
            more_lost += weight * loss[i]
            if last[i] and more > 0:
                rate = more_lost / more
                after = harmonic(kept + more)
                area += rate * more + (lost - rate * kept) * (after - before)
                kept, lost, before = kept + more, lost + more_lost, after
                more = more_lost = 0.0
        values[r] = area / kept if kept > 0 else np.nan
    return values
