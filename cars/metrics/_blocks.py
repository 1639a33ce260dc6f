"""The loops of the metrics over films, in step for a block of resamples: what many metrics share, in one pass each.

`_kernels` goes through the films once a resample; these go through them once a block of resamples, with the resamples
innermost, where the processor takes several at a time. Weights are counts (G, R) uint8 of groups of films that weigh
alike (the films of one patient), so they are read from the cache nearest to it. Sums of counts are whole numbers and so
exact. `tests/metrics/test_shared.py` holds them against `_kernels`.
"""

from __future__ import annotations

import numpy as np

from ._kernels import compiled, harmonic

#: Resamples in step; a few arrays of that length fit the nearest cache.
BLOCK = 256


@compiled
def ranking(group: np.ndarray, last: np.ndarray, y: np.ndarray, counts: np.ndarray, specificity: float) -> np.ndarray:
    """AUROC, AUPRC and the sensitivity at a specificity, as `_kernels` has them: (3, R).

    group (N,): of each film, from the highest probability; last (N,): it ends its run of ties; y (N,) bool.
    """
    resamples = counts.shape[1]
    found = np.full((3, resamples), np.nan)
    positives, negatives = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    above, alarms = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)  # positives and negatives so far
    tied, tied_alarms = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    wins, area, height = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    allowed, limit = np.empty(BLOCK), np.empty(BLOCK)
    for start in range(0, resamples, BLOCK):
        n = min(BLOCK, resamples - start)
        block = counts[:, start : start + n]
        positives[:] = 0
        negatives[:] = 0
        for i in range(group.size):
            w = block[group[i]]
            if y[i]:
                for j in range(n):
                    positives[j] += w[j]
            else:
                for j in range(n):
                    negatives[j] += w[j]
        above[:] = 0
        alarms[:] = 0
        wins[:] = 0.0
        area[:] = 0.0
        waiting = 0  # resamples whose ROC curve has not come to the rate of false alarms yet
        for j in range(n):
            height[j] = np.nan
            allowed[j] = (1.0 - specificity) * negatives[j]
            limit[j] = allowed[j] + 1e-9 * negatives[j]
            if positives[j] > 0 and negatives[j] > 0:
                waiting += 1
            else:
                limit[j] = np.inf
        i = 0
        while i < group.size:
            first = i
            while not last[i]:
                i += 1
            i += 1
            mixed = i > first + 1
            w = block[group[first]]
            if mixed:
                tied[:] = 0
                tied_alarms[:] = 0
                for k in range(first, i):
                    w = block[group[k]]
                    if y[k]:
                        for j in range(n):
                            tied[j] += w[j]
                    else:
                        for j in range(n):
                            tied_alarms[j] += w[j]
                for j in range(n):
                    alarms[j] += tied_alarms[j]
                if waiting:
                    for j in range(n):
                        if alarms[j] > limit[j]:
                            before = float(alarms[j] - tied_alarms[j])
                            height[j] = above[j] + tied[j] * (allowed[j] - before) / tied_alarms[j]
                            limit[j] = np.inf
                            waiting -= 1
                for j in range(n):
                    above[j] += tied[j]
                    wins[j] += float(tied[j]) * (float(negatives[j] - alarms[j]) + float(tied_alarms[j]) / 2)
                    area[j] += float(tied[j]) * float(above[j]) / float(max(above[j] + alarms[j], 1))
            elif y[first]:
                for j in range(n):
                    above[j] += w[j]
                    wins[j] += float(w[j]) * float(negatives[j] - alarms[j])
                    area[j] += float(w[j]) * float(above[j]) / float(max(above[j] + alarms[j], 1))
            else:
                for j in range(n):
                    alarms[j] += w[j]
                if waiting:
                    for j in range(n):
                        if alarms[j] > limit[j]:
                            height[j] = above[j]
                            limit[j] = np.inf
                            waiting -= 1
        for j in range(n):
            if positives[j] > 0 and negatives[j] > 0:
                found[0, start + j] = wins[j] / (float(positives[j]) * float(negatives[j]))
                found[1, start + j] = area[j] / float(positives[j])
                found[2, start + j] = height[j] / float(positives[j])
    return found


@compiled
def harmonics(most: int) -> np.ndarray:
    """`harmonic` of 0, 1, …, most."""
    table = np.empty(most + 1)
    for k in range(most + 1):
        table[k] = harmonic(float(k))
    return table


