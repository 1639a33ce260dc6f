"""The frontal film (PA or AP): thickness maps of a healthy thorax, cm along the beam at each detector pixel.

`Scene` holds the maps; findings replace some of them, `render` turns them into grey. The maps of a patient without
findings are built once and cached, so a film and its counterfactuals share them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from cars.phantom.anatomy import Anatomy
from cars.phantom.shapes import Canvas, Grid, curve, ellipsoid, mottle, ribbon, soften, step, tube, union
from cars.phantom.spec import FilmSpec

LUNG_DENSITY = 0.27  # aerated lung relative to water


@dataclass
class Scene:
    """Maps are (H, W) float32. Findings replace maps, they never write into them: the base scene is shared."""

    grid: Grid
    view: str
    spec: FilmSpec
    body: np.ndarray  # cm of soft tissue were there no lung
    right: np.ndarray  # cm of right lung, heart not yet taken out
    left: np.ndarray
    heart: np.ndarray  # cm of heart
    mediastinum: np.ndarray  # cm of great vessels and mediastinal fat
    bone: np.ndarray  # cm of mineral
    vessels: np.ndarray  # cm of blood in the lungs
    airways: np.ndarray  # cm of air in trachea, bronchi and bowel
    u: np.ndarray  # 0 at the mediastinum … 1 at the chest wall (lateral film: 0 front … 1 back)
    v: np.ndarray  # 0 at the apex … 1 at the diaphragm
    density: np.ndarray | float = LUNG_DENSITY  # of the lung, relative to water
    dense: np.ndarray | float = 0.0  # cm of water added: fluid, pleura, masses
    metal: np.ndarray | float = 0.0  # cm of mineral-like wire and casing
    shape: dict = field(default_factory=dict)  # numbers that findings need: apex, base, half widths, …

    def lung(self, side: str) -> np.ndarray:
        return self.right if side == "right" else self.left

    def in_front(self) -> np.ndarray:
        """cm of heart and mediastinum that displace lung."""
        return union(self.heart, self.mediastinum)

    def aerated(self) -> np.ndarray:
        """cm of lung along the beam once heart and mediastinum have taken their place."""
        return np.maximum(self.right + self.left - self.in_front(), 0)


def outline(a: Anatomy, spec: FilmSpec) -> dict:
    """Numbers of the frontal outline, cm: apex, dome heights, half width, and the poorer inspiration of an AP film."""
    height = a.lung_height * (0.86 + 0.14 * spec.inspiration)
    apex = -0.62 * a.lung_height
    right_dome = apex + height
    return {
        "apex": apex,
        "half": a.thorax_width / 2 * (0.985 + 0.015 * spec.inspiration),
        "depth": a.lung_depth,
        "dome_right": right_dome,
        "dome_left": right_dome + a.dome_gap,
        "bottom": right_dome + a.dome_gap + a.dome_curve,
        "magnify": 1.05 if spec.view == "AP" else 1.0,
    }


def chest_wall(y: np.ndarray, s: dict) -> np.ndarray:
    """Inner half width of the rib cage at height y, cm."""
    t = np.clip((y - s["apex"]) / (s["bottom"] - s["apex"]), 0, 1.05)
    return s["half"] * np.maximum(1 - np.maximum(1 - 1.02 * t, 0) ** 3.6, 0) ** 0.46 * (1 - 0.03 * t**4)


def spine_x(y: np.ndarray, a: Anatomy) -> np.ndarray:
    return np.float32(a.scoliosis) * np.sin((y + 3) / 9.0)


def lung_maps(grid: Grid, a: Anatomy, s: dict, lift: dict[str, float] | None = None) -> tuple[np.ndarray, ...]:
    """Chords of the right and the left lung with u and v: four (H, W) maps. lift raises a side's dome by so many cm."""
    lift = lift or {}
    on_left, x, y = grid.x > 0, np.abs(grid.x), grid.y
    lifted = np.where(on_left, np.float32(lift.get("left", 0)), np.float32(lift.get("right", 0)))
    dome = np.where(on_left, np.float32(s["dome_left"]), np.float32(s["dome_right"])) - lifted
    wall = chest_wall(y, s)
    t = np.clip((y - s["apex"]) / (s["bottom"] - s["apex"]), 0, 1)
    inner = 1.9 + 0.5 * t
    width = np.maximum(wall - inner, 0.05)
    u = (x - inner) / width
    edge = np.square(2 * u - 1)
    across = np.sqrt(np.maximum(1 - edge * np.sqrt(np.abs(2 * u - 1)), 0))
    depth = s["depth"] * np.minimum(1, 0.42 + 1.5 * t) * (1 - 0.12 * t)
    # the dome falls off to both sides of its top, more steeply towards the costophrenic angle
    off = (x - 0.46 * s["half"]) / (0.54 * s["half"])
    fall = np.square(off)
    top = dome + fall * np.where(off > 0, (a.dome_curve + 0.55 * lifted) * np.sqrt(np.abs(off)), 1.5)
    below = np.maximum(y - top, 0)
    # behind the dome the posterior sulcus still holds some lung
    sulcus = 0.30 * np.clip(1 - below / np.maximum(s["bottom"] - top + 0.3, 0.4), 0, 1)
    kept = np.where(below > 0, np.maximum(sulcus, 1 - 2.2 * np.sqrt(below)), 1)
    # the apex is a cupola, not a point
    dome_out = np.sqrt(np.maximum(1 - np.square((x - 4.6) / 3.6), 0))
    cupola = np.sqrt(np.clip((y - s["apex"] + 2.4 * dome_out - 2.4) / 1.1 + (t > 0.22), 0, 1))
    chord = np.where((u > 0) & (u < 1) & (y > s["apex"]), depth * across * kept * cupola, 0)
    v = (y - s["apex"]) / np.maximum(top - s["apex"], 1)
    return chord * ~on_left, chord * on_left, u, v


