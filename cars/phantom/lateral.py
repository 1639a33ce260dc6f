"""The lateral film: thickness maps of the same thorax seen from the left side.

The patient faces the image's left. x runs from front (negative) to back, y downwards, both in cm; the two lungs
lie over each other, the right dome a little higher.
"""

from __future__ import annotations

import numpy as np

from cars.phantom.anatomy import Anatomy
from cars.phantom.shapes import Canvas, Grid, curve, ellipsoid, mottle, ribbon, soften, step, tube, union
from cars.phantom.spec import FilmSpec
from cars.phantom.thorax import Scene, outline


def front_edge(y: np.ndarray, a: Anatomy, s: dict) -> np.ndarray:
    """x of the inner face of sternum and front ribs at height y, cm."""
    t = np.clip((y - s["apex"]) / (s["bottom"] - s["apex"]), 0, 1)
    return -0.12 * s["depth"] - 0.64 * s["depth"] * np.sin(np.minimum(t * 1.9, np.pi / 2)) ** 0.9


def back_edge(y: np.ndarray, a: Anatomy, s: dict) -> np.ndarray:
    """x of the inner face of the back at height y, cm."""
    t = np.clip((y - s["apex"]) / (s["bottom"] - s["apex"]), 0, 1)
    return 0.22 * s["depth"] + (0.44 + 0.10 * a.kyphosis) * s["depth"] * np.sin(np.minimum(t * 2.3 + 0.1, 2.1))


def spine_axis(y: np.ndarray, a: Anatomy, s: dict) -> np.ndarray:
    return back_edge(y, a, s) - 1.9


