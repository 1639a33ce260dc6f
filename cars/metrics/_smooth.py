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
#: So many bandwidths from the nearest film a curve is flat.
_REACHES = 8.0
#: The points at which a curve is looked at first lie this share of a bandwidth apart.
_APART = 0.5
#: More than the halvings between two of them.
_DEEP = 24


#: `at` (points/2, 4, B): cos and sin of the first B even and of the first B odd multiples of π(j + ½)/points, and
#: `upto` (points/2 + 1, 4, B) of πx/points; `scale` (2, K/2): 1/(2 sin(πk/(2·points))) of even and odd k, 0 for k = 0.
Waves = tuple[np.ndarray, np.ndarray, np.ndarray]


@cache
def waves(points: int, cosines: int) -> Waves:
    """The tables of one grid: all its cosines, but where there are many the first 64; the others are turned."""
    half = points // 2
    block = cosines // 2 if cosines <= 256 else _PAD

    def first(angle: np.ndarray) -> np.ndarray:
        even, odd = (angle[:, None] * np.arange(start, 2 * block, 2) for start in (0, 1))
        return np.stack([np.cos(even), np.sin(even), np.cos(odd), np.sin(odd)], axis=1)

    k = np.arange(cosines)
    scale = np.divide(0.5, np.sin(np.pi * k / (2 * points)), out=np.zeros(cosines), where=k > 0)
    return (
        first(np.pi * (np.arange(half) + 0.5) / points), first(np.pi * np.arange(half + 1) / points),
        np.ascontiguousarray(scale.reshape(-1, 2).T),
    )  # fmt: skip


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
def _both(
    even: np.ndarray, odd: np.ndarray, kinds: int, of_even: np.ndarray, of_odd: np.ndarray
) -> tuple[float, float]:
    a = b = 0.0
    for k in range(kinds):
        a += even[k] * of_even[k]
        b += odd[k] * of_odd[k]
    return a, b


@compiled_with()
def _waves_at(values: np.ndarray, kinds: int, first: np.ndarray, angle: float, sines: int) -> tuple[float, float]:
    """(Σ over even k, Σ over odd k) of values (2, K/2) · cos(k·angle), or sin where `sines` is 1. first: (4, B)."""
    block = first.shape[1]
    even, odd = _both(values[0], values[1], min(kinds, block), first[sines], first[2 + sines])
    if kinds > block:
        # cos(k + m) = cos k · cos m − sin k · sin m, with m a multiple of the 2·B that a block spans
        turn_c, turn_s = np.cos(2 * block * angle), np.sin(2 * block * angle)
        c, s = turn_c, turn_s
        for start in range(block, kinds, block):
            a, b = values[0, start : start + block], values[1, start : start + block]
            even_c, odd_c = _both(a, b, block, first[0], first[2])
            even_s, odd_s = _both(a, b, block, first[1], first[3])
            if sines:
                even += s * even_c + c * even_s
                odd += s * odd_c + c * odd_s
            else:
                even += c * even_c - s * even_s
                odd += c * odd_c - s * odd_s
            c, s = c * turn_c - s * turn_s, s * turn_c + c * turn_s
    return even, odd


@compiled_with()
def _at(damped: np.ndarray, kinds: int, at: np.ndarray, j: int) -> float:
    """The curve at the j-th point."""
    half = at.shape[0]
    near = min(j, 2 * half - 1 - j)
    even, odd = _waves_at(damped, kinds, at[near], np.pi * (near + 0.5) / (2 * half), 0)
    return even + odd if j < half else even - odd


@compiled_with()
def _until(damped: np.ndarray, scale: np.ndarray, kinds: int, upto: np.ndarray, x: int) -> float:
    """The sum of the curve over the points before x."""
    half = upto.shape[0] - 1
    near = min(x, 2 * half - x)
    even, odd = _waves_at(damped[:, :kinds] * scale[:, :kinds], kinds, upto[near], np.pi * near / (2 * half), 1)
    # sin(πk(1 − t)) = −cos(πk) sin(πkt)
    return x * damped[0, 0] + (even + odd if x <= half else odd - even)


