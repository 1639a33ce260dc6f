"""The findings: where one lies (`draw_finding`) and what it does to the thickness maps (`apply`).

One function a finding, `(scene, drawn) → None`, registered under its CheXpert name. A function replaces maps of the
scene and never writes into them. On a lateral film u runs from front to back, so z stands in for u there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cars.errors import SettingError
from cars.phantom import lateral, thorax
from cars.phantom.anatomy import Anatomy
from cars.phantom.devices import DEVICES, place_devices
from cars.phantom.shapes import Canvas, Grid, mottle, soften, step
from cars.phantom.spec import DRAWABLE, Drawn
from cars.phantom.thorax import Scene

Painter = Callable[[Scene, Drawn], None]
PAINTERS: dict[str, Painter] = {}
#: Geometry first, then opacities, then what lies over everything.
ORDER = (
    "Cardiomegaly",
    "Enlarged Cardiomediastinum",
    "Atelectasis",
    "Lung Opacity",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Lung Lesion",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)


def paints(finding: str) -> Callable[[Painter], Painter]:
    def register(painter: Painter) -> Painter:
        PAINTERS[finding] = painter
        return painter

    return register


def apply(scene: Scene, drawn: tuple[Drawn, ...]) -> Scene:
    """Draw the findings into the scene, whatever order they came in."""
    for item in sorted(drawn, key=lambda d: ORDER.index(d.finding)):
        PAINTERS[item.finding](scene, item)
    return scene


def draw_finding(rng: np.random.Generator, finding: str, anatomy: Anatomy, severity: float | None = None) -> Drawn:
    """A finding at a random plausible place of this patient; severity in [0, 1], drawn too when None.

    Raises SettingError for "No Finding" and unknown names.
    """
    if finding not in DRAWABLE:
        raise SettingError(f"cannot draw {finding!r}; drawable are {', '.join(DRAWABLE)}")
    if severity is None:
        severity = float(rng.beta(2.0, 2.0))
    severity = round(float(np.clip(severity, 0, 1)), 4)
    # always the same number of draws, so that one finding's place does not depend on another's kind
    side_draw, u, v, z, size, aspect, angle, kind_draw = rng.random(8)
    seed = int(rng.integers(2**31))
    side = "left" if side_draw < 0.48 else "right"
    kind = ""

    def between(share: float, low: float, high: float) -> float:
        return round(float(low + (high - low) * share), 4)

    place = {"u": between(u, 0.3, 0.75), "v": between(v, 0.2, 0.85), "z": between(z, 0.25, 0.8)}
    extent, height, lean = between(size, 3.0, 6.5), between(aspect, 0.7, 1.3), between(angle, -0.5, 0.5)
    if finding in ("Cardiomegaly", "Enlarged Cardiomediastinum"):
        side, extent = "middle", severity
        place = {"u": 0.0, "v": 0.75 if finding == "Cardiomegaly" else 0.35, "z": 0.35}
    elif finding == "Edema":
        side, extent = "both", between(size, 0.35, 0.6)
        place = {"u": 0.1, "v": 0.5, "z": 0.5}
    elif finding == "Atelectasis":
        place["v"], extent, height = between(v, 0.72, 0.92), between(size, 4.0, 8.0), between(aspect, 0.35, 0.8)
        place["z"] = between(z, 0.45, 0.8)
        lean = between(angle, -0.35, 0.35)
        kind = "plate" if kind_draw < 0.55 else "base"
    elif finding == "Consolidation":
        place["v"], extent = between(v, 0.25, 0.85), between(size, 2.8, 5.2)
        kind = "lobar" if kind_draw < 0.4 else "patchy"
    elif finding == "Pneumonia":
        place["v"], extent = between(v**0.7, 0.3, 0.88), between(size, 2.4, 4.4)
    elif finding == "Lung Opacity":
        extent = between(size, 3.2, 6.0)
    elif finding == "Lung Lesion":
        place["u"], place["v"] = between(u, 0.25, 0.85), between(v, 0.15, 0.85)
        extent, height = between(0.25 * size + 0.75 * severity, 0.9, 3.5), between(aspect, 0.85, 1.15)
        kind = "spiculated" if kind_draw < 0.3 else "round"
    elif finding == "Pleural Effusion":
        side = "both" if kind_draw < 0.25 else side
        place, extent = {"u": 0.8, "v": 0.95, "z": 0.9}, between(severity, 0.12, 0.62)
    elif finding == "Pneumothorax":
        place, extent = {"u": 0.95, "v": 0.15, "z": 0.5}, between(severity, 0.10, 0.48)
    elif finding == "Pleural Other":
        kind = "plaque" if kind_draw < 0.45 else "thickening"
        place["u"], place["v"], extent = 0.97, between(v, 0.25, 0.8), between(size, 0.5, 1.5)
    elif finding == "Fracture":
        kind = "clavicle" if kind_draw < 0.15 else "ribs"
        place["u"], place["v"], extent = between(u, 0.68, 0.95), between(v, 0.25, 0.8), between(size, 0.25, 0.5)
    elif finding == "Support Devices":
        side, kind = "middle", _device_kinds(rng, severity)
    return Drawn(finding, side, severity, extent=extent, aspect=height, angle=lean, kind=kind, seed=seed, **place)


def _device_kinds(rng: np.random.Generator, severity: float) -> str:
    """One to four devices, the sicker the more: names joined by "+"."""
    count = 1 + int(rng.binomial(3, 0.15 + 0.6 * severity))
    share = np.array([weight for weight, _ in DEVICES.values()])
    names = rng.choice(list(DEVICES), size=count, replace=False, p=share / share.sum())
    return "+".join(sorted(str(n) for n in names))


# --- places ------------------------------------------------------------------------------------------------------


def _sides(drawn: Drawn) -> tuple[str, ...]:
    return ("right", "left") if drawn.side in ("both", "middle") else (drawn.side,)


def _point(scene: Scene, side: str, u: float, v: float, z: float) -> tuple[float, float]:
    """Patient cm of the place (u, v) in a lung; on a lateral film of (z, v)."""
    s, a = scene.shape, scene.spec.anatomy
    y = s["apex"] + v * (s["dome_" + side] + 0.5 - s["apex"])
    if scene.view == "LATERAL":
        front, back = lateral.front_edge(np.array(y), a, s), lateral.back_edge(np.array(y), a, s)
        return float(front + (0.12 + 0.76 * z) * (back - front)), y
    wall = float(thorax.chest_wall(np.array(y), s))
    x = 2.6 + u * (wall - 2.6)
    return (-x if side == "right" else x), y


def _within(scene: Scene, side: str) -> np.ndarray:
    """Where this lung lies: 1 inside, 0 outside."""
    lung = scene.lung(side)
    if scene.view == "LATERAL":
        return step(np.maximum(scene.right, scene.left), 0.2, 1.5)
    return step(lung, 0.2, 1.5) * ((scene.grid.x > 0) == (side == "left"))


def _radius(scene: Scene, x: float, y: float, across: float, high: float, angle: float) -> np.ndarray:
    """Distance from (x, y) in units of an ellipse's half axes (cm)."""
    dx, dy = scene.grid.x - np.float32(x), scene.grid.y - np.float32(y)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return np.sqrt(((c * dx + s * dy) / across) ** 2 + ((c * dy - s * dx) / high) ** 2)