def heart_map(grid: Grid, a: Anatomy, spec: FilmSpec, s: dict, ctr: float) -> np.ndarray:
    """Chord of the heart for a cardiothoracic ratio, cm. The ratio is of the widest heart to the widest lung field."""
    width = ctr * 2 * s["half"]
    k = width / 12.6
    lower = s["dome_left"] - 8.2 * (0.55 + 0.45 * k) + 0.35
    flat = 0.12 * (1 - spec.inspiration)
    x = -0.27 * width + 0.42 * width + 0.35 * spec.rotation
    ventricle = ellipsoid(grid, x, lower + 4.2, 6.35 * k, 4.35 * k**0.9, a.heart_depth * k**0.6, a.heart_tilt - flat)
    atrium = ellipsoid(
        grid, -0.085 * width + 0.35 * spec.rotation, lower + 3.1, 3.45 * k, 4.5 * k**0.8, 0.9 * a.heart_depth
    )
    upper = ellipsoid(grid, 1.3 + 0.3 * spec.rotation, lower - 0.4, 3.3 * k**0.6, 4.2, 0.7 * a.heart_depth)
    return union(ventricle, atrium, upper)


def mediastinum_map(grid: Grid, a: Anatomy, spec: FilmSpec, s: dict, widen: float = 1.0) -> np.ndarray:
    """Chord of aorta, pulmonary trunk, superior vena cava and fat, cm. widen multiplies the upper width."""
    x, y = grid.x - np.float32(0.3 * spec.rotation), grid.y
    arch = s["apex"] + 0.36 * (s["dome_right"] - s["apex"])
    m = a.mediastinum * s["magnify"] * (1 + 0.06 * (1 - spec.inspiration))
    swell = 1 + (widen - 1) * np.exp(-(((y - arch - 0.5) / 4.5) ** 2))
    band = m * swell * (0.86 + 0.14 * step(y, arch - 4, arch + 3)) * (1 + 0.5 * step(y, arch - 3.5, arch - 8.5))
    central = tube(x + 0.1, band, 7.5)
    knob_x = 1.15 + 0.75 * a.mediastinum / 2.45 + 0.45 * (widen - 1) * 3
    knob = ellipsoid(grid, knob_x + 0.3 * spec.rotation, arch, a.knob * (1 + 0.5 * (widen - 1)), a.knob * 1.08, 5.0)
    ascending = ellipsoid(grid, -1.1 - 0.9 * a.unfolding - 1.3 * (widen - 1), arch + 2.8, 2.4 * widen**0.5, 5.2, 6.0)
    trunk = ellipsoid(grid, 2.3 * s["magnify"] + 0.2 * spec.rotation, arch + 3.1, 1.9, 2.2, 6.0, 0.5)
    axis = 1.15 + 0.9 * a.unfolding * np.exp(-(((y - arch - 5) / 5.5) ** 2)) + 0.6 * (widen - 1)
    descending = tube(grid.x - axis, 1.25 + 0.3 * a.unfolding, 2.6) * step(y, arch - 0.5, arch + 0.5)
    return union(central, knob, ascending, trunk, descending).astype(np.float32)


