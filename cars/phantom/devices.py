"""Support devices: tubes, lines, pacemakers, electrodes, drains and wires, drawn as they run in the patient.

Each is `(pen, scene, rng) → None` drawing cm of radio-opaque material on a fine canvas; frontal and lateral films take
the same devices along their own courses.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cars.phantom.shapes import Canvas, curve
from cars.phantom.spec import Drawn
from cars.phantom.thorax import Scene

Device = Callable[[Canvas, Scene, np.random.Generator], None]


def _carina(scene: Scene) -> float:
    s = scene.shape
    return s["apex"] + 0.45 * (s["dome_right"] - s["apex"])


def _tube(
    pen: Canvas, points: list[tuple[float, float]], width: float, value: float, wall: bool = False, n: int = 40
) -> None:
    path = curve(points, n)
    pen.line(path, width, value)
    if wall:
        pen.line(path, width * 0.55, value * 0.35)


def et_tube(pen: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    tip = _carina(scene) - rng.uniform(2.0, 5.0)
    x = 0.2 * scene.spec.rotation if scene.view != "LATERAL" else 0.6
    lean = 0.5 if scene.view != "LATERAL" else -2.4
    _tube(pen, [(x + lean, -22), (x + 0.4 * lean, tip - 7), (x, tip)], 0.95, 0.55, wall=True)
    _tube(pen, [(x + lean + 0.3, -22), (x + 0.4 * lean + 0.3, tip - 7), (x + 0.3, tip)], 0.16, 1.0)


def feeding_tube(pen: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    s = scene.shape
    end = s["dome_left"] + rng.uniform(3.5, 6.0)
    if scene.view == "LATERAL":
        points = [(-1.5, -22), (1.8, s["apex"] + 2), (3.2, 0), (1.5, s["dome_left"] + 1), (-1.0, end)]
    else:
        points = [
            (0.3, -22),
            (0.1, s["apex"]),
            (0.5, _carina(scene) + 2),
            (1.3, s["dome_left"] - 1),
            (3.0, s["dome_left"] + 2.5),
            (5.5, end),
        ]
    _tube(pen, points, 0.38, 0.8, wall=True)


def central_line(pen: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    s, tip = scene.shape, _carina(scene) + rng.uniform(1.0, 4.0)
    if scene.view == "LATERAL":
        points = [(-2.5, -22), (-2.6, s["apex"] + 1), (-2.6, tip)]
    elif rng.random() < 0.5:  # jugular
        points = [(-4.2, -22), (-3.4, s["apex"] - 1.5), (-2.5, s["apex"] + 4), (-2.4, tip)]
    else:  # from the right arm
        points = [
            (-22, s["apex"] + 6.5),
            (-14, s["apex"] + 1.8),
            (-7.5, s["apex"] + 2.6),
            (-3.0, s["apex"] + 4.6),
            (-2.4, tip),
        ]
    _tube(pen, points, 0.26, 0.75)


def pacemaker(pen: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    s = scene.shape
    if scene.view == "LATERAL":
        x, y = -0.60 * s["depth"] - 0.6, s["apex"] + 6.5
        box, apex = (
            [(x - 0.5, y - 2), (x + 0.6, y - 2.1), (x + 0.7, y + 2), (x - 0.5, y + 2.1)],
            (-0.55 * s["depth"], s["dome_left"] - 1.4),
        )
        leads = [[(x, y - 1.8), (-1.5, s["apex"] + 3), (-1.2, 1.0), (-3, s["dome_left"] - 2.6), apex]]
    else:
        x, y = 0.64 * s["half"], s["apex"] + 6.0
        box = [
            (x - 1.9, y - 1.9),
            (x + 1.5, y - 2.2),
            (x + 2.3, y - 0.8),
            (x + 2.2, y + 1.5),
            (x + 0.9, y + 2.4),
            (x - 1.4, y + 2.1),
            (x - 2.1, y + 0.8),
        ]
        start, vein = (
            (x - 0.9, y - 1.8),
            [(x - 2.8, s["apex"] + 3.2), (0.5, s["apex"] + 4.6), (-2.2, s["apex"] + 7.5), (-2.5, _carina(scene) + 4.5)],
        )
        width = 2 * s["half"]
        leads = [[start, *vein, (-1.6, s["dome_right"] - 1.6), (0.21 * width, s["dome_left"] - 0.9)]]
        if rng.random() < 0.7:
            leads.append([start, *vein, (-2.9, s["dome_right"] - 3.6), (-2.2, s["dome_right"] - 4.8)])
    corners = curve([*box, box[0]], 40)
    pen.polygon(corners, 2.0)
    pen.line(curve([((p[0] - x) * 0.72 + x, (p[1] - y) * 0.72 + y) for p in [*box, box[0]]], 30), 0.18, 3.0)
    for lead in leads:
        _tube(pen, lead, 0.22, 1.3, n=60)
        pen.disc(*lead[-1], 0.22, 2.2)


def electrodes(pen: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    s = scene.shape
    half = s["half"] if scene.view != "LATERAL" else 0.6 * s["depth"]
    for sign, down in ((-1, 5.0), (1, 5.5), (1, 18.0), (-1, 18.5))[: int(rng.integers(3, 5))]:
        x, y = sign * half * rng.uniform(0.45, 0.75), s["apex"] + down + rng.normal(0, 0.8)
        if scene.view == "LATERAL":
            x = -half * rng.uniform(0.8, 1.1)
        _tube(
            pen,
            [(x, y), (x + rng.normal(0, 1.5), y + 4), (sign * rng.uniform(1, 6), 12), (rng.normal(0, 3), 23)],
            0.14,
            0.9,
        )
        pen.disc(x, y, 0.55, 0.6)
        pen.disc(x, y, 0.26, 1.6)


def chest_drain(pen: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    s = scene.shape
    sign = -1 if rng.random() < 0.5 else 1
    if scene.view == "LATERAL":
        points = [(-0.3 * s["depth"], 21), (0.3 * s["depth"], 6), (0.3 * s["depth"], s["apex"] + 5)]
    else:
        points = [
            (sign * (s["half"] + 4), 6),
            (sign * (s["half"] - 0.6), 2.0),
            (sign * 0.72 * s["half"], -2),
            (sign * 0.42 * s["half"], s["apex"] + 3.6),
        ]
    _tube(pen, points, 0.75, 0.38, wall=True)
    _tube(pen, points, 0.13, 1.1)


def sternal_wires(pen: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    s = scene.shape
    for number in range(6):
        y = s["apex"] + 5.2 + 2.25 * number
        x = 0.5 * scene.spec.rotation + rng.normal(0, 0.12)
        if scene.view == "LATERAL":
            x = float(-0.12 * s["depth"] - 0.64 * s["depth"] * np.sin(min((y - s["apex"]) / 22 * 1.9, np.pi / 2))) - 0.5
        loop = curve([(x - 0.8, y), (x - 0.2, y - 0.45), (x + 0.75, y - 0.1), (x + 0.1, y + 0.4), (x - 0.8, y)], 20)
        pen.line(loop, 0.13, 2.2)
        pen.line(np.array([(x - 0.1, y + 0.4), (x + 0.15, y + 0.75)]), 0.16, 2.2)


def valve(pen: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    s = scene.shape
    x = 1.6 if scene.view != "LATERAL" else -0.15 * s["depth"]
    y, turn = s["dome_left"] - 5.0, rng.uniform(-0.6, 0.6)
    t = np.linspace(0, 2 * np.pi, 24)
    ring = np.stack(
        [
            x + 1.3 * np.cos(t) * np.cos(turn) - 0.6 * np.sin(t) * np.sin(turn),
            y + 1.3 * np.cos(t) * np.sin(turn) + 0.6 * np.sin(t) * np.cos(turn),
        ],
        1,
    )
    pen.line(ring, 0.2, 2.4)


#: name → (how often, the function that draws it)
DEVICES: dict[str, tuple[float, Device]] = {
    "central line": (0.26, central_line),
    "chest drain": (0.08, chest_drain),
    "electrodes": (0.18, electrodes),
    "et tube": (0.14, et_tube),
    "feeding tube": (0.13, feeding_tube),
    "pacemaker": (0.11, pacemaker),
    "sternal wires": (0.08, sternal_wires),
    "valve": (0.02, valve),
}


def place_devices(scene: Scene, drawn: Drawn) -> np.ndarray:
    """Radio-opaque material of every device in drawn.kind ("a+b"), cm, (H, W) float32."""
    pen = Canvas(scene.grid, 3.0)
    names = [name for name in drawn.kind.split("+") if name] or ["central line"]
    for name in names:
        DEVICES[name][1](pen, scene, np.random.default_rng((drawn.seed, sorted(DEVICES).index(name))))
    return pen.map()
