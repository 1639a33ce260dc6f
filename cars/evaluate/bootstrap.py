"""Patient-level bootstrap: how far a test score could move with other patients from the same source.

Films of one patient are alike, so whole patients are drawn, with replacement, and all films of a patient come along
(the cluster bootstrap: Field and Welsh, Bootstrapping clustered data, JRSS B 2007). A resample is a row of film weights
that depends only on the patients and the seed: every backbone and arm is scored on the same resamples, so a difference
between two of them is paired. Intervals are percentile intervals (Efron and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import SettingError


@dataclass(frozen=True)
class Interval:
    """A statistic and its percentile interval. `undefined` resamples (of `resamples`) had no value and are left out."""

    value: float
    low: float
    high: float
    resamples: int
    undefined: int


def patient_weights(subjects: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each film counts in each resample: float64 (resamples, films), whole numbers.

    Args:
        subjects: (films,) the patient of each film.
        seed: the same seed and the same set of patients give the same draw for each patient, in whatever order the
            films come.
    """
    patients, of_film = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    rng = np.random.default_rng(seed)
    n = len(patients)
    draws = rng.multinomial(n, np.full(n, 1 / n), size=resamples) if n else np.zeros((resamples, 0))
    return draws[:, of_film].astype(np.float64)


def seed_weights(seeds: int, resamples: int, seed: int) -> np.ndarray:
    """The share of each training seed in each resample: (resamples, seeds), rows sum to 1.

    Training again with another seed moves a score too, so the seeds are drawn with replacement beside the patients.
    With one seed there is nothing to draw and the interval holds the patients' share only.
    """
    rng = np.random.default_rng([seed, 1])
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds


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
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high), len(resampled), undefined)


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