def _cloud(scene: Scene, drawn: Drawn, side: str, ragged: float, edge: float) -> np.ndarray:
    """A soft-bordered patch in [0, 1] with a ragged outline; exactly 0 beyond it."""
    x, y = _point(scene, side, drawn.u, drawn.v, drawn.z)
    radius = _radius(scene, x, y, drawn.extent, drawn.extent * drawn.aspect, drawn.angle)
    rough = mottle(scene.grid, drawn.seed, 2.4) * 0.24 + mottle(scene.grid, drawn.seed + 1, 1.1) * 0.09
    return step(1.0 - radius + ragged * rough, -edge, edge) * step(radius, 1.9, 1.4) * _within(scene, side)


def _opacify(scene: Scene, amount: np.ndarray) -> None:
    """Raise the lung's density towards water where amount in [0, 1] says so; vessels drown in it."""
    if scene.view == "LATERAL":
        amount = 0.6 * amount  # one lung's finding, seen through both lungs
    scene.density = scene.density + (1 - scene.density) * amount
    scene.vessels = scene.vessels * (1 - 0.85 * amount)


# --- findings ----------------------------------------------------------------------------------------------------


@paints("Cardiomegaly")
def _cardiomegaly(scene: Scene, drawn: Drawn) -> None:
    spec, s = scene.spec, scene.shape
    ratio = 0.535 + 0.14 * drawn.severity + (0.02 if scene.view == "AP" else 0)
    draw = lateral.lateral_heart if scene.view == "LATERAL" else thorax.heart_map
    scene.heart = draw(scene.grid, spec.anatomy, spec, s, ratio)