@compiled_with()
def _integral(
    coefficients: np.ndarray, tables: Waves, sigma: float, lowest: float, highest: float,
    damped: np.ndarray, curve: np.ndarray, halves: np.ndarray,
) -> float:  # fmt: skip
    """Mean of |curve| over the points, put right at changes of sign as in `smooth_ece`.

    coefficients (2, K/2): of the even and the odd cosines, twice but for the first. lowest, highest: of the films'
    probabilities. damped, curve: room to work in.
    """
    at, upto, scale = tables
    half = at.shape[0]
    points = 2 * half
    kinds = min(scale.shape[1], _PAD * (1 + int(_NOTHING / (2 * np.pi * sigma) / _PAD)))
    for k in range(kinds):
        damped[0, k] = coefficients[0, k] * falling((np.pi * (2 * k) * sigma) ** 2 / 2, halves)
        damped[1, k] = coefficients[1, k] * falling((np.pi * (2 * k + 1) * sigma) ** 2 / 2, halves)
    gap = 1
    while 2 * gap <= sigma * _APART * points and half % (2 * gap) == 0:
        gap *= 2
    nodes = half // gap
    left, right = (lowest - _REACHES * sigma) * points, (highest + _REACHES * sigma) * points
    for i in range(nodes):
        j = gap // 2 + gap * i
        if (j + 1 < left or j > right) and (points - j < left or points - 1 - j > right):
            curve[i] = curve[2 * nodes - 1 - i] = 0.0  # no film is near either point
            continue
        even, odd = _waves_at(damped, kinds, at[j], np.pi * (j + 0.5) / points, 0)
        curve[i], curve[2 * nodes - 1 - i] = even + odd, even - odd
    total = before = end = 0.0
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
        if end * u < 0:  # it changed its sign where it is flat
            now = _until(damped, scale, kinds, upto, first)
            total += abs(now - before)
            before = now
        if i == 0:
            u = _at(damped, kinds, at, first)
        if i == 2 * nodes:
            v = _at(damped, kinds, at, ends[0])
        heights[0] = v
        deep = 0  # stretches to look at, the nearest last: each from `first` to its end
        while deep >= 0:
            last, v, bend = ends[deep], heights[deep], bends[deep]
            if last - first > 1 and (u * v < 0 or min(abs(u), abs(v)) < bend / 4):
                middle = (first + last) // 2
                value = _at(damped, kinds, at, middle)
                bends[deep] = max(abs(u - 2 * value + v), bend / 8)
                deep += 1
                ends[deep], heights[deep], bends[deep] = middle, value, bends[deep - 1]
                continue
            if u * v < 0:
                now = _until(damped, scale, kinds, upto, last)
                # as in `smooth_ece`, two triangles in place of |u|/2 + |v|/2, less h²/12 of the slope on either side
                total += abs(now - before) + (abs(u) + abs(v)) / 6 - abs(u * v) / (abs(u) + abs(v))
                before = now
            first, u = last, v
            deep -= 1
        end = v
    return (total + abs(points * damped[0, 0] - before)) / points


@compiled_with()
def _place(node: int, gap: int, nodes: int) -> int:
    """Which point of the grid a node is; they lie alike about the middle."""
    return gap // 2 + gap * node if node < nodes else 2 * nodes * gap - 1 - gap // 2 - gap * (2 * nodes - 1 - node)


@compiled_with()
def fixed_points(
    coefficients: np.ndarray, tables: Waves, floor: float, start: float, lowest: float, highest: float,
    halves: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(σ where σ = integral (R,), what was found (R,)): 1 such a σ, 0 it lies at or below the floor, −1 not settled.

    coefficients (R, 2, K/2), as for `_integral`. Secants from `start`, kept between a σ below and one above.
    """
    resamples = coefficients.shape[0]
    found, state = np.full(resamples, np.nan), np.full(resamples, -1)
    damped = np.zeros((2, tables[2].shape[1]))
    curve = np.empty(2 * tables[0].shape[0])
    for r in range(resamples):
        # the integral never rises with σ, so the fixed point lies between σ and its integral
        low, high, slope = floor, 1.0, -1.3
        x = f = 0.0
        new = max(start, _NEAR * floor)
        for step in range(40):
            g = _integral(coefficients[r], tables, new, lowest, highest, damped, curve, halves) - new
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
            if steady and abs(f) < 10 * _FOUND:  # the slope is known to a tenth
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