def body_map(grid: Grid, a: Anatomy, s: dict) -> np.ndarray:
    """Soft tissue along the beam were the lungs water, cm: trunk, shoulders, arms' roots, neck and breasts."""
    x, y = np.abs(grid.x), grid.y
    half = s["half"] + 1.2 + 0.30 * a.wall + 1.3 * step(y, -3, -11)
    half = half + 0.35 * a.habitus * np.maximum(y - 4, 0)
    thick = s["depth"] + a.wall
    trunk = thick * np.sqrt(np.maximum(1 - np.square(np.square(x / half)), 0))
    shoulder = s["apex"] - 5.0 + 0.030 * np.maximum(x - 4.0, 0) ** 2
    below = np.maximum(y - shoulder, 0)
    trunk = trunk * np.minimum(1, 0.52 * np.sqrt(below))
    arms = [ellipsoid(grid, sign * (s["half"] + 4.8), s["apex"] + 5.0, 5.2, 8.0, 14.0) for sign in (-1, 1)]
    neck = 16.5 * np.sqrt(np.maximum(1 - np.square(x / 6.2), 0)) * step(y, s["apex"] + 3, s["apex"] - 2)
    body = union(trunk, (arms[0] + arms[1]) * step(below, 0, 1.5), neck)
    if a.breast:
        for sign in (-1, 1):
            bx, by = sign * 0.62 * s["half"], a.breast_y
            r = 5.0 + 0.5 * a.breast
            q = ((grid.x - bx) / r) ** 2 + (np.where(y > by, (y - by) * 1.35, (y - by) * 0.75) / r) ** 2
            body = body + a.breast * np.maximum(1 - q, 0, dtype=np.float32) ** 0.62 * (trunk > 1) * 0.85
    fold = (
        0.5 * a.habitus * np.exp(-(((y - s["apex"] - 8 - 0.5 * x) / 1.2) ** 2)) * step(x, s["half"] - 1, s["half"] + 1)
    )
    return (body + fold).astype(np.float32)


def rib_path(a: Anatomy, s: dict, side: str, number: int, flat: float, n: int = 40) -> np.ndarray:
    """Centre line of a rib (1–11) on the film, spine to front, (n, 2) cm; the first half is the posterior arc."""
    sign = -1.0 if side == "right" else 1.0
    start = s["apex"] + 0.7 + a.rib_pitch * (number - 1) * (1.08 - 0.012 * number)
    drop = a.rib_drop * (0.75 + 0.075 * min(number, 8)) * (1 - 0.15 * flat)
    if number == 1:
        drop *= 0.6
    t = np.linspace(0, 0.86 * np.pi if number < 8 else 0.72 * np.pi, n)
    y = start + drop * (0.62 * (1 - np.cos(t)) / 2 + 0.38 * t / np.pi) - 0.75 * np.sin(np.minimum(t * 2, np.pi))
    lateral = start + drop / 2
    reach = float(chest_wall(np.array(lateral + (0.4 if number > 1 else 1.2)), s)) + 0.25
    inner = 1.9
    x = inner + (reach - inner) * np.sin(t) ** 0.9
    return np.stack([sign * x + spine_x(y, a) * np.clip(1 - t / 1.5, 0, 1), y], axis=1)