def lateral_lung(
    grid: Grid, a: Anatomy, s: dict, side: str, lift: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chord of one lung through its breadth with u (front to back) and v: three (H, W) maps."""
    x, y = grid.x, grid.y
    front, back = front_edge(y, a, s), back_edge(y, a, s)
    width = np.maximum(back - front, 0.1)
    u = (x - front) / width
    t = np.clip((y - s["apex"]) / (s["bottom"] - s["apex"]), 0, 1)
    across = np.sqrt(np.maximum(1 - np.abs(2 * u - 1) ** 3, 0))
    breadth = 0.39 * s["half"] * 2 * np.minimum(1, 0.35 + 1.9 * t)
    dome = s["dome_" + side] - lift
    off = u - 0.36
    top = dome + np.where(off > 0, (a.dome_curve + 1.2) * (np.maximum(off, 0) / 0.64) ** 1.7, 2.2 * (off / 0.36) ** 2)
    kept = np.clip(1 - 1.8 * np.sqrt(np.maximum(y - top, 0)), 0, 1)
    cupola = np.sqrt(np.clip((y - s["apex"] - 6 * (u - 0.5) ** 2) / 1.5, 0, 1))
    chord = np.where((u > 0) & (u < 1), breadth * across * kept * cupola, 0)
    return chord.astype(np.float32), u.astype(np.float32), ((y - s["apex"]) / (top - s["apex"])).astype(np.float32)


def lateral_heart(grid: Grid, a: Anatomy, spec: FilmSpec, s: dict, ctr: float) -> np.ndarray:
    """Chord of the heart seen from the side, cm; a larger cardiothoracic ratio makes it reach further back."""
    k = ctr * 2 * s["half"] / 12.6
    low = s["dome_left"] + 0.4
    x = -0.25 * s["depth"] + 1.3 * (k - 1)
    body = ellipsoid(grid, x, low - 3.6, 5.7 * k**0.9, 4.3 * k**0.7, 11.5 * k, 0.62)
    atrium = ellipsoid(grid, x + 2.2, low - 6.2, 3.4 * k**0.8, 3.6 * k**0.7, 8.5 * k)
    outflow = ellipsoid(grid, x - 0.2, low - 8.0, 3.0, 4.4, 8.0, 0.3)
    return union(body, atrium, outflow)


def lateral_mediastinum(grid: Grid, a: Anatomy, spec: FilmSpec, s: dict, widen: float = 1.0) -> np.ndarray:
    """Chord of ascending aorta, arch and great vessels seen from the side, cm."""
    arch = s["apex"] + 0.36 * (s["dome_right"] - s["apex"])
    rise = ellipsoid(grid, -0.17 * s["depth"], arch + 3.4, 2.1 * widen, 5.4, 6.0 * widen, 0.25)
    bow = ellipsoid(grid, 0.05 * s["depth"], arch + 0.3, 3.2 * widen, 1.2 * a.knob / 1.5 * widen, 4.0)
    top = ellipsoid(grid, -0.03 * s["depth"], arch - 4.0, 2.9 * widen, 7.0, 4.0 * widen, 0.1)
    fat = ellipsoid(grid, 0.02 * s["depth"], arch + 5.0, 4.2, 10.0, 3.6)
    axis = back_edge(grid.y, a, s) - 2.9 - 0.8 * a.unfolding
    down = tube(grid.x - axis, 1.25, 1.6) * step(grid.y, arch, arch + 1.5)
    return union(rise, bow, top, fat, down).astype(np.float32)


def _bones(grid: Grid, a: Anatomy, s: dict) -> np.ndarray:
    blur = 0.5 * grid.pixel
    spine, ribs = Canvas(grid, 2.5), Canvas(grid, 2.0)
    y = s["apex"] - 3.0
    number = 0
    while y < grid.field_cm / 2 + 3:
        tall = 1.75 + 0.035 * number * 2
        deep = 1.15 + 0.035 * number
        centre = float(spine_axis(np.array(y + tall / 2), a, s))
        slope = float(spine_axis(np.array(y + tall), a, s)) - float(spine_axis(np.array(y), a, s))
        for grow, value in ((1.0, 0.80), (0.8, 0.58)):
            h, w = tall / 2 * grow, deep * grow
            corners = [(-w, -h), (0, -0.86 * h), (w, -h), (0.86 * w, 0), (w, h), (0, 0.86 * h), (-w, h), (-0.86 * w, 0)]
            spine.polygon(np.array([(centre + cx + slope * cy / tall, y + tall / 2 + cy) for cx, cy in corners]), value)
        back = curve(
            [(centre + 1.4 * deep, y + 0.3 * tall), (centre + 2.6, y + 0.9 * tall), (centre + 3.6, y + 1.6 * tall)], 6
        )
        spine.polygon(ribbon(back, np.full(6, 0.7)), 0.45)
        y += tall + 0.38
        number += 1
    for number in range(2, 11):
        for shift in (0.0, 0.55):
            start = s["apex"] + 0.6 + a.rib_pitch * (number - 1) + shift
            end = start + a.rib_drop * (0.85 + 0.05 * number)
            path = curve(
                [
                    (float(back_edge(np.array(start), a, s)) + 0.6, start),
                    (float(back_edge(np.array(start + 2), a, s)) - 1.0 + shift, start + 2.6),
                    (0.0 + shift, (start + end) / 2 + 2.0),
                    (float(front_edge(np.array(end), a, s)) + (0.2 if number < 7 else 3.0), end + 1.0),
                ],
                24,
            )
            ribs.polygon(ribbon(path, np.full(24, 0.9 * a.rib_width)), 0.34)
            ribs.polygon(ribbon(path, np.full(24, 0.58 * a.rib_width)), 0.24)
    sternum = curve(
        [(float(front_edge(np.array(y0), a, s)) - 0.5, y0) for y0 in np.linspace(s["apex"] + 2.5, s["apex"] + 15, 6)],
        24,
    )
    ribs.polygon(ribbon(sternum, np.full(24, 0.95)), 0.9)
    ribs.polygon(ribbon(sternum, np.full(24, 0.6)), 0.6)
    blade = curve([(4.5, s["apex"] - 1.0), (6.4, s["apex"] + 3.5), (7.6, s["apex"] + 8.0)], 10)
    ribs.line(blade, 0.35, 0.7)
    ribs.line(blade + np.array([0.9, 0.4]), 0.3, 0.55)
    for lean in (-2.0, 0.6):
        ribs.polygon(ribbon(curve([(lean, s["apex"] - 1.0), (lean - 3, s["apex"] - 9)], 6), np.full(6, 2.4)), 0.55)
    return ((spine.map(blur) + ribs.map(blur)) * np.float32(a.bone)).astype(np.float32)


def _airways(grid: Grid, a: Anatomy, s: dict) -> np.ndarray:
    canvas = Canvas(grid, 2.0)
    carina = s["apex"] + 0.45 * (s["dome_right"] - s["apex"])
    pipe = curve([(-1.6, s["apex"] - 6), (0.3, s["apex"] + 2), (1.5, carina), (1.9, carina + 1.8)], 16)
    canvas.polygon(ribbon(pipe, np.full(16, 1.6)), 1.6)
    canvas.disc(1.6, carina + 0.3, 0.6, 2.0)
    canvas.disc(1.9, carina + 2.1, 0.5, 1.9)
    return canvas.map(0.12)


def _vessels(grid: Grid, a: Anatomy, s: dict) -> np.ndarray:
    rng = np.random.default_rng((a.vessel_seed, 7))
    hilum = np.array([1.2, s["apex"] + 0.52 * (s["dome_right"] - s["apex"])])
    n = 26
    start = hilum + rng.normal(0, 0.7, (n, 2))
    angle = np.linspace(0, 2 * np.pi, n) + rng.normal(0, 0.15, n)
    width = rng.uniform(0.3, 0.5, n) * a.hilum
    canvas = Canvas(grid, 1.6)
    out = []
    for _ in range(5):
        end = start + 1.8 * np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(0.7, 1.3, (len(angle), 1))
        out.append((start, end, width))
        start = np.repeat(end, 2, axis=0)
        angle = np.repeat(angle, 2) + rng.normal(0, 0.35, 2 * len(angle))
        width = np.repeat(width, 2) * rng.uniform(0.55, 0.8, 2 * len(width))
        keep = width > 0.05
        start, angle, width = start[keep], angle[keep], width[keep]
    for start, end, width in reversed(out):
        visible = width > 0.2 * grid.pixel
        canvas.strokes(start[visible], end[visible], width[visible], 1.5 * width[visible])
    hila = ellipsoid(grid, hilum[0], hilum[1] + 0.4, 1.5 * a.hilum, 2.2 * a.hilum, 2.0 * a.hilum, 0.3)
    return canvas.map(0.06) + soften(hila, 0.3 / grid.pixel)


def _body(grid: Grid, a: Anatomy, s: dict) -> np.ndarray:
    x, y = grid.x, grid.y
    front = front_edge(y, a, s) - 0.9 - 0.24 * a.wall - 0.25 * a.habitus * np.maximum(y - 6, 0)
    back = back_edge(y, a, s) + 3.6 + 0.22 * a.wall
    u = (x - front) / np.maximum(back - front, 1)
    thick = 2 * s["half"] * 0.72 + 0.5 * a.wall
    top = s["apex"] - 5 + 0.02 * (x - 1) ** 2
    body = (
        thick
        * np.sqrt(np.maximum(1 - np.abs(2 * u - 1) ** 3.2, 0))
        * np.clip(0.3 * np.sqrt(np.maximum(y - top, 0)), 0.0, 1)
    )
    shoulder = ellipsoid(grid, 1.5, s["apex"] - 1.5, 7.5, 7.0, 18.0)
    arms = tube(x + 1.5 + 0.35 * (y - s["apex"]), 5.0, 15.0) * step(y, s["apex"] + 4, s["apex"] - 2)
    body = union(body.astype(np.float32), shoulder, arms)
    if a.breast:
        off = (y - a.breast_y) / np.where(y > a.breast_y, 4.0, 7.5)
        swell = np.maximum(1 - np.square(off), 0)  # 1 at the breast's height, 0 above and below it
        past = (x - front + 0.75 * a.breast * swell) / (0.9 + 0.75 * a.breast * swell)  # 0 at its skin, 1 within
        body = np.maximum(body, (5.0 + 2.0 * a.breast) * np.sqrt(np.clip(past, 0, 1) * swell))
    return body.astype(np.float32)


def lateral(spec: FilmSpec, size: int) -> Scene:
    """The maps of this patient's healthy lateral film, size × size."""
    a = spec.anatomy
    grid = Grid(size, spec.field_cm, spec.tilt, spec.shift_x, spec.shift_y)
    s = outline(a, spec)
    s["ctr"] = a.ctr
    right, u, v = lateral_lung(grid, a, s, "right")
    left, _, _ = lateral_lung(grid, a, s, "left")
    body = _body(grid, a, s)
    inside = np.minimum(1, (right + left) / 3)
    streaks = mottle(grid, spec.texture_seed, 0.45) * 0.10 + mottle(grid, spec.texture_seed + 1, 1.8) * 0.25
    gas = ellipsoid(grid, 1.0, s["dome_left"] + 2.2, 2.4, 1.3, 3.5 * a.gas) if a.gas > 0.15 else 0
    return Scene(
        grid=grid,
        view=spec.view,
        spec=spec,
        body=body * (1 + np.float32(0.012) * mottle(grid, spec.texture_seed + 2, 2.6)) + streaks * inside,
        right=right,
        left=left,
        heart=lateral_heart(grid, a, spec, s, a.ctr),
        mediastinum=lateral_mediastinum(grid, a, spec, s),
        bone=_bones(grid, a, s),
        vessels=_vessels(grid, a, s),
        airways=_airways(grid, a, s) + gas,
        u=u,
        v=v,
        shape=s,
    )
