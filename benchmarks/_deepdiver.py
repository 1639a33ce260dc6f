"""DeepDiver, as its paper describes it, for comparison: "Assessing and Remedying Coverage for a Given Dataset" (ICDE
2019, arXiv 1810.06742): top-down by Rule 1, a climb to a MUP from each uncovered pattern, and the paper's two indices.

Written from the paper, in Python with numpy where the paper has bit vectors; the authors' program is in Java. It counts
rows, as the paper does. It differs from the paper in one point that saves it work: a value may form no item, so that
findings can be searched present-only.
"""

from __future__ import annotations

import numpy as np

#: One element an attribute: a value's number, or None for the paper's X.
Pattern = tuple[int | None, ...]


class Coverage:
    """The distinct rows with how often each occurs, and for each value the bit vector of the rows that have it."""

    def __init__(self, codes: np.ndarray, sizes: list[int]) -> None:
        """codes: (rows, attributes) int, -1 where a row has no item. sizes: values of each attribute."""
        rows, self.counts = np.unique(codes, axis=0, return_counts=True)
        self.counts = self.counts.astype(np.float32 if len(codes) < 2**24 else np.float64)
        self.index = [[self._packed(rows[:, a] == v) for v in range(size)] for a, size in enumerate(sizes)]
        self.everything = self._packed(np.ones(len(rows), dtype=bool))
        self.asked = 0

    @staticmethod
    def _packed(rows: np.ndarray) -> np.ndarray:
        padded = np.zeros(-(-len(rows) // 64) * 64, dtype=bool)
        padded[: len(rows)] = rows
        return np.packbits(padded, bitorder="little").view(np.uint64)

    def __call__(self, pattern: Pattern) -> int:
        """How many rows match."""
        self.asked += 1
        chosen = [self.index[a][v] for a, v in enumerate(pattern) if v is not None]
        both = np.bitwise_and.reduce(chosen) if len(chosen) > 1 else chosen[0] if chosen else self.everything
        bits = np.unpackbits(both.view(np.uint8), count=len(self.counts), bitorder="little")
        return round(float(self.counts @ bits))


class Found:
    """The MUPs found so far, with a bit vector over them for each value and each X."""

    def __init__(self, sizes: list[int]) -> None:
        self.patterns: list[Pattern] = []
        self.value = [[0] * size for size in sizes]
        self.free = [0] * len(sizes)

    def add(self, pattern: Pattern) -> None:
        bit = 1 << len(self.patterns)
        self.patterns.append(pattern)
        for a, v in enumerate(pattern):
            if v is None:
                self.free[a] |= bit
            else:
                self.value[a][v] |= bit

    def one_dominates(self, pattern: Pattern) -> bool:
        """Whether a MUP is the pattern or more general."""
        left = (1 << len(self.patterns)) - 1
        for a, v in enumerate(pattern):
            left &= self.free[a] if v is None else self.free[a] | self.value[a][v]
            if not left:
                return False
        return True

    def dominated_by(self, pattern: Pattern) -> bool:
        """Whether the pattern is more general than a MUP, hence covered."""
        left = (1 << len(self.patterns)) - 1
        for a, v in enumerate(pattern):
            if v is not None:
                left &= self.value[a][v]
        return bool(left)


def deepdiver(coverage: Coverage, sizes: list[int], threshold: int) -> tuple[dict[Pattern, int], int]:
    """(MUP → rows that match, how many patterns were counted). sizes: values of each attribute."""
    found = Found(sizes)
    mups: dict[Pattern, int] = {}
    stack: list[Pattern] = [(None,) * len(sizes)]
    while stack:
        pattern = stack.pop()
        if found.patterns and found.one_dominates(pattern):
            continue
        if not (found.patterns and found.dominated_by(pattern)):
            count = coverage(pattern)
            if count < threshold:
                top, count = climb(pattern, count, coverage, threshold)
                found.add(top)
                mups[top] = count
                continue
        stack += children(pattern, sizes)
    return mups, coverage.asked


def climb(pattern: Pattern, count: int, coverage: Coverage, threshold: int) -> tuple[Pattern, int]:
    """From an uncovered pattern up through uncovered parents to one that has none: a MUP."""
    while True:
        for parent in parents(pattern):
            above = coverage(parent)
            if above < threshold:
                pattern, count = parent, above
                break
        else:
            return pattern, count


def parents(pattern: Pattern) -> list[Pattern]:
    """Each element that is not X made X."""
    return [(*pattern[:a], None, *pattern[a + 1 :]) for a, v in enumerate(pattern) if v is not None]


def children(pattern: Pattern, sizes: list[int]) -> list[Pattern]:
    """Rule 1: each X right of the last element that is none, with each of its values; so every node has one parent."""
    last = max((a for a, v in enumerate(pattern) if v is not None), default=-1)
    return [(*pattern[:a], v, *pattern[a + 1 :]) for a in range(last + 1, len(sizes)) for v in range(sizes[a])]