def bone_map(grid: Grid, a: Anatomy, spec: FilmSpec, s: dict) -> np.ndarray:
    """Mineral along the beam, cm: ribs with brighter cortex, clavicles, scapulae, humeral heads and vertebrae."""
    blur = 0.5 * grid.pixel
    flat = 1.0 if spec.view == "AP" else 0.0
    fine = grid.pixel < 0.35  # else the cortex is thinner than a pixel
    back, front, girdle = Canvas(grid, 2.0), Canvas(grid, 2.0), Canvas(grid, 2.0)
    for side in ("right", "left"):
        for number in range(1, 12):
            path = rib_path(a, s, side, number, flat, 40 if fine else 20)
            half = len(path) * 7 // 12
            height = a.rib_width * (0.95 if number < 11 else 0.75)
            hind = path[: half + 2]
            wide = np.linspace(0.85, 1.1, len(hind)) * height
            back.polygon(ribbon(hind, wide), 0.66 if fine else 0.52)
            if fine:
                back.polygon(ribbon(hind, wide * 0.66), 0.44)
            if number <= 9:
                fore = path[half - 2 :]
                wide = np.linspace(1.1, 1.3, len(fore)) * height
                front.polygon(ribbon(fore, wide), 0.34 if fine else 0.28)
                if fine:
                    front.polygon(ribbon(fore, wide * 0.7), 0.25)
    if a.calcification > 0.15:
        _calcify(front, a, spec, s)
    spine = _spine(grid, a, s)
    for sign in (-1, 1):
        _girdle(girdle, a, spec, s, sign)
    ribs = back.map(blur) + front.map(blur * 1.6)
    return ((ribs + girdle.map(blur) + spine) * np.float32(a.bone)).astype(np.float32)


def _calcify(canvas: Canvas, a: Anatomy, spec: FilmSpec, s: dict) -> None:
    """The calcified rim of an old aortic knob."""
    arch = s["apex"] + 0.36 * (s["dome_right"] - s["apex"])
    x = 1.15 + 0.75 * a.mediastinum / 2.45 + 0.3 * spec.rotation
    turn = np.linspace(-1.2, 0.2 + a.calcification, 16)
    rim = np.stack([x + 0.92 * a.knob * np.cos(turn), arch + a.knob * np.sin(turn)], axis=1)
    canvas.line(rim, 0.16, 0.5 + 0.9 * a.calcification)


def _girdle(canvas: Canvas, a: Anatomy, spec: FilmSpec, s: dict, sign: int) -> None:
    """Clavicle, scapula and humeral head of one side."""
    top = s["apex"] + (3.4 if spec.view == "PA" else 1.9)
    wide = s["half"]
    rot = 0.45 * spec.rotation
    bedside = spec.view == "AP"
    medial = 0.58 * wide if bedside else 0.93 * wide  # where the scapula's inner edge lies
    tip = s["apex"] + (14.5 if bedside else 13.0)
    blade = curve(
        [
            (medial + 0.8, s["apex"] + 2.4),
            (medial, s["apex"] + 7),
            (medial + 2.2, tip),
            (medial + 4.6, s["apex"] + 9),
            (wide + 2.0, s["apex"] + 4.2),
        ],
        30,
    )
    blade[:, 0] *= sign
    canvas.polygon(blade, 0.30)
    canvas.line(blade[:18], 0.28, 0.62)
    ridge = curve([(medial + 0.6, s["apex"] + 5.2), (wide - 1.5, s["apex"] + 3.0), (wide + 2.4, s["apex"] + 0.6)], 12)
    ridge[:, 0] *= sign
    canvas.polygon(ribbon(ridge, np.linspace(0.4, 1.1, 12)), 0.62)
    canvas.disc(sign * (wide + 5.3), s["apex"] + 3.6, 2.4, 1.0)
    canvas.disc(sign * (wide + 5.3), s["apex"] + 3.6, 2.15, 0.8)
    shaft = np.array([(sign * (wide + 5.9), s["apex"] + 4.0), (sign * (wide + 7.2), s["apex"] + 14)])
    canvas.line(shaft, 2.4, 0.9)
    canvas.line(shaft, 1.7, 0.55)
    bar = curve(
        [
            (1.5 + sign * rot, top + 1.1),
            (4.2, top + 0.45),
            (8.2, top - 0.25 - 0.5 * a.clavicle_rise),
            (wide - 1.0, top - 0.9 - 0.8 * a.clavicle_rise),
            (wide + 2.6, top - 0.5 - a.clavicle_rise),
        ],
        26,
    )
    bar[:, 0] *= sign
    wide_bar = np.concatenate([np.linspace(1.9, 1.15, 6), np.linspace(1.15, 1.35, 20)])
    canvas.polygon(ribbon(bar, wide_bar), 1.15)
    canvas.polygon(ribbon(bar, wide_bar * 0.62), 0.80)


