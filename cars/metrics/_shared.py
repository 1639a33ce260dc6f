"""What the metrics of one forecast share, each part computed once and for all resamples: sorting, bins, sums, fits.

A metric's own function states what it is, for any weights. Where it has a second form, `shared` of its registration,
that form takes a `Case` and gives the same numbers (rounding apart: 1e-12, and 1e-10 for smooth ECE, whose search stops
there) in a fraction of the time; `tests/metrics/test_shared.py` compares the two for every metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ._base import sorted_by
from ._bins import BINS, bin_of
from ._brier_parts import BrierParts, parts_of


@dataclass(frozen=True)
class Draws:
    """Resamples of films. counts (G, R) uint8: how often each group of films counts; group (N,): the one of each film.

    The films of a patient are a group, since they are drawn together.
    """

    counts: np.ndarray
    group: np.ndarray

    @classmethod
    def of(cls, weights: np.ndarray) -> Draws:
        """From weights (R, N) uint8, with a first resample in which every film counts once: R + 1 in all.

        Films that weigh alike in every resample become one group.
        """
        rows = np.ascontiguousarray(weights.T)
        known: dict[bytes, int] = {}
        group = np.array([known.setdefault(row.tobytes(), len(known)) for row in rows], dtype=np.int64)
        counts = np.ones((len(known), 1 + len(weights)), dtype=np.uint8)
        counts[group, 1:] = rows
        return cls(counts, group)

    def __len__(self) -> int:
        return self.counts.shape[1]

    def weights(self) -> np.ndarray:
        """A row for each resample but the first, as `of` takes them: (R, N)."""
        return np.ascontiguousarray(self.counts[:, 1:].T)[:, self.group]

    def inside(self, films: np.ndarray) -> Draws:
        """The same resamples of some of the films, bool (N,)."""
        return self if films.all() else Draws(self.counts, self.group[films])

    def first(self, resamples: int) -> Draws:
        """The first ones only."""
        return self if resamples >= len(self) else Draws(np.ascontiguousarray(self.counts[:, :resamples]), self.group)


@dataclass(frozen=True)
class Case:
    """One finding's forecast and the resamples that it is scored on.

    y (N,) 0 and 1, p (N,) in [0, 1], float64, at least one film; threshold: for the metrics that take one; few: the
    resamples of the costly metrics.
    """

    y: np.ndarray
    p: np.ndarray
    draws: Draws
    few: Draws
    threshold: float = 0.5

    @cached_property
    def positive(self) -> np.ndarray:
        """Bool (N,)."""
        return self.y == 1

    @cached_property
    def ranking(self) -> np.ndarray:
        """AUROC, AUPRC, sensitivity at a specificity of 0.90: (3, R)."""
        from . import _blocks
        from .sensitivity_at_90 import SPECIFICITY

        order, last = sorted_by(self.p, highest_first=True)
        return _blocks.ranking(self.draws.group[order], last, self.positive[order], self.draws.counts, SPECIFICITY)

    def risk_area(self) -> np.ndarray:
        """Area under the risk-coverage curve of the answers at 0.5: (R,)."""
        return risk_area((self.p >= 0.5) != self.positive, np.abs(self.p - 0.5), self.draws)

    @cached_property
    def films(self) -> np.ndarray:
        """How many films, and how many with the finding, count in each resample: (2, R)."""
        return self.total([np.ones_like(self.p), self.y])

    def total(self, columns: list[np.ndarray]) -> np.ndarray:
        """Weighted sums of columns, each (N,): (columns, R)."""
        return cell_sums(np.zeros(len(self.y), dtype=np.int64), columns, self.draws, 1)[0]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Weighted mean of values (N,): (R,); NaN in a resample without a film."""
        with np.errstate(invalid="ignore"):
            return self.total([values])[0] / self.films[0]

    def share(self, films: np.ndarray, hits: np.ndarray) -> np.ndarray:
        """Share of some films, bool (N,), that are hits, bool (N,): (R,); NaN without one, and without a threshold."""
        if np.isnan(self.threshold):
            return np.full(len(self.draws), np.nan)
        hit, every = self.total([1.0 * (films & hits), 1.0 * films])
        with np.errstate(invalid="ignore"):
            return hit / every

    @cached_property
    def brier_parts(self) -> BrierParts:
        """The parts of the Brier score, each (R,)."""
        return parts_of(self.equal_width)

    @cached_property
    def equal_width(self) -> np.ndarray:
        """Sums of 1, y, p, p², p·y over the bins of equal width that hold a film at all: (R, bins, 5)."""
        bins, cell = np.unique(bin_of(self.p), return_inverse=True)
        columns = [np.ones_like(self.p), self.y, self.p, self.p * self.p, self.p * self.y]
        return np.moveaxis(cell_sums(cell, columns, self.draws, len(bins)), 2, 0)

    @cached_property
    def equal_mass(self) -> np.ndarray:
        """Sums of 1, y, p over 15 bins of equal mass: (R, 15, 3)."""
        from . import _blocks

        order, last = sorted_by(self.p, highest_first=False)
        totals = _blocks.quantile_sums(
            self.draws.group[order], last, self.positive[order], self.p[order], self.draws.counts, BINS
        )
        return np.moveaxis(totals, 2, 0)

    def slope(self) -> np.ndarray:
        """Calibration slope, of few resamples: (R',)."""
        from ._logits import shared_recalibration

        return shared_recalibration(self.y, self.p, self.few)[:, 1]

    def intercept(self) -> np.ndarray:
        """Calibration intercept, of few resamples: (R',)."""
        from ._logits import shared_intercept

        return shared_intercept(self.y, self.p, self.few)

    def smooth_ece(self) -> np.ndarray:
        """Smooth ECE, of few resamples: (R',)."""
        from .smooth_ece import shared_smooth_ece

        return shared_smooth_ece(self.y, self.p, self.few)


def cell_sums(cell: np.ndarray, columns: list[np.ndarray], draws: Draws, cells: int) -> np.ndarray:
    """Weighted sums of columns, each (N,), within each cell (N,) of films: (cells, columns, R)."""
    from . import _blocks

    # films of one group and cell weigh alike: their values are added up once, not once a resample
    groups = len(draws.counts)
    entries, entry = np.unique(cell * groups + draws.group, return_inverse=True)
    added = np.stack([np.bincount(entry, weights=column, minlength=len(entries)) for column in columns], axis=1)
    return _blocks.sums(entries % groups, entries // groups, added, draws.counts, cells)


def risk_area(loss: np.ndarray, confidence: np.ndarray, draws: Draws) -> np.ndarray:
    """As `aurc.area`, for losses of 0 and 1 (N,): (R,)."""
    from . import _blocks

    order, last = sorted_by(confidence, highest_first=True)
    group = draws.group[order]
    films = np.bincount(group, minlength=len(draws.counts))
    table = _blocks.harmonics(int((films @ draws.counts.astype(np.int64)).max(initial=0)))
    return _blocks.risk_area(group, last, np.asarray(loss, dtype=bool)[order], draws.counts, table)
