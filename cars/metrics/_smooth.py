"""Smooth ECE of many resamples at once: the midpoint sums of `smooth_ece`, from a few points of each curve.

`smooth_ece` states what is computed. Its sum of |curve| over the points of a fine grid is, between two changes of sign,
the sum of cosines, and that has a closed form:

    Σ_{j<x} cos(πk(j + ½)/points) = sin(πkx/points) / (2 sin(πk/(2·points)))

So it is enough to know between which points the curve changes its sign. They are sought on every 2nd, 4th, … point, as
far apart as half a bandwidth, and between those wherever the curve comes near 0 for its curvature. A curve of cosines
is the sum of one that is even about ½ and one that is odd, so half the points do; cosines that the bandwidth damps
below 1e-13 are left out.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ._fits import ANY_ORDER, compiled_with, falling

#: Cosines of either kind come in blocks of so many: what the processor takes at once, unrolled.
_PAD = 32
#: exp(−(πkσ)²/2) is 1e-13 there.
_NOTHING = float(np.sqrt(60))
#: A bandwidth counts as found where integral and bandwidth differ by less; as in `smooth_ece`.
_FOUND = 1e-10
#: Near the floor of a grid the last cosines still count, and make the curve change its sign where there is nothing.
_NEAR = 1.2
#: A curve that stays below this adds nothing to an integral.
_FLAT = 1e-11
#: The points at which a curve is looked at first lie this share of a bandwidth apart.
_APART = 0.5
#: More than the halvings between two of them.
_DEEP = 24


#: cos(πk(j + ½)/points) for even and for odd k (points/2, K/2), and their sums over j < x (points/2 + 1, K/2).
Waves = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@cache
def waves(points: int, cosines: int) -> Waves:
    """The tables of one grid; the coefficient of k = 0 is for a constant of 1, whose sum is x."""
    half = points // 2
    k = np.arange(cosines)
    at = np.cos(np.pi * (np.arange(half)[:, None] + 0.5) / points * k)
    sums = np.empty((half + 1, cosines))
    sums[:, 0] = np.arange(half + 1)
    angle = np.pi * k[1:] / points
    sums[:, 1:] = np.sin(np.arange(half + 1)[:, None] * angle) / (2 * np.sin(angle / 2))
    even, odd, sums_even, sums_odd = (
        np.ascontiguousarray(table[:, first::2]) for table in (at, sums) for first in (0, 1)
    )
    return even, odd, sums_even, sums_odd


def cosine_sums(residual: np.ndarray, p: np.ndarray, starts: np.ndarray, cosines: int) -> np.ndarray:
    """Σ of residual · cos(πkp) over the films of each group: (G, cosines).

    Films come by group; starts (G,): the first one of each.
    """
    step = 16
    low, high = np.arange(min(step, cosines)), np.arange(0, cosines, step)
    a, b = np.pi * p[:, None] * low, np.pi * p[:, None] * high
    cos_a, sin_a = np.cos(a), np.sin(a)
    cos_b, sin_b = np.cos(b) * residual[:, None], np.sin(b) * residual[:, None]
    found = np.empty((len(starts), len(high) * len(low)))
    for n in range(len(high)):
        part = cos_b[:, n, None] * cos_a - sin_b[:, n, None] * sin_a
        found[:, n * len(low) : (n + 1) * len(low)] = np.add.reduceat(part, starts, axis=0)
    return found


@compiled_with(fastmath=ANY_ORDER)
def _both(damped: np.ndarray, kinds: int, even: np.ndarray, odd: np.ndarray) -> tuple[float, float]:
    a = b = 0.0
    for k in range(kinds):
        a += damped[0, k] * even[k]
        b += damped[1, k] * odd[k]
    return a, b


@compiled_with()
def _at(damped: np.ndarray, kinds: int, even: np.ndarray, odd: np.ndarray, j: int) -> float:
    """The curve at the j-th point."""
    half = even.shape[0]
    a, b = _both(damped, kinds, even[min(j, 2 * half - 1 - j)], odd[min(j, 2 * half - 1 - j)])
    return a + b if j < half else a - b


@compiled_with()
def _until(damped: np.ndarray, kinds: int, sums_even: np.ndarray, sums_odd: np.ndarray, x: int) -> float:
    """The sum of the curve over the points before x."""
    half = sums_even.shape[0] - 1
    a, b = _both(damped, kinds, sums_even[min(x, 2 * half - x)], sums_odd[min(x, 2 * half - x)])
    # sin(πk(1 − t)) = −cos(πk) sin(πkt), and the constant is all that is left of the whole sum
    return a + b if x <= half else 2 * half * damped[0, 0] - a + b


@compiled_with()
def _integral(
    coefficients: np.ndarray, tables: Waves, sigma: float,
    damped: np.ndarray, curve: np.ndarray, halves: np.ndarray,
) -> float:  # fmt: skip
    """Mean of |curve| over the points, put right at changes of sign as in `smooth_ece`.

    coefficients (2, K/2): of the even and the odd cosines, twice but for the first. damped, curve: room to work in.
    """
    even, odd, sums_even, sums_odd = tables
    half = even.shape[0]
    points = 2 * half
    kinds = min(even.shape[1], _PAD * (1 + int(_NOTHING / (2 * np.pi * sigma) / _PAD)))
    for k in range(kinds):
        damped[0, k] = coefficients[0, k] * falling((np.pi * (2 * k) * sigma) ** 2 / 2, halves)
        damped[1, k] = coefficients[1, k] * falling((np.pi * (2 * k + 1) * sigma) ** 2 / 2, halves)
    gap = 1
    while 2 * gap <= sigma * _APART * points and half % (2 * gap) == 0:
        gap *= 2
    nodes = half // gap
    for i in range(nodes):
        a, b = _both(damped, kinds, even[gap // 2 + gap * i], odd[gap // 2 + gap * i])
        curve[i], curve[2 * nodes - 1 - i] = a + b, a - b
    total = before = 0.0
    ends, heights, bends = np.empty(_DEEP, np.int64), np.empty(_DEEP), np.empty(_DEEP)
    for i in range(2 * nodes + 1):
        # from the node before to this one; at the ends of the grid, from its first point and to its last
        first = 0 if i == 0 else _place(i - 1, gap, nodes)
        ends[0] = points - 1 if i == 2 * nodes else _place(i, gap, nodes)
        u, v = curve[max(i - 1, 0)], curve[min(i, 2 * nodes - 1)]
        bend = abs(curve[max(i - 2, 0)] - 2 * u + v) if i > 0 else 0.0
        bends[0] = max(bend, abs(u - 2 * v + curve[min(i + 1, 2 * nodes - 1)]) if i < 2 * nodes else 0.0)
        if max(abs(u), abs(v)) + bends[0] < _FLAT or ends[0] == first:
            continue
        if i == 0:
            u = _at(damped, kinds, even, odd, first)
        if i == 2 * nodes:
            v = _at(damped, kinds, even, odd, ends[0])
        heights[0] = v
        deep = 0  # stretches to look at, the nearest last: each from `first` to its end
        while deep >= 0:
            last, v, bend = ends[deep], heights[deep], bends[deep]
            if last - first > 1 and (u * v < 0 or min(abs(u), abs(v)) < bend / 4):
                middle = (first + last) // 2
                value = _at(damped, kinds, even, odd, middle)
                bends[deep] = max(abs(u - 2 * value + v), bend / 8)
                deep += 1
                ends[deep], heights[deep], bends[deep] = middle, value, bends[deep - 1]
                continue
            if u * v < 0:
                upto = _until(damped, kinds, sums_even, sums_odd, last)
                # as in `smooth_ece`, two triangles in place of |u|/2 + |v|/2, less h²/12 of the slope on either side
                total += abs(upto - before) + (abs(u) + abs(v)) / 6 - abs(u * v) / (abs(u) + abs(v))
                before = upto
            first, u = last, v
            deep -= 1
    return (total + abs(points * damped[0, 0] - before)) / points


@compiled_with()
def _place(node: int, gap: int, nodes: int) -> int:
    """Which point of the grid a node is; they lie alike about the middle."""
    return gap // 2 + gap * node if node < nodes else 2 * nodes * gap - 1 - gap // 2 - gap * (2 * nodes - 1 - node)


@compiled_with()
def fixed_points(
    coefficients: np.ndarray, tables: Waves, floor: float, start: float,
    halves: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(σ where σ = integral (R,), what was found (R,)): 1 such a σ, 0 it lies at or below the floor, −1 not settled.

    coefficients (R, 2, K/2), as for `_integral`. Secants from `start`, kept between a σ below and one above.
    """
    resamples = coefficients.shape[0]
    found, state = np.full(resamples, np.nan), np.full(resamples, -1)
    damped = np.zeros((2, tables[0].shape[1]))
    curve = np.empty(2 * tables[0].shape[0])
    for r in range(resamples):
        # the integral never rises with σ, so the fixed point lies between σ and its integral
        low, high, slope = floor, 1.0, -1.3
        x = f = 0.0
        new = max(start, _NEAR * floor)
        for step in range(40):
            g = _integral(coefficients[r], tables, new, damped, curve, halves) - new
            if abs(g) < _FOUND and new > floor:
                found[r], state[r] = new + g, 1
                break
            if g > 0:
                low, high = new, min(high, new + g)
            else:
                low, high = max(low, new + g), new
            if high <= floor:
                state[r] = 0
                break
            secant = (g - f) / (new - x) if step > 0 and abs(new - x) > 1e-9 else slope
            steady = step > 0 and 0.9 < secant / slope < 1.1
            slope = min(secant, -0.5)
            x, f = new, g
            new = x - f / slope
            if steady and abs(f) < 1e-8:  # the next one would be nearer by the change of the slope
                found[r], state[r] = new, 1
                break
            if new < floor and low == floor:
                if x < 1.5 * floor and new < 0.7 * floor:
                    state[r] = 0  # if not, the finer grid finds it all the same
                    break
                new = floor if x < 1.5 * floor else _NEAR * floor
            elif not low - _FOUND <= new <= high + _FOUND:
                new = (low + high) / 2
                if high - low < _FOUND:
                    break
    return found, state
