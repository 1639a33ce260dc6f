"""Patient-level bootstrap: how far a test score could move with other patients from the same source.

Films of one patient are alike, so whole patients are drawn, with replacement, and all films of a patient come along
(the cluster bootstrap: Field and Welsh, Bootstrapping clustered data, JRSS B 2007). A resample is a row of film weights
that depends only on the patients and the seed: every backbone and arm is scored on the same resamples, so a difference
between two of them is paired. Intervals are percentile intervals (Efron and Tibshirani 1993, chapter 13).

Training again with another seed moves a score too. Where a unit was trained with several seeds, the mean over seeds is
the score, and `seed_noise` adds to its resamples what the mean could have been with other seeds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import SettingError
from ..metrics import METRICS
from ..metrics._shared import Case, Draws

#: Weights × films of one chunk of resamples, to bound the memory of a metric.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A statistic and its percentile interval. `undefined` resamples (of `resamples`) had no value and are left out."""

    value: float
    low: float
    high: float
    resamples: int
    undefined: int


@dataclass(frozen=True)
class Spread:
    """How exactly a mean over seeds is known: standard errors from the patients and from the seeds, and together.

    seeds is NaN with one seed, and `total` then holds the patients' share only. df: Satterthwaite's degrees of freedom.
    """

    total: float
    patients: float
    seeds: float
    df: float