@paints("Enlarged Cardiomediastinum")
def _mediastinum(scene: Scene, drawn: Drawn) -> None:
    draw = lateral.lateral_mediastinum if scene.view == "LATERAL" else thorax.mediastinum_map
    scene.mediastinum = draw(scene.grid, scene.spec.anatomy, scene.spec, scene.shape, 1.35 + 0.6 * drawn.severity)


@paints("Atelectasis")
def _atelectasis(scene: Scene, drawn: Drawn) -> None:
    """Plates: thin bands near the base. Base: a hazy wedge. Both pull the dome up a little."""
    for side in _sides(drawn):
        lift = 0.5 + 1.4 * drawn.severity
        if scene.view == "LATERAL":
            lung, _, _ = lateral.lateral_lung(scene.grid, scene.spec.anatomy, scene.shape, side, lift)
        else:
            right, left, _, _ = thorax.lung_maps(scene.grid, scene.spec.anatomy, scene.shape, {side: lift})
            lung = right if side == "right" else left
        setattr(scene, side, lung)
        x, y = _point(scene, side, drawn.u, drawn.v, drawn.z)
        y -= lift
        amount = np.zeros_like(scene.grid.x)
        rng = np.random.default_rng(drawn.seed)
        plates = 1 + round(2 * drawn.severity) if drawn.kind == "plate" else 1
        for number in range(plates):
            lean = drawn.angle + rng.normal(0, 0.12)
            thick = (0.22 + 0.22 * drawn.aspect) * (1 + 0.4 * drawn.severity)
            radius = _radius(scene, x, y - number * rng.uniform(1.0, 1.8), drawn.extent / 2, thick, lean)
            amount = np.maximum(amount, (0.26 + 0.16 * drawn.severity) * step(radius, 1.0, 0.25))
        if drawn.kind == "base":
            radius = _radius(scene, 0.75 * x, y + 1.5, drawn.extent * 0.85, 2.6 + 1.6 * drawn.severity, drawn.angle / 2)
            rough = 1 + 0.2 * mottle(scene.grid, drawn.seed, 0.8)
            amount = np.maximum(
                amount, (0.30 + 0.28 * drawn.severity) * step(radius, 1.1, 0.0) * np.clip(rough, 0.5, 1.3)
            )
        _opacify(scene, np.clip(amount, 0, 0.9) * _within(scene, side))


@paints("Lung Opacity")
def _ground_glass(scene: Scene, drawn: Drawn) -> None:
    for side in _sides(drawn):
        _opacify(scene, (0.16 + 0.20 * drawn.severity) * _cloud(scene, drawn, side, 0.8, 0.55))


@paints("Edema")
def _edema(scene: Scene, drawn: Drawn) -> None:
    """Perihilar haze on both sides, fuller vessels, short Kerley lines at the lateral bases."""
    haze = np.zeros_like(scene.grid.x)
    grain = np.clip(
        1 + 0.17 * mottle(scene.grid, drawn.seed, 0.7) + 0.22 * mottle(scene.grid, drawn.seed + 1, 1.8), 0.4, 1.8
    )
    for side in ("right", "left"):
        x, y = _point(scene, side, 0.12, 0.58, 0.5)
        wide = drawn.extent * scene.shape["half"] * 1.35
        radius = _radius(scene, x, y, wide, 7.5 + 2 * drawn.severity, 0.0)
        haze = np.maximum(haze, step(radius, 1.25, 0.1) * _within(scene, side))
    amount = np.clip((0.16 + 0.28 * drawn.severity) * haze * grain, 0, 0.8) * (0.7 if scene.view == "LATERAL" else 1.0)
    scene.vessels = scene.vessels * (1 + (0.25 + 0.35 * drawn.severity) * step(haze, 0.0, 0.5))
    scene.density = scene.density + (1 - scene.density) * amount
    rng = np.random.default_rng(drawn.seed)
    canvas = Canvas(scene.grid, 1.0)
    for side in ("right", "left"):
        for _ in range(4 + int(6 * drawn.severity)):
            x, y = _point(scene, side, rng.uniform(0.86, 0.97), rng.uniform(0.68, 0.95), rng.uniform(0.8, 0.95))
            reach = rng.uniform(0.8, 1.6) * (1 if x < 0 else -1)
            canvas.line(np.array([(x, y), (x + reach, y + rng.normal(0, 0.12))]), 0.11, 0.7)
    scene.dense = scene.dense + canvas.map() * np.minimum(1, scene.aerated() / 4)


