"""From films to patients or studies: how many units does an expected number of films belong to?

A unit has several films and must match with one of them, so units are no partition into cells, and the log-linear
model of expected.py is fitted to films. Its result is divided by the films per matching unit:

- Two items. A unit's films carry item i like draws from a beta-binomial, whose concentration is the one that gives the
  item's own number of units; so sex (all films of a patient or none) and view (any mixture) both come out right. The
  units expected among those with the other item follow, and the two ways round are averaged.
- More items. The logarithm of the films per unit is extrapolated from the more general patterns without a k-way
  interaction, and kept between 1 and the smallest parent's.

Either is then calibrated by one factor on the patterns of the same size that do occur. It is an approximation: on
clustered independent data the sum of expectations meets the sum of counts to 3% (tests/coverage/test_clustering.py).
"""

from __future__ import annotations

import numpy as np

from .expected import LARGEST_TABLE, Items, by_size, expected_films, mask_of, subsets_needed
from .rows import PatternCounter, positions


def expected_units(patterns: list[Items], counter: PatternCounter, unit: str, counted: dict[int, int]) -> np.ndarray:
    """(patterns,) float: the expected units of each pattern; NaN for patterns of fewer than two items.

    Args:
        patterns: item numbers, ascending. counter: over the same films as `counted`.
        unit: patient, study or film. counted: mask of items → units, for every pattern and the subsets of it that
            `subsets_needed` names.
    """
    masks = {mask_of(p) for p in patterns}.union(*map(subsets_needed, patterns))
    films = {m: counter.film_count(m) for m in masks}
    expected = expected_films(patterns, films)
    if unit == "film":
        return expected
    unit_of = counter.patient if unit == "patient" else counter.study
    for k, where in by_size(patterns).items():
        cells = [patterns[n] for n in where]
        actual_films = np.array([films[mask_of(c)] for c in cells], dtype=float)
        actual_units = np.array([counted[mask_of(c)] for c in cells], dtype=float)
        occurs = actual_units > 0
        if k == 2:
            pairs = PairConversion(cells, counter, unit_of)
            predicted = pairs.films_per_unit(expected[where])
            known = pairs.films_per_unit(actual_films)
        else:
            known = predicted = extrapolated(cells, films, counted)
        factor = calibration(actual_films[occurs] / actual_units[occurs], known[occurs])
        expected[where] /= 1 + factor * (predicted - 1)
    return expected


def calibration(actual: np.ndarray, predicted: np.ndarray) -> float:
    """c such that 1 + c·(predicted − 1) meets the actual films per unit on average, over patterns that occur."""
    spread = float((predicted - 1).sum())
    return max(float((actual - 1).sum()) / spread, 0.0) if spread > 1e-9 else 1.0


def extrapolated(patterns: list[Items], films: dict[int, int], units: dict[int, int]) -> np.ndarray:
    """(patterns,) films per unit by extrapolation; all patterns have the same number of items."""
    k = len(patterns[0])
    masks = [subsets_needed(p) for p in patterns]
    ratio = np.array([[films[m] / max(units[m], 1) for m in row] for row in masks])
    logs = np.log(np.maximum(ratio, 1.0))
    size = np.array([m.bit_count() for m in masks[0]])
    ceiling = logs[:, size == k - 1].min(axis=1)
    if k > LARGEST_TABLE:
        return np.exp(ceiling)
    sign = np.where((k - 1 - size) % 2 == 0, 1.0, -1.0)
    return np.exp(np.clip((sign * logs).sum(axis=1), 0.0, ceiling))


def none_of(draws: np.ndarray, mean: float, concentration: float) -> np.ndarray:
    """The chance that none of so many beta-binomial draws is a hit. mean in (0, 1), concentration > 0."""
    from scipy.special import gammaln

    misses = concentration * (1 - mean)
    return np.exp(gammaln(misses + draws) - gammaln(misses) - gammaln(concentration + draws) + gammaln(concentration))


def units_hit(histogram: np.ndarray, mean: float, concentration: float) -> float:
    """Expected units with a hit. histogram: position q holds how many units have q films."""
    mean = min(max(mean, 1e-12), 1 - 1e-12)
    return float((histogram * (1 - none_of(np.arange(len(histogram)), mean, concentration))).sum())


def concentration_of(histogram: np.ndarray, mean: float, units: float) -> float:
    """The concentration under which a share `mean` of the films hits `units` units; from e^-9 (all films of a unit
    alike) to e^12 (films independent)."""
    low, high = -9.0, 12.0
    for _ in range(40):
        middle = (low + high) / 2
        if units_hit(histogram, mean, float(np.exp(middle))) < units:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


class PairConversion:
    """Films per matching unit for pairs of items."""

    def __init__(self, pairs: list[Items], counter: PatternCounter, unit_of: np.ndarray) -> None:
        """unit_of: (films,) int, the unit of each of the counter's films."""
        self.pairs = pairs
        self.films = {i: counter.film_count(1 << i) for pair in pairs for i in pair}
        everywhere = self._histogram(unit_of)
        self.histogram = {i: self._histogram(unit_of[positions(counter.bitmap([i]))]) for i in self.films}
        self.concentration = {
            i: concentration_of(everywhere, n / len(unit_of), float(self.histogram[i][1:].sum()))
            for i, n in self.films.items()
        }

    @staticmethod
    def _histogram(units: np.ndarray) -> np.ndarray:
        """Position q: how many units have q of these films."""
        sizes = np.bincount(units)
        return np.bincount(sizes[sizes > 0], minlength=1)

    def films_per_unit(self, films: np.ndarray) -> np.ndarray:
        """(pairs,) ≥ 1, if so many films (pairs,) carried both items."""
        result = np.ones(len(self.pairs))
        for n, (a, b) in enumerate(self.pairs):
            if films[n] <= 0:
                continue
            ways = [
                units_hit(self.histogram[given], films[n] / self.films[given], self.concentration[item])
                for given, item in ((a, b), (b, a))
            ]
            result[n] = max(films[n] / np.sqrt(ways[0] * ways[1]), 1.0)
        return result
