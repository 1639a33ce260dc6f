"""The inner loop of the search, compiled by numba, for levels where Python's own work would outweigh the counting.

`_level` does for many prefixes what mups does for one: walk them in order, compact the rows that match, count every
extension in one pass, and keep those whose every parent is frequent. Only patterns of up to 64 items fit. numba comes
with umap-learn; loading it takes about a second and compiling, once for an installation, three more. So the search
loads it only for a large level, and does without where it cannot be had.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

WORD = 64
#: Multiplying a lone bit by this puts a different value into the top six bits for each of the 64 positions.
DE_BRUIJN = 0x03F79D71B4CB0A89
FIRST = np.zeros(WORD, dtype=np.int64)
for _bit in range(WORD):
    FIRST[((DE_BRUIJN << _bit) & (2**64 - 1)) >> 58] = _bit


@lru_cache(maxsize=1)
def kernel() -> Callable[..., Any] | None:
    """The compiled `level`, or None without numba."""
    try:
        import numba
    except ImportError:
        return None
    try:
        return numba.njit(cache=True, nogil=True)(_level)
    except RuntimeError:  # no folder to keep compiled code in: it is compiled again in each process
        return numba.njit(nogil=True)(_level)


def table_of(masks: np.ndarray) -> np.ndarray:
    """An open hash table of masks, (a power of two ≥ 2n,) uint64. 0 marks an empty place: it holds no empty pattern."""
    size = 1 << max(4, int(2 * len(masks)).bit_length())
    table = np.zeros(size, dtype=np.uint64)
    left = masks[masks != 0]
    slot = _slots(left, size)
    while len(left):  # each round settles at least one mask of each contested place
        free = table[slot] == 0
        table[slot[free]] = left[free]
        kept = table[slot] != left
        left, slot = left[kept], (slot[kept] + 1) & (size - 1)
    return table


def _slots(masks: np.ndarray, size: int) -> np.ndarray:
    return ((masks * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)).astype(np.int64) & (size - 1)


def _level(
    row_mask: np.ndarray, row_bag: np.ndarray, weight: np.ndarray, prefixes: np.ndarray, exclusive: np.ndarray,
    known: np.ndarray, first: np.ndarray, items: int, threshold: int, most_mups: int,
) -> Any:  # fmt: skip
    """Every candidate of these prefixes, counted.

    Args:
        row_mask, row_bag: (rows,) uint64 and int64, sorted by bag. weight: (bags,) int64, units of each bag.
        prefixes: (p,) uint64, frequent patterns, neighbours sharing their first items. exclusive: (items,) uint64.
        known: `table_of` the frequent patterns of the prefixes' size. first: FIRST.
        most_mups: stop after the prefix that brings this many.

    Returns: prefixes done, frequent (masks, counts), MUPs (masks, counts).
    """
    one, zero = np.uint64(1), np.uint64(0)
    debruijn, shift = np.uint64(0x03F79D71B4CB0A89), np.uint64(58)
    golden, twenty = np.uint64(0x9E3779B97F4A7C15), np.uint64(20)
    wrap = len(known) - 1
    rows = len(row_mask)
    depth = 1
    for p in prefixes:
        size = 0
        while p != zero:
            p &= p - one
            size += 1
        depth = max(depth, size)
    stack_mask = np.empty((depth, rows), np.uint64)
    stack_bag = np.empty((depth, rows), np.int64)
    stack_rows = np.zeros(depth + 1, np.int64)
    stack_rows[0] = rows
    path = np.empty(depth, np.int64)
    filled = 0
    own = np.empty(depth, np.int64)
    counts = np.zeros(items, np.int64)
    often, often_n = np.empty(1024, np.uint64), np.empty(1024, np.int64)
    rare, rare_n = np.empty(1024, np.uint64), np.empty(1024, np.int64)
    n_often, n_rare, done = 0, 0, 0
    for prefix in prefixes:
        k, rest, later = 0, prefix, ~zero if items == 64 else (one << np.uint64(items)) - one
        while rest != zero:
            low = rest & (~rest + one)
            own[k] = first[(low * debruijn) >> shift]
            later &= ~exclusive[own[k]]
            k += 1
            rest ^= low
        if k and own[k - 1] < 63:
            later &= ~((one << np.uint64(own[k - 1] + 1)) - one)
        elif k:
            later = zero
        # candidates: every parent but the prefix itself, which is frequent, must be known
        rest = later
        while rest != zero:
            low = rest & (~rest + one)
            rest ^= low
            for j in range(k):
                parent = (prefix | low) ^ (one << np.uint64(own[j]))
                slot = np.int64((parent * golden) >> twenty) & wrap
                while known[slot] != zero and known[slot] != parent:
                    slot = (slot + 1) & wrap
                if known[slot] == zero:
                    later ^= low
                    break
        done += 1
        if later == zero:
            continue
        shared = 0
        while shared < filled and shared < k and path[shared] == own[shared]:
            shared += 1
        for j in range(shared, k):  # compact the rows, item by item
            bit = one << np.uint64(own[j])
            n = 0
            for r in range(stack_rows[j]):
                m = row_mask[r] if j == 0 else stack_mask[j - 1, r]
                if m & bit != zero:
                    stack_mask[j, n] = m
                    stack_bag[j, n] = row_bag[r] if j == 0 else stack_bag[j - 1, r]
                    n += 1
            stack_rows[j + 1] = n
            path[j] = own[j]
        filled = k
        counts[:] = 0
        n = stack_rows[k]
        r = 0
        while r < n:  # the rows of one bag or-ed: which extensions that unit matches
            b = row_bag[r] if k == 0 else stack_bag[k - 1, r]
            either = zero
            while r < n and (row_bag[r] if k == 0 else stack_bag[k - 1, r]) == b:
                either |= row_mask[r] if k == 0 else stack_mask[k - 1, r]
                r += 1
            either &= later
            units = weight[b]
            while either != zero:
                low = either & (~either + one)
                counts[first[(low * debruijn) >> shift]] += units
                either ^= low
        rest = later
        while rest != zero:
            low = rest & (~rest + one)
            rest ^= low
            count = counts[first[(low * debruijn) >> shift]]
            if count >= threshold:
                if n_often == len(often):
                    often, often_n = np.append(often, np.empty_like(often)), np.append(often_n, np.empty_like(often_n))
                often[n_often], often_n[n_often] = prefix | low, count
                n_often += 1
            else:
                if n_rare == len(rare):
                    rare, rare_n = np.append(rare, np.empty_like(rare)), np.append(rare_n, np.empty_like(rare_n))
                rare[n_rare], rare_n[n_rare] = prefix | low, count
                n_rare += 1
        if n_rare >= most_mups:
            break
    return done, often[:n_often], often_n[:n_often], rare[:n_rare], rare_n[:n_rare]