@paints("Consolidation")
def _consolidation(scene: Scene, drawn: Drawn) -> None:
    """Dense patch with soft borders and dark bronchi; a lobar one ends sharply at a fissure."""
    for side in _sides(drawn):
        cloud = _cloud(scene, drawn, side, 1.0, 0.55)
        if drawn.kind == "lobar":
            _, y = _point(scene, side, drawn.u, drawn.v, drawn.z)
            fissure = (scene.grid.y - y) * (1 if drawn.v < 0.5 else -1) + 0.12 * (scene.grid.x - scene.grid.x.mean())
            cloud = cloud * step(fissure, 1.4, 1.1)
        patches = np.clip(0.85 + 0.16 * mottle(scene.grid, drawn.seed + 2, 1.1), 0.5, 1.1)
        amount = np.clip((0.36 + 0.34 * drawn.severity) * cloud * patches, 0, 0.95)
        scene.airways = scene.airways + 0.8 * np.minimum(scene.vessels, 0.6) * step(amount, 0.2, 0.5)
        _opacify(scene, amount)


@paints("Pneumonia")
def _pneumonia(scene: Scene, drawn: Drawn) -> None:
    """Several ill-defined patches in one segment, less dense than a consolidation."""
    rng = np.random.default_rng(drawn.seed)
    for side in _sides(drawn):
        x, y = _point(scene, side, drawn.u, drawn.v, drawn.z)
        rough = 0.26 * mottle(scene.grid, drawn.seed, 1.9) + 0.12 * mottle(scene.grid, drawn.seed + 1, 0.8)
        amount = np.zeros_like(scene.grid.x)
        for _ in range(4 + int(4 * drawn.severity)):
            dx, dy = rng.normal(0, 0.55 * drawn.extent, 2)
            r = drawn.extent * rng.uniform(0.35, 0.75)
            radius = _radius(scene, x + dx, y + 0.8 * dy, r, r * rng.uniform(0.6, 1.1), rng.uniform(-0.6, 0.6))
            amount = 1 - (1 - amount) * (1 - rng.uniform(0.16, 0.32) * step(radius - rough, 1.5, 0.1))
        amount = amount * (0.65 + 0.45 * drawn.severity) * _within(scene, side)
        _opacify(scene, np.clip(amount, 0, 0.85))


@paints("Lung Lesion")
def _lesion(scene: Scene, drawn: Drawn) -> None:
    """A nodule or mass; extent is its diameter in cm (0.9–3.5)."""
    for side in _sides(drawn):
        x, y = _point(scene, side, drawn.u, drawn.v, drawn.z)
        r = drawn.extent / 2
        wobble = 0.14 if drawn.kind == "round" else 0.30
        # bounded, so that nothing of a nodule lies beyond 1.7 of its radius
        rough = np.clip(wobble * mottle(scene.grid, drawn.seed, max(0.35, 0.5 * r)), -0.4, 0.8)
        radius = _radius(scene, x, y, r, r * drawn.aspect, drawn.angle) * (1 + rough)
        ball = np.sqrt(np.clip(1 - radius**2, 0, None)) * min(drawn.extent + 0.7, 3.6)
        inside = np.minimum(1, scene.lung(side) / 2)
        if drawn.kind == "spiculated":
            rng = np.random.default_rng(drawn.seed)
            canvas = Canvas(scene.grid, 1.0)
            for turn in rng.uniform(0, 2 * np.pi, 9):
                far = r * rng.uniform(1.3, 1.9)
                canvas.line(np.array([(x, y), (x + far * np.cos(turn), y + far * np.sin(turn))]), 0.14, 0.5)
            ball = np.maximum(ball, canvas.map(0.05))
        scene.dense = scene.dense + ball.astype(np.float32) * inside