def _spine(grid: Grid, a: Anatomy, s: dict) -> np.ndarray:
    """Vertebral bodies with discs between, pedicles and spinous processes, cm of mineral."""
    mineral = np.zeros((grid.size, grid.size), dtype=np.float32)
    reach = 5.0 + abs(a.scoliosis) + abs(math.sin(grid.tilt)) * grid.field_cm / 2
    _, band = grid.around(0, 0, reach)
    y = grid.y[:, band]
    x = np.abs(grid.x[:, band] - spine_x(y, a))
    # phase of the vertebra at this height: 0 and 1 at its end plates
    phase = np.mod((y - s["apex"]) / 2.35 * (1 + 0.006 * (12 - y)) + 0.3, 1.0)
    half = 1.45 + 0.022 * (y + 18)
    share = x / half
    body = np.sqrt(np.maximum(1 - np.square(share) * share, 0))
    off = np.abs(phase - 0.5)
    plates = step(off, 0.48, 0.40)
    rim = 0.35 * step(off, 0.32, 0.41) * plates + 0.25 * step(share, 0.78, 0.95)
    pedicle = np.exp(-np.square((x - 0.62 * half) / 0.28) - np.square((phase - 0.36) / 0.17))
    process = np.exp(-np.square(x / 0.22) - np.square((phase - 0.85) / 0.16))
    wings = np.exp(-np.square((phase - 0.3) * 4)) * step(x, half + 2.0, half) * (1 - body)
    mineral[:, band] = body * (0.40 + 0.22 * plates + 0.6 * rim) + 0.40 * pedicle + 0.34 * process + 0.22 * wings
    return mineral


def airway_map(grid: Grid, a: Anatomy, spec: FilmSpec, s: dict) -> np.ndarray:
    """Air in trachea, main bronchi and stomach, cm."""
    canvas = Canvas(grid, 2.0)
    carina = s["apex"] + 0.45 * (s["dome_right"] - s["apex"])
    bend = -0.35 - 0.4 * a.unfolding + 0.3 * spec.rotation
    windpipe = curve(
        [(0.25 * spec.rotation, -22), (0.2 * spec.rotation, carina - 7), (bend, carina - 2.5), (bend, carina)], 16
    )
    canvas.polygon(ribbon(windpipe, np.full(16, 1.75)), 1.5)
    canvas.polygon(
        ribbon(curve([(bend - 0.2, carina - 0.4), (-1.9, carina + 1.5), (-3.2, carina + 2.9)], 8), np.full(8, 1.25)),
        1.0,
    )
    canvas.polygon(
        ribbon(curve([(bend + 0.2, carina - 0.4), (2.3, carina + 1.1), (4.2, carina + 2.0)], 8), np.full(8, 1.1)), 0.9
    )
    air = canvas.map(0.12)
    if a.gas > 0.15:
        bubble = ellipsoid(
            grid, 0.45 * s["half"], s["dome_left"] + 1.9, 1.4 + 2.2 * a.gas, 0.8 + 0.8 * a.gas, 4.0 * a.gas
        )
        air = air + bubble * step(grid.y, s["dome_left"] + 0.8, s["dome_left"] + 1.3)
    return air