@compiled
def risk_area(
    group: np.ndarray, last: np.ndarray, loss: np.ndarray, counts: np.ndarray, table: np.ndarray
) -> np.ndarray:
    """As `_kernels.risk_area`: (R,). group (N,): from the most confident film; loss (N,) bool; table: harmonic numbers.

    Between two losses only the number of films counts, so harmonic numbers are looked up at the losses.
    """
    resamples = counts.shape[1]
    values = np.full(resamples, np.nan)
    kept, lost, since = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    more, more_lost, area = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32), np.empty(BLOCK)
    for start in range(0, resamples, BLOCK):
        n = min(BLOCK, resamples - start)
        block = counts[:, start : start + n]
        kept[:] = 0
        lost[:] = 0
        since[:] = 0  # kept, when the area was last brought up to date
        area[:] = 0.0
        i = 0
        while i < group.size:
            first = i
            losses = 0
            while not last[i]:
                losses += loss[i]
                i += 1
            losses += loss[i]
            i += 1
            if losses == 0:
                for k in range(first, i):
                    w = block[group[k]]
                    for j in range(n):
                        kept[j] += w[j]
                continue
            more[:] = 0
            more_lost[:] = 0
            for k in range(first, i):
                w = block[group[k]]
                for j in range(n):
                    more[j] += w[j]
                if loss[k]:
                    for j in range(n):
                        more_lost[j] += w[j]
            for j in range(n):
                before = table[kept[j]]
                area[j] += float(lost[j]) * (before - table[since[j]])
                rate = float(more_lost[j]) / float(max(more[j], 1))
                after = kept[j] + more[j]
                area[j] += float(more_lost[j]) + (float(lost[j]) - rate * float(kept[j])) * (table[after] - before)
                kept[j] = after
                lost[j] += more_lost[j]
                since[j] = after
        for j in range(n):
            if kept[j] > 0:
                values[start + j] = (area[j] + float(lost[j]) * (table[kept[j]] - table[since[j]])) / float(kept[j])
    return values


@compiled
def sums(group: np.ndarray, cell: np.ndarray, columns: np.ndarray, counts: np.ndarray, cells: int) -> np.ndarray:
    """Weighted sums of columns (E, C) within each cell (E,): (cells, C, R).

    group (E,): whose counts are the weights. Entries of one cell should lie together.
    """
    resamples = counts.shape[1]
    totals = np.zeros((cells, columns.shape[1], resamples))
    weight = np.empty(BLOCK)
    for start in range(0, resamples, BLOCK):
        n = min(BLOCK, resamples - start)
        for e in range(group.size):
            w = counts[group[e], start : start + n]
            for j in range(n):
                weight[j] = float(w[j])
            for c in range(columns.shape[1]):
                total = totals[cell[e], c, start : start + n]
                value = columns[e, c]
                for j in range(n):
                    total[j] += weight[j] * value
    return totals


@compiled
def quantile_sums(
    group: np.ndarray, last: np.ndarray, y: np.ndarray, p: np.ndarray, counts: np.ndarray, cells: int
) -> np.ndarray:
    """As `_kernels.quantile_sums` of the columns 1, y and p: (cells, 3, R); all by film from the lowest probability.

    A run goes up a cell when cells · (films up to it − 1) reaches the next multiple of (all films − 1); in whole
    numbers, that is when the films up to it reach `needed`.
    """
    resamples = counts.shape[1]
    totals = np.zeros((cells, 3, resamples))
    everything, before, needed = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    at, ones, positives = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    stated, run = np.empty(BLOCK), np.empty(BLOCK)
    never = np.int32(2**31 - 1)
    for start in range(0, resamples, BLOCK):
        n = min(BLOCK, resamples - start)
        block = counts[:, start : start + n]
        everything[:] = 0
        for i in range(group.size):
            w = block[group[i]]
            for j in range(n):
                everything[j] += w[j]
        before[:] = 0
        at[:] = 0
        ones[:] = 0  # films before the cell in hand
        positives[:] = 0
        stated[:] = 0.0
        for j in range(n):
            needed[j] = never if everything[j] <= 1 else 1 + (everything[j] - 1 + cells - 1) // cells
        i = 0
        while i < group.size:
            first = i
            w = block[group[i]]
            for j in range(n):
                before[j] += w[j]
            while not last[i]:
                i += 1
                w = block[group[i]]
                for j in range(n):
                    before[j] += w[j]
            i += 1
            over = False
            for j in range(n):
                over |= before[j] >= needed[j]
            if over:
                for j in range(n):
                    if before[j] >= needed[j]:
                        own = 0  # films of this run, which go to the next cell
                        for k in range(first, i):
                            own += block[group[k], j]
                        totals[at[j], 0, start + j] = float(before[j] - own - ones[j])
                        totals[at[j], 1, start + j] = float(positives[j])
                        totals[at[j], 2, start + j] = stated[j]
                        ones[j] = before[j] - own
                        positives[j] = 0
                        stated[j] = 0.0
                        while before[j] >= needed[j]:
                            at[j] += 1
                            if at[j] == cells - 1:
                                needed[j] = never
                            else:
                                needed[j] = 1 + ((at[j] + 1) * (everything[j] - 1) + cells - 1) // cells
            if i == first + 1:
                w = block[group[first]]
                value = p[first]
                for j in range(n):
                    stated[j] += float(w[j]) * value
                if y[first]:
                    for j in range(n):
                        positives[j] += w[j]
            else:
                run[:] = 0.0
                for k in range(first, i):
                    w = block[group[k]]
                    for j in range(n):
                        run[j] += float(w[j]) * p[k]
                    if y[k]:
                        for j in range(n):
                            positives[j] += w[j]
                for j in range(n):
                    stated[j] += run[j]
        for j in range(n):
            totals[at[j], 0, start + j] = float(before[j] - ones[j])
            totals[at[j], 1, start + j] = float(positives[j])
            totals[at[j], 2, start + j] = stated[j]
    return totals