def patient_weights(subjects: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each film counts in each resample: (resamples, films), uint8 (float64 past 255, which no draw reaches).

    Args:
        subjects: (films,) the patient of each film.
        seed: the same seed and the same set of patients give the same draw for each patient, in whatever order the
            films come.
    """
    patients, of_film = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    rng = np.random.default_rng(seed)
    n = len(patients)
    draws = rng.multinomial(n, np.full(n, 1 / n), size=resamples) if n else np.zeros((resamples, 0), dtype=np.int64)
    small = draws.max(initial=0) <= np.iinfo(np.uint8).max
    return draws.astype(np.uint8 if small else np.float64)[:, of_film]


def resample(
    metric: Callable[..., Any], y: np.ndarray, p: np.ndarray, weights: np.ndarray, **options: Any
) -> tuple[float, np.ndarray]:
    """A metric's value, and its value under each row of weights (R, N): (R,). options go to the metric."""
    rows = max(1, _CHUNK // max(1, len(y)))
    parts = [metric(y, p, weights[start : start + rows], **options) for start in range(0, len(weights), rows)]
    return metric(y, p, **options), np.concatenate(parts) if parts else np.empty(0)


def resample_all(
    names: Sequence[str], y: np.ndarray, p: np.ndarray, draws: Draws | np.ndarray, films: np.ndarray, costly: int,
    threshold: float,
) -> list[tuple[float, np.ndarray]]:  # fmt: skip
    """As `resample`, for metrics by name, each under the resamples that it gets.

    y, p (N,): of the `films`, bool, that the draws (R, all films) are taken of. costly: resamples of a costly metric.
    What the metrics share is computed once.
    """
    found = []
    by_patient = isinstance(draws, Draws)
    if by_patient:
        # the first resample holds every film once: the value itself
        own = draws.inside(films)
        case = Case(y, p, own, own.first(1 + costly), threshold)
    for name in names:
        metric = METRICS.get(name)
        if by_patient and metric.shared:
            values = metric.shared(case)
            found.append((float(values[0]), values[1:]))
            continue
        weights = own.weights() if by_patient else draws[:, films]
        options = {"threshold": threshold} if metric.threshold else {}
        found.append(resample(metric, y, p, weights[: costly if metric.costly else None], **options))
    return found


def in_threads(tasks: Sequence[Callable[[], Any]], workers: int | None = None) -> list[Any]:
    """The results of the tasks, in order, on as many threads as there are cores: the metrics' loops need no lock."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = workers or mine
    if count == 1 or len(tasks) < 2:
        return [task() for task in tasks]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda task: task(), tasks))


def pooled_deviation(by_seed: Sequence[np.ndarray]) -> tuple[float, int]:
    """(standard deviation between seeds, its degrees of freedom), pooled over groups of values (seeds,) each.

    A group is one backbone. Three seeds say little about their own spread; pooled, seven backbones say enough. It takes
    for granted that training noise is about as large in one backbone as in the next (as analysis of variance does).
    A group with a value missing, or of one seed, says nothing. (NaN, 0) where none says anything.
    """
    groups = [np.asarray(g, dtype=np.float64) for g in by_seed]
    groups = [g for g in groups if len(g) > 1 and np.isfinite(g).all()]
    df = sum(len(g) - 1 for g in groups)
    if not df:
        return float("nan"), 0
    return float(np.sqrt(sum(((g - g.mean()) ** 2).sum() for g in groups) / df)), df


def seed_noise(deviation: float, df: int, seeds: int, resamples: int, seed: int) -> np.ndarray:
    """What other training seeds would add to a mean over `seeds` of them: draws (resamples,).

    t(df) · deviation / √seeds, independent of the patients: with few seeds the deviation itself is uncertain, and
    Student's t has the tails for that. Resampling three seeds instead would give intervals that end at the worst and
    best of the three. Zeros with one seed, where nothing can be known of it.
    """
    if seeds < 2 or not df or not np.isfinite(deviation):
        return np.zeros(resamples)
    return _students(df, resamples, seed) * deviation / np.sqrt(seeds)


@lru_cache(maxsize=64)
def _students(df: int, resamples: int, seed: int) -> np.ndarray:
    """Draws of Student's t (resamples,), the same for every statistic."""
    draws = np.random.default_rng([seed, 1]).standard_t(df, resamples)
    draws.setflags(write=False)
    return draws


def spread(resampled: np.ndarray, deviation: float, df: int, seeds: int, patients: int) -> Spread:
    """Standard errors of a mean over seeds, from its resamples over patients (R,) and the deviation between seeds."""
    defined = resampled[~np.isnan(resampled)]
    of_patients = float(np.std(defined, ddof=1)) if len(defined) > 1 else float("nan")
    if seeds < 2 or not df or not np.isfinite(deviation):
        return Spread(of_patients, of_patients, float("nan"), float(max(patients - 1, 1)))
    of_seeds = deviation / np.sqrt(seeds)
    variance = of_patients**2 + of_seeds**2
    parts = of_patients**4 / max(patients - 1, 1) + of_seeds**4 / df
    freedom = variance**2 / parts if parts > 0 else float(max(patients - 1, 1))
    return Spread(float(np.sqrt(variance)), of_patients, float(of_seeds), float(freedom))


def smallest_effect(spread: Spread, level: float, tests: int = 1, power: float = 0.8) -> float:
    """The smallest true difference that a test at this n finds with the given power (minimal detectable effect).

    (t(1 − α/2) + t(power)) · standard error, with α = (1 − level) / tests: the level that Holm asks of the smallest p
    of `tests`, so it is the effect that would stand even if no other backbone showed any. Cohen, Statistical power
    analysis, 1988; Bloom, Minimum detectable effects, Evaluation Review 1995. NaN without a standard error.
    """
    from scipy.special import stdtrit  # Student's quantile; scipy.stats.t.ppf calls it, after much checking

    alpha = (1 - level) / max(tests, 1)
    return float((stdtrit(spread.df, 1 - alpha / 2) + stdtrit(spread.df, power)) * spread.total)


def interval(value: float, resampled: np.ndarray, level: float = 0.95) -> Interval:
    """The percentile interval of a statistic from its resampled values (R,); NaN ones are dropped and counted.

    Raises: SettingError for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise SettingError(f"level = {level!r} is not a share between 0 and 1.", "Use 0.95 for 95% intervals.")
    defined = resampled[~np.isnan(resampled)]
    undefined = len(resampled) - len(defined)
    if not len(defined) or np.isnan(value):
        return Interval(float(value), float("nan"), float("nan"), len(resampled), undefined)
    ordered = np.sort(defined)
    low, high = _quantile(ordered, (1 - level) / 2), _quantile(ordered, (1 + level) / 2)
    return Interval(float(value), low, high, len(resampled), undefined)


def _quantile(ordered: np.ndarray, share: float) -> float:
    """NumPy's quantile (linear) of sorted values, without its overhead: a report takes a hundred thousand of them."""
    at = (len(ordered) - 1) * share
    before = int(at)
    a, b = ordered[before], ordered[min(before + 1, len(ordered) - 1)]
    rest = at - before
    # as NumPy: from the nearer end, so that it never leaves the two
    return float(b - (b - a) * (1 - rest) if rest >= 0.5 else a + (b - a) * rest)


def p_value(differences: np.ndarray) -> float:
    """Two-sided bootstrap p of "no difference" from resampled paired differences (R,); NaN when none is defined.

    Twice the smaller share of resamples on either side of 0, counting 0 on both sides, with one added to each so that
    it is never 0 (Davison and Hinkley, Bootstrap methods and their application, 1997, section 4.2).
    """
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return float("nan")
    below, above = (defined <= 0).sum(), (defined >= 0).sum()
    return float(min(1.0, 2 * (min(below, above) + 1) / (len(defined) + 1)))


def holm(p: np.ndarray) -> np.ndarray:
    """p values adjusted for their number (Holm 1979); a NaN stays NaN and does not count as a test."""
    adjusted = np.full(len(p), np.nan)
    order = [i for i in np.argsort(p) if not np.isnan(p[i])]
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, float(p[i]) * (len(order) - rank)))
        adjusted[i] = highest
    return adjusted