@paints("Pleural Effusion")
def _effusion(scene: Scene, drawn: Drawn) -> None:
    """Fluid with a meniscus; extent is the share of the lung's height that it fills."""
    for side in _sides(drawn):
        s = scene.shape
        floor = s["dome_" + side] + scene.spec.anatomy.dome_curve
        level = floor - drawn.extent * (floor - s["apex"])
        u = np.clip(scene.u, 0, 1)
        rise = (1.2 + 4.2 * drawn.extent) * (
            u**3 + (0.5 * (1 - u) ** 3 if scene.view == "LATERAL" else 0.12 * (1 - u) ** 2)
        )
        depth = scene.grid.y - (level - rise + (1.2 + 4.2 * drawn.extent) * 0.35)
        rough = 0.15 * mottle(scene.grid, drawn.seed, 1.5)
        amount = step(depth + rough, -0.7, 1.6) * _within(scene, side)
        _opacify(scene, 0.90 * amount)


@paints("Pneumothorax")
def _pneumothorax(scene: Scene, drawn: Drawn) -> None:
    """The lung falls away from apex and chest wall: no vessels and less density outside a thin pleural line."""
    for side in _sides(drawn):
        s, grid = scene.shape, scene.grid
        y = grid.y - np.float32(s["apex"])
        height = s["dome_" + side] - s["apex"]
        gap = drawn.extent
        if scene.view == "LATERAL":
            distance = (scene.u - (0.25 + 0.9 * gap) * step(y, 0.55 * height, 0)) * s["depth"]
            distance = np.minimum(distance, y - 5.5 * gap)
        else:
            rim = (scene.grid.x * (-1 if side == "right" else 1)).astype(np.float32)
            wall = thorax.chest_wall(grid.y, s)
            shrink = gap * (0.42 + 0.58 * step(y, 0.9 * height, 0.15 * height)) * step(y, 1.05 * height, 0.8 * height)
            distance = np.minimum(wall * (1 - shrink) - rim, y - 8.0 * gap - 0.06 * (rim - 4) ** 2)
        wave = 0.12 * mottle(grid, drawn.seed, 2.5)
        distance = (distance + wave).astype(np.float32)
        within = _within(scene, side)
        outside = step(distance, 0.06, -0.06) * within
        keep_other = 0.5 if scene.view == "LATERAL" else 1.0
        scene.vessels = scene.vessels * (1 - keep_other * outside)
        scene.density = scene.density * (1 - (0.42 + 0.3 * drawn.severity) * keep_other * outside)
        width = max(0.09, 0.55 * grid.pixel)
        line = np.exp(-((distance / width) ** 2)) * (np.abs(distance) < 3 * width) * within
        scene.dense = scene.dense + 0.75 * line
        collapsed = (0.04 + 0.16 * gap) * within * (1 - outside) * step(distance, 6.0, 0.0)
        scene.density = scene.density + (1 - scene.density) * collapsed


@paints("Pleural Other")
def _pleura(scene: Scene, drawn: Drawn) -> None:
    """Thickening: a band along the chest wall. Plaque: calcified holly-leaf patches."""
    grid, s = scene.grid, scene.shape
    for side in _sides(drawn):
        within = _within(scene, side)
        _x, y = _point(scene, side, drawn.u, drawn.v, drawn.z)
        if drawn.kind == "plaque":
            total = np.zeros_like(grid.x)
            rng = np.random.default_rng(drawn.seed)
            for _ in range(2 + int(3 * drawn.severity)):
                px, py = _point(
                    scene,
                    side,
                    rng.uniform(0.5, 0.92),
                    np.clip(drawn.v + rng.normal(0, 0.15), 0.2, 0.9),
                    rng.uniform(0.1, 0.9),
                )
                radius = _radius(scene, px, py, rng.uniform(0.7, 1.6), rng.uniform(0.3, 0.6), rng.uniform(-1.2, 1.2))
                leaf = radius * (1 + 0.28 * mottle(grid, drawn.seed + 3, 0.45))
                total = np.maximum(total, 0.50 * step(leaf, 1.0, 0.85) + 0.35 * step(np.abs(leaf - 0.85), 0.16, 0.05))
            scene.metal = scene.metal + total * (0.7 + 0.5 * drawn.severity) * within
            continue
        thick = (0.5 + 0.9 * drawn.severity) * drawn.extent
        if scene.view == "LATERAL":
            depth = (1 - scene.u) * s["depth"]
        else:
            depth = thorax.chest_wall(grid.y, s) - np.abs(grid.x)
        reach = step(np.abs(grid.y - y), 7.0, 3.0)
        edge = depth - (thick + 0.14 * mottle(grid, drawn.seed, 2.6)) * reach
        amount = step(edge, 0.35, -0.35) * step(reach, 0.02, 0.3) * within
        scene.density = scene.density + (1 - scene.density) * 0.75 * amount
        scene.dense = scene.dense + (0.3 + 0.5 * drawn.severity) * amount


