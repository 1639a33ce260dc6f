"""Maximal uncovered patterns: exact search over weighted, deduplicated rows.

A pattern is a set of items; a row matches it when it carries them all. A unit (patient, study or film) matches it when
at least one of its rows does: a woman with an effusion on a lateral film and a clear PA film does not match
{effusion, PA}. A pattern is *uncovered* when fewer than τ units match, and *maximal* (a MUP) when every more general
pattern, obtained by dropping items, has τ or more ("Assessing and Remedying Coverage for a Given Dataset", ICDE 2019,
arXiv 1810.06742): a minimal infrequent itemset.

How it is fast:
- A row is a bit mask of its items. Rows of a unit that equal, or are a subset of, another row of the same unit are
  dropped, and units with the same rows are merged into one weighted *bag*.
- One level after the other, the frequent patterns are walked depth first; the rows that match a prefix are compacted on
  the way down. At the last step the masks of each bag's remaining rows are or-ed together: bit i of the result says
  whether that unit matches prefix + i, so one pass counts every extension at once.
- A candidate is kept only when every parent is frequent, which hash lookups decide; hence each counted candidate is
  either frequent or a MUP.
- A level of many prefixes is done by a compiled loop that does the same (compiled.py).
Level by level, a search that is stopped is complete up to a stated level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np

from ..progress import Progress, silent

#: More frequent patterns than this in one search would fill memory; the search stops and says so.
MOST_FREQUENT = 3_000_000
#: How far apart two sorted rows of a unit may lie to be compared; only a saving, so it need not be complete.
DOMINANCE_REACH = 6
#: Units of up to this many distinct rows are merged when their rows agree.
LARGEST_MERGED = 4
WORD = 64
#: Levels of this many prefixes are done by the compiled loop: before numba is loaded, and after.
WORTH_LOADING, WORTH_USING = 4_000, 16
#: Prefixes between two looks at the bounds, the clock and the progress.
PREFIXES_AT_ONCE, PREFIXES_COMPILED = 256, 8192


@dataclass(frozen=True)
class Bags:
    """Deduplicated rows, grouped by unit.

    masks: one uint64 array (n rows) per 64 items, bit i of word w = item 64·w + i.
    bag: (n,) int64, ascending from 0, the bag of each row. weight: (bags,) float64, how many units each bag stands for.
    """

    masks: tuple[np.ndarray, ...]
    bag: np.ndarray
    weight: np.ndarray
    items: int

    @property
    def total(self) -> int:
        """How many units there are."""
        return int(self.weight.sum())


@dataclass
class Search:
    """What a search found.

    mups: each a tuple of item numbers, ascending, with its count in `counts`, by level.
    frequent: per level, mask of items (int) → count; level 0 is the empty pattern.
    complete: patterns of up to this many items were all examined. truncated: the search stopped before `max_order`.
    reason: why it stopped: limit, frequent or seconds.
    """

    total: int
    mups: list[tuple[int, ...]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    frequent: list[dict[int, int]] = field(default_factory=list)
    complete: int = 0
    truncated: bool = False
    reason: str = ""


def pack(member: np.ndarray) -> tuple[np.ndarray, ...]:
    """(n, items) bool → one uint64 array of n per 64 items."""
    n, items = member.shape
    words = max(1, -(-items // WORD))
    padded = np.zeros((n, words * WORD), dtype=bool)
    padded[:, :items] = member
    packed = np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
    return tuple(np.ascontiguousarray(packed[:, w]) for w in range(words))


def make_bags(masks: tuple[np.ndarray, ...], unit: np.ndarray | None, items: int) -> Bags:
    """Group rows by unit, drop rows that add nothing, and merge units that agree.

    Args:
        masks: as `pack` gives them. unit: (n,) integers, or None when each row is its own unit.
        items: how many items the masks hold.
    """
    if unit is None:
        order = np.lexsort(masks)
        rows = [m[order] for m in masks]
        new = _differs(rows)
        starts = np.flatnonzero(new)
        weight = np.diff(np.append(starts, len(order))).astype(float)
        return Bags(tuple(m[starts] for m in rows), np.arange(len(starts)), weight, items)
    order = np.lexsort((*masks, unit))
    unit = unit[order]
    rows = [m[order] for m in masks]
    keep = _differs([*rows, unit])
    unit, rows = unit[keep], [m[keep] for m in rows]
    keep = ~_dominated(rows, unit)
    unit, rows = unit[keep], [m[keep] for m in rows]
    return _merge(rows, unit, items)


def _differs(columns: list[np.ndarray]) -> np.ndarray:
    """(n,) bool: whether a row differs from the row before it in any column; the first one does."""
    new = np.ones(len(columns[0]), dtype=bool)
    if len(new) > 1:
        new[1:] = np.logical_or.reduce([c[1:] != c[:-1] for c in columns])
    return new


def _dominated(rows: list[np.ndarray], unit: np.ndarray) -> np.ndarray:
    """(n,) bool: rows whose items are a subset of a later row of the same unit; sorted, so a superset comes later."""
    dominated = np.zeros(len(unit), dtype=bool)
    for lag in range(1, min(DOMINANCE_REACH, len(unit) - 1) + 1):
        subset = unit[lag:] == unit[:-lag]
        for m in rows:
            subset &= (m[lag:] & m[:-lag]) == m[:-lag]
        dominated[:-lag] |= subset
    return dominated


def _merge(rows: list[np.ndarray], unit: np.ndarray, items: int) -> Bags:
    """Merge units whose sets of rows agree into weighted bags; units of many rows stay as they are."""
    starts = np.flatnonzero(_differs([unit]))
    sizes = np.diff(np.append(starts, len(unit)))
    masks: list[list[np.ndarray]] = [[] for _ in rows]
    bags: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    made = 0
    for size in range(1, LARGEST_MERGED + 1):
        first = starts[sizes == size]
        if not len(first):
            continue
        # columns of one unit: (row 0 word 0, row 0 word 1, …, row 1 word 0, …)
        columns = [m[first + k] for k in range(size) for m in rows]
        order = np.lexsort(columns)
        columns = [c[order] for c in columns]
        new = np.flatnonzero(_differs(columns))
        weights.append(np.diff(np.append(new, len(order))))
        table = np.stack([c[new] for c in columns]).reshape(size, len(rows), len(new))
        for w, words in enumerate(masks):
            words.append(table[:, w, :].T.ravel())
        bags.append(np.repeat(np.arange(made, made + len(new)), size))
        made += len(new)
    large = sizes > LARGEST_MERGED
    if large.any():
        rest = np.repeat(large, sizes)
        for words, m in zip(masks, rows, strict=True):
            words.append(m[rest])
        bags.append(np.repeat(np.arange(made, made + int(large.sum())), sizes[large]))
        weights.append(np.ones(int(large.sum())))
    if not bags:
        return Bags(tuple(m[:0] for m in rows), np.zeros(0, dtype=np.int64), np.zeros(0), items)
    merged = tuple(np.concatenate(words) for words in masks)
    return Bags(merged, np.concatenate(bags), np.concatenate(weights).astype(float), items)


def extension_counts(masks: tuple[np.ndarray, ...], bag: np.ndarray, weight: np.ndarray, items: int) -> np.ndarray:
    """(items,) int64: how many units have a row with item i, among these rows (sorted by bag)."""
    if not len(bag):
        return np.zeros(items, dtype=np.int64)
    starts = np.append(0, np.flatnonzero(bag[1:] != bag[:-1]) + 1)
    single = len(starts) == len(bag)
    # (bags, 8·words) bytes of the or of each bag's rows → (bags, items) bits; floats add exactly below 2**53
    either = [m if single else np.bitwise_or.reduceat(m, starts) for m in masks]
    table = either[0][:, None] if len(either) == 1 else np.stack(either, axis=1)
    bits = np.unpackbits(table.view(np.uint8), axis=1, count=items, bitorder="little")
    units = weight[bag if single else bag[starts]]
    exact = np.float32 if units.sum() < 2**24 else np.float64
    return np.rint(units.astype(exact) @ bits.astype(exact)).astype(np.int64)


def find_mups(
    bags: Bags,
    attribute: np.ndarray,
    threshold: int,
    max_order: int,
    limit: int = 100_000,
    most_frequent: int = MOST_FREQUENT,
    seconds: float = float("inf"),
    progress: Progress = silent,
) -> Search:
    """All MUPs of up to `max_order` items.

    Args:
        attribute: (items,) int, the attribute of each item; two items of one attribute never share a pattern.
        threshold: τ. limit: stop after this many MUPs. most_frequent: stop after this many frequent patterns.
        seconds: stop after this long, between two prefixes.
        progress: told each level's prefixes; may raise Cancelled.
    """
    search = Search(bags.total)
    if bags.total < threshold:
        search.mups, search.counts, search.complete = [()], [bags.total], max_order
        return search
    search.frequent.append({0: bags.total})
    exclusive = [0] * bags.items  # item → mask of every item of its attribute
    for i in range(bags.items):
        exclusive[i] = sum(1 << int(j) for j in np.flatnonzero(attribute == attribute[i]))
    kept, deadline = 0, monotonic() + seconds
    for level in range(1, max_order + 1):
        frequent: dict[int, int] = {}
        prefixes = list(search.frequent[-1])
        for done, often, rare in _extended(bags, prefixes, exclusive, threshold, limit - len(search.mups)):
            share = (level - 1 + done / len(prefixes)) / max_order
            progress(round(1000 * share), 1000, f"Patterns of {level} attributes")
            frequent.update(often)
            search.mups += [pattern for pattern, _ in rare]
            search.counts += [count for _, count in rare]
            reason = (
                "limit" if len(search.mups) >= limit
                else "frequent" if kept + len(frequent) > most_frequent
                else "seconds" if monotonic() > deadline
                else ""
            )  # fmt: skip
            if reason and (done < len(prefixes) or level < max_order or reason == "limit"):
                search.frequent.append(frequent)
                search.truncated, search.reason = True, reason
                del search.mups[limit:], search.counts[limit:]
                return search
        search.frequent.append(frequent)
        search.complete = level if frequent else max_order
        if search.complete == max_order:
            break
        kept += len(frequent)
    return search


#: Prefixes done; frequent patterns as masks with their counts; MUPs as items with their counts.
Batch = tuple[int, Iterable[tuple[int, int]], list[tuple[tuple[int, ...], int]]]


def _extended(bags: Bags, prefixes: list[int], exclusive: list[int], threshold: int, most_mups: int) -> Iterator[Batch]:
    """The candidates of a level, some hundred prefixes at a time, in order.

    prefixes: masks of every frequent pattern of the level before, neighbours sharing their first items.
    """
    from .compiled import kernel

    # once it is loaded, the kernel pays from a few prefixes on
    worth = WORTH_USING if kernel.cache_info().currsize else WORTH_LOADING
    compiled = kernel() if len(prefixes) >= worth and bags.items <= WORD else None
    if compiled is not None:
        yield from _by_kernel(compiled, bags, prefixes, exclusive, threshold, most_mups)
    else:
        yield from _by_numpy(bags, prefixes, exclusive, threshold)


def _by_numpy(bags: Bags, prefixes: list[int], exclusive: list[int], threshold: int) -> Iterator[Batch]:
    everything = (1 << bags.items) - 1
    walker = _Walker(bags)
    #: pattern of one item less than the prefixes → mask of items that extend it to a frequent pattern
    extends: dict[int, int] = {}
    for own in prefixes:
        for i in items_of(own):
            rest = own & ~(1 << i)
            extends[rest] = extends.get(rest, 0) | 1 << i
    often: list[tuple[int, int]] = []
    rare: list[tuple[tuple[int, ...], int]] = []
    for done, own in enumerate(prefixes, 1):
        prefix = items_of(own)
        later = everything & ~((1 << own.bit_length()) - 1)
        for i in prefix:
            later &= ~exclusive[i]
            later &= extends[own & ~(1 << i)]
        if later:
            counts = walker.counts(prefix)
            for i in items_of(later):
                count = int(counts[i])
                if count >= threshold:
                    often.append((own | 1 << i, count))
                else:
                    rare.append(((*prefix, i), count))
        if done % PREFIXES_AT_ONCE == 0 or done == len(prefixes):
            yield done, often, rare
            often, rare = [], []


def _by_kernel(
    compiled: Callable[..., Any], bags: Bags, prefixes: list[int], exclusive: list[int], threshold: int, most_mups: int
) -> Iterator[Batch]:
    from .compiled import FIRST, table_of

    masks = np.array(prefixes, dtype=np.uint64)
    known, weight = table_of(masks), bags.weight.astype(np.int64)
    done = 0
    while done < len(masks):
        more, often, often_n, rare, rare_n = compiled(
            bags.masks[0], bags.bag, weight, masks[done : done + PREFIXES_COMPILED],
            np.array(exclusive, dtype=np.uint64), known, FIRST, bags.items, threshold, most_mups,
        )  # fmt: skip
        done += int(more)
        # (MUPs, 64) bits → the items of each, all of one number
        bits = np.unpackbits(rare.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        found = np.nonzero(bits)[1].reshape(len(rare), -1 if len(rare) else 1).tolist()
        yield (
            done,
            zip(often.tolist(), often_n.tolist(), strict=True),
            list(zip(map(tuple, found), rare_n.tolist(), strict=True)),
        )


def items_of(mask: int) -> tuple[int, ...]:
    """The items of a mask, ascending: the positions of its set bits."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return tuple(found)


class _Walker:
    """Keeps the rows that match the current prefix and each of its beginnings, so that a neighbour reuses them."""

    def __init__(self, bags: Bags) -> None:
        self.bags = bags
        self.reset()

    def reset(self) -> None:
        self.path: list[int] = []
        self.stack: list[tuple[tuple[np.ndarray, ...], np.ndarray]] = [(self.bags.masks, self.bags.bag)]

    def counts(self, prefix: tuple[int, ...]) -> np.ndarray:
        """(items,) units that match prefix + i, for every item i."""
        shared = 0
        while shared < min(len(prefix), len(self.path)) and prefix[shared] == self.path[shared]:
            shared += 1
        del self.path[shared:], self.stack[shared + 1 :]
        for item in prefix[shared:]:
            masks, bag = self.stack[-1]
            word, bit = divmod(item, WORD)
            rows = np.flatnonzero(masks[word] & np.uint64(1 << bit))
            self.stack.append((tuple(m[rows] for m in masks), bag[rows]))
            self.path.append(item)
        masks, bag = self.stack[-1]
        return extension_counts(masks, bag, self.bags.weight, self.bags.items)
