"""Scores of one set of films and their resamples: of a unit, of the mean over seeds, of the ensemble, of a difference.

Two ways to put seeds together, and both are given:
    mean       the mean of the seeds' metrics: what one training gives, on average. Gains are judged by it.
    ensemble   the metric of the mean probability: another, usually better model that costs as many passes as seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from ..metrics import METRICS
from ..metrics._shared import Draws
from . import bootstrap

MACRO = "macro"

#: (finding or "macro", metric, calibrated)
Key = tuple[str, str, bool]


@dataclass(frozen=True)
class Statistic:
    """A score, its resampled values over patients (R,), its value at each seed; where it has none, why."""

    value: float
    resampled: np.ndarray
    by_seed: np.ndarray = field(default_factory=lambda: np.empty(0))
    reason: str | None = None


Statistics = dict[Key, Statistic]


@dataclass(frozen=True)
class Forecast:
    """One unit's probabilities of some films, or an ensemble's: before and after temperature scaling, (N, K) each.

    thresholds: (K,), of the probabilities before scaling. learned: (K,) bool, findings with a training positive.
    """

    plain: np.ndarray
    scaled: np.ndarray
    thresholds: np.ndarray
    learned: np.ndarray


@dataclass(frozen=True)
class Cases:
    """What forecasts are scored against. y, known: (N, K). weights: (R, N). costly: resamples of a costly metric."""

    y: np.ndarray
    known: np.ndarray
    weights: np.ndarray
    costly: int
    findings: Sequence[str]

    @cached_property
    def draws(self) -> Draws | np.ndarray:
        """The resamples, by patient where they are counts; else the weights as they are."""
        return Draws.of(self.weights) if self.weights.dtype == np.uint8 else self.weights

    def resamples(self, metric: str) -> int:
        """How many resamples that metric gets."""
        return min(len(self.weights), self.costly) if METRICS.get(metric).costly else len(self.weights)

    def undefined(self, metric: str, reason: str) -> Statistic:
        """A statistic without a value."""
        return Statistic(float("nan"), np.full(self.resamples(metric), np.nan), reason=reason)


def of_forecast(
    forecast: Forecast, cases: Cases, columns: Iterable[int], macro: Sequence[int], metrics: Sequence[str],
    inside: np.ndarray | None = None,
) -> Statistics:  # fmt: skip
    """Every metric of one forecast, for the findings `columns` and the mean over `macro`, before and after scaling.

    inside: (N,) bool, the films that count; all by default.
    """
    keys: list[tuple[int, bool, list[str]]] = []
    tasks = []
    columns = list(columns)
    for column in columns:
        for calibrated in (False, True):
            # of what scaling cannot change there is one statistic for both
            names = [name for name in metrics if not calibrated or METRICS.get(name).scaling]
            keys.append((column, calibrated, names))
            tasks.append(partial(_of_finding, forecast, cases, column, calibrated, names, inside))
    found: Statistics = {}
    for (column, calibrated, names), statistics in zip(keys, bootstrap.in_threads(tasks)):
        for name, statistic in zip(names, statistics):
            found[cases.findings[column], name, calibrated] = statistic
            if not METRICS.get(name).scaling:
                found[cases.findings[column], name, True] = statistic
    # finding by finding, metric by metric, as the tables list them
    in_order = [(cases.findings[c], name, after) for c in columns for name in metrics for after in (False, True)]
    found = {key: found[key] for key in in_order}
    for name in metrics:
        for calibrated in (False, True):
            parts = [found[cases.findings[c], name, calibrated] for c in macro]
            found[MACRO, name, calibrated] = mean_of(parts) if parts else cases.undefined(name, "no finding to average")
    return found


def _of_finding(
    forecast: Forecast, cases: Cases, column: int, calibrated: bool, names: Sequence[str], inside: np.ndarray | None
) -> list[Statistic]:
    """The metrics of one finding, before or after scaling."""
    rows = cases.known[:, column] if inside is None else cases.known[:, column] & inside
    reason = None
    if not forecast.learned[column]:
        reason = "no training film with the finding"
    elif not rows.any():
        reason = "no film with a known label"
    if reason:
        return [cases.undefined(name, reason) for name in names]
    y = cases.y[rows, column].astype(np.float64)
    prob = (forecast.scaled if calibrated else forecast.plain)[rows, column].astype(np.float64)
    threshold = float(forecast.thresholds[column])
    values = bootstrap.resample_all(names, y, prob, cases.draws, rows, cases.costly, threshold)
    return [
        Statistic(value, resampled, reason=_reason(value, y, threshold if METRICS.get(name).threshold else 0.5))
        for name, (value, resampled) in zip(names, values)
    ]


def _reason(value: float, y: np.ndarray, threshold: float) -> str | None:
    """Why a metric has no value on these labels."""
    if not np.isnan(value):
        return None
    if np.isnan(threshold):
        return "no threshold, since the validate films lack the finding or films without it"
    if not (y == 1).any():
        return "no film with the finding"
    if not (y == 0).any():
        return "no film without the finding"
    return "no finite value: a cut on the probability separates the classes"


def mean_of(parts: Sequence[Statistic]) -> Statistic:
    """The plain mean, resample by resample; undefined as soon as one part is."""
    reason = next((p.reason for p in parts if p.reason), None)
    return Statistic(
        float(np.mean([p.value for p in parts])),
        np.mean([p.resampled for p in parts], axis=0),
        reason=f"a finding of the mean has none: {reason}" if reason else None,
    )


def _same_when_scaled(key: Key) -> bool:
    return key[2] and not METRICS.get(key[1]).scaling


def over_seeds(by_seed: Sequence[Statistics]) -> Statistics:
    """The mean over seeds of each statistic, with the values that it averages."""
    found: Statistics = {}
    for key in by_seed[0]:
        if _same_when_scaled(key):
            found[key] = found[key[0], key[1], False]
            continue
        parts = [one[key] for one in by_seed]
        found[key] = Statistic(
            float(np.mean([p.value for p in parts])),
            np.mean([p.resampled for p in parts], axis=0),
            np.array([p.value for p in parts]),
            next((p.reason for p in parts if p.reason), None),
        )
    return found


def ensemble(forecasts: Sequence[Forecast], thresholds: np.ndarray) -> Forecast:
    """The mean probability of the units, before scaling and of the scaled ones; thresholds (K,) of its own."""
    return Forecast(
        np.mean([f.plain for f in forecasts], axis=0),
        np.mean([f.scaled for f in forecasts], axis=0),
        thresholds,
        np.all([f.learned for f in forecasts], axis=0),
    )


def difference(arm: Statistics, real: Statistics) -> Statistics:
    """arm − real of each statistic, paired by resample, and by seed where both have the same number of them."""
    found: Statistics = {}
    for key, a in arm.items():
        if _same_when_scaled(key):
            found[key] = found[key[0], key[1], False]
            continue
        b = real[key]
        paired = a.by_seed - b.by_seed if len(a.by_seed) == len(b.by_seed) else np.empty(0)
        found[key] = Statistic(a.value - b.value, a.resampled - b.resampled, paired, a.reason or b.reason)
    return found