def branches(a: Anatomy, s: dict, side: str) -> tuple[np.ndarray, ...]:
    """The pulmonary vessels of one lung as strokes: starts (N, 2), ends (N, 2), widths (N,), thin ones first, in cm."""
    rng = np.random.default_rng((a.vessel_seed, side == "left"))
    sign = -1.0 if side == "right" else 1.0
    hilum = s["apex"] + (0.53 if side == "right" else 0.49) * (s["dome_right"] - s["apex"])
    fan = np.array([-1.35, -1.05, -0.7, -0.35, 0.0, 0.3, 0.58, 0.82, 1.05, 1.25, 1.42])
    angle = fan + rng.normal(0, 0.10, fan.size)
    n = fan.size
    start = np.stack(
        [3.0 + 0.5 * np.cos(angle) + rng.normal(0, 0.15, n), hilum + 1.3 * np.sin(angle) + rng.normal(0, 0.3, n)], 1
    )
    width = (0.50 + 0.20 * (angle > 0.4)) * a.hilum * rng.uniform(0.8, 1.15, n)
    length = (2.0 + 0.5 * np.abs(np.sin(angle))) * rng.uniform(0.85, 1.2, n)
    out = []
    for generation in range(6):
        bend = angle + rng.normal(0, 0.16, n)
        middle = start + 0.5 * length[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        end = middle + 0.5 * length[:, None] * np.stack([np.cos(bend), np.sin(bend)], 1)
        out.append(
            (np.concatenate([start, middle]), np.concatenate([middle, end]), np.concatenate([width, 0.92 * width]))
        )
        if generation == 5:
            break
        spread = rng.uniform(0.18, 0.5, (n, 2)) * np.array([-1, 1])
        share = rng.uniform(0.62, 0.86, (n, 2))
        start = np.repeat(end, 2, axis=0)
        angle = (bend[:, None] + spread).ravel()
        width = (width[:, None] * share).ravel()
        length = (length[:, None] * rng.uniform(0.72, 1.02, (n, 2))).ravel()
        n *= 2
        keep = (width > 0.045) & (start[:, 0] > 1.0) & (np.abs(angle) < 2.0)
        start, angle, width, length = start[keep], angle[keep], width[keep], length[keep]
        n = len(width)
    starts, ends, widths = (np.concatenate([o[k] for o in out]) for k in range(3))
    order = np.argsort(widths)
    mirror = np.array([sign, 1.0])
    return starts[order] * mirror, ends[order] * mirror, widths[order]


def vessel_map(grid: Grid, a: Anatomy, s: dict) -> np.ndarray:
    """Blood in the pulmonary vessels along the beam, cm, hila included."""
    canvas = Canvas(grid, 2.4)
    hila = np.zeros_like(grid.x)
    for side in ("right", "left"):
        starts, ends, widths = branches(a, s, side)
        visible = widths > 0.25 * grid.pixel
        canvas.strokes(starts[visible], ends[visible], widths[visible], 2.4 * widths[visible])
        sign = -1 if side == "right" else 1
        height = s["apex"] + (0.53 if side == "right" else 0.49) * (s["dome_right"] - s["apex"])
        hila = hila + ellipsoid(grid, sign * 3.3, height, 1.25 * a.hilum, 2.1 * a.hilum, 1.5 * a.hilum, -sign * 0.35)
        hila = hila + ellipsoid(grid, sign * 3.9, height + 2.4, 0.75 * a.hilum, 2.4, 1.1 * a.hilum, -sign * 0.3)
    return canvas.map(0.06) + 1.2 * soften(hila, 0.25 / grid.pixel)


def frontal(spec: FilmSpec, size: int) -> Scene:
    """The maps of this patient's healthy frontal film, size × size."""
    a = spec.anatomy
    grid = Grid(size, spec.field_cm, spec.tilt, spec.shift_x, spec.shift_y)
    s = outline(a, spec)
    right, left, u, v = lung_maps(grid, a, s)
    ctr = a.ctr * s["magnify"] * (1 + 0.02 * (1 - spec.inspiration))
    s["ctr"] = ctr
    body = body_map(grid, a, s)
    inside = np.minimum(1, (right + left) / 3)
    streaks = mottle(grid, spec.texture_seed, 0.45) * 0.08 + mottle(grid, spec.texture_seed + 1, 1.8) * 0.18
    return Scene(
        grid=grid,
        view=spec.view,
        spec=spec,
        body=body * (1 + np.float32(0.012) * mottle(grid, spec.texture_seed + 2, 2.6)) + streaks * inside,
        right=right,
        left=left,
        heart=heart_map(grid, a, spec, s, ctr),
        mediastinum=mediastinum_map(grid, a, spec, s),
        bone=bone_map(grid, a, spec, s),
        vessels=vessel_map(grid, a, s),
        airways=airway_map(grid, a, spec, s),
        u=u,
        v=v,
        shape=s,
    )