@paints("Fracture")
def _fracture(scene: Scene, drawn: Drawn) -> None:
    """A gap across one to four neighbouring ribs, or the clavicle, with the outer fragment stepped off."""
    a, s, grid = scene.spec.anatomy, scene.shape, scene.grid
    flat = 1.0 if scene.view == "AP" else 0.0
    side = "left" if drawn.side == "left" else "right"
    count = 1 if drawn.kind == "clavicle" else 1 + round(3 * drawn.severity)
    first = int(np.clip(round(3 + 5 * drawn.v), 3, 9 - count + 1))
    scatter = np.random.default_rng(drawn.seed).normal(0, 0.05, count)
    for number in range(first, first + count):
        place = drawn.u + scatter[number - first]
        if scene.view == "LATERAL":
            x, y = _point(scene, side, drawn.u, drawn.v, 0.45)
            x, y, turn = x + 0.3 * (number - first), y + a.rib_pitch * (number - first), 2.6
        elif drawn.kind == "clavicle":
            top = s["apex"] + (3.4 if flat == 0 else 1.9)
            x, y, turn = 7.5 * (1 if side == "left" else -1), top - 0.45 * a.clavicle_rise, 0.0
        else:
            path = thorax.rib_path(a, s, side, number, flat)
            at = int(np.argmin(np.abs(np.abs(path[:24, 0]) - place * np.abs(path[:24, 0]).max())))
            (x, y), along = path[at], path[at + 1] - path[at]
            turn = float(np.arctan2(along[1], along[0]))
        scene.bone = _broken(grid, scene.bone, x, y, turn, 0.45 + 0.45 * drawn.severity, drawn.extent)
        # callus and the bruised soft tissue around the break
        scene.dense = scene.dense + 0.9 * step(_radius(scene, x, y, 1.5, 1.0, turn), 1.0, 0.2)


def _broken(grid: Grid, bone: np.ndarray, x: float, y: float, turn: float, offset: float, gap: float) -> np.ndarray:
    """Bone with a break at (x, y) across the direction turn: beyond it the fragment is shifted by offset cm."""
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    dx, dy = grid.x - np.float32(x), grid.y - np.float32(y)
    along, across = c * dx + s * dy, c * dy - s * dx
    near = step(np.abs(across), 1.5, 0.9) * step(np.abs(along), 2.6, 1.4)
    beyond = near * (along > 0)
    pixels = max(1, round(offset / grid.pixel))
    down = np.roll(bone, (round(pixels * float(c)), round(-pixels * float(s))), axis=(0, 1))
    moved = bone * (1 - beyond) + down * beyond
    slot = step(np.abs(along + 0.35 * across), gap * 0.75 + grid.pixel * 0.4, gap * 0.35) * step(
        np.abs(across), 1.3, 0.9
    )
    rim = step(np.abs(np.abs(along + 0.35 * across) - gap), 0.22, 0.05) * step(np.abs(across), 0.75, 0.4)
    return moved * (1 - 0.9 * slot) + np.float32(0.5) * rim * (bone > 0.15)


@paints("Support Devices")
def _devices(scene: Scene, drawn: Drawn) -> None:
    scene.metal = scene.metal + soften(place_devices(scene, drawn), 0.3)
