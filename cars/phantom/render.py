"""From thickness maps to an 8-bit film.

The beam's attenuation is A = Σ μ·thickness. The detector sees exp(−A) plus scatter; a digital system shows −log of
that, with its wide brightness differences lessened. Window and scatter come from the patient without findings, so a
finding changes the film where it lies and nowhere else: outside `Film.finding_masks` a counterfactual is bit-equal.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import binary_dilation

from cars.errors import SettingError
from cars.phantom.findings import apply
from cars.phantom.lateral import lateral
from cars.phantom.shapes import Canvas, Grid, broad, soften
from cars.phantom.spec import FilmSpec, check
from cars.phantom.thorax import Scene, frontal

MU_WATER = 0.17  # per cm, 120 kVp through a chest, hardened
MU_BONE = 0.30  # per cm of mineral, on top of the water it replaces
LETTERS: dict[str, list[list[tuple[float, float]]]] = {
    "L": [[(0, 0), (0, 1), (0.6, 1)]],
    "R": [[(0, 1), (0, 0), (0.45, 0.05), (0.6, 0.27), (0.45, 0.5), (0, 0.52)], [(0.25, 0.52), (0.65, 1)]],
}
SCATTER = 0.035  # scattered share of the unattenuated-lung exposure


@dataclass(frozen=True)
class Film:
    """A rendered film.

    image: (H, W) uint8, MONOCHROME2: bright attenuates, air is dark. The patient's left is on the image's right.
    masks: (3, H, W) bool: left lung, right lung, heart. On a lateral film both lungs share one outline.
    finding_masks: finding → (H, W) bool, the pixels that change when it is taken out; {} when rendered without them.
    """

    image: np.ndarray
    masks: np.ndarray
    finding_masks: dict[str, np.ndarray]


@lru_cache(maxsize=6)
def _healthy(spec: FilmSpec, size: int) -> tuple[Scene, np.ndarray, np.ndarray, float, float, np.ndarray]:
    """Scene, scatter, broad brightness, window and noise of the film without findings: shared, read-only."""
    scene = frontal(spec, size) if spec.view != "LATERAL" else lateral(spec, size)
    attenuation = _attenuation(scene)
    scatter = SCATTER * broad(np.exp(-np.minimum(attenuation, 2.2)), 2.2 / scene.grid.pixel)
    clean = -np.log(np.exp(-attenuation) + scatter)
    wide = broad(clean, 2.6 / scene.grid.pixel)
    inside = scene.right + scene.left > 4
    low = float(np.percentile(clean[inside], 8)) if inside.any() else 1.5
    high = float(np.percentile(clean[scene.body > 8], 97)) if (scene.body > 8).any() else 3.5
    noise = np.random.default_rng(spec.noise_seed).standard_normal((size, size), dtype=np.float32)
    return scene, scatter, wide, low, high, noise


def _attenuation(scene: Scene) -> np.ndarray:
    aerated = scene.aerated()
    water = scene.body - aerated * (1 - scene.density) - scene.airways + scene.dense
    water = water + scene.vessels * np.minimum(1, aerated * 0.35)
    return MU_WATER * np.maximum(water, 0) + MU_BONE * (scene.bone + scene.metal)


def _grey(scene: Scene, spec: FilmSpec, size: int) -> np.ndarray:
    """The film as grey in [0, 255], (H, W) float32."""
    _, scatter, wide, low, high, noise = _healthy(replace(spec, drawn=()), size)
    attenuation = soften(_attenuation(scene), 0.055 / scene.grid.pixel)
    signal = -np.log(np.exp(-attenuation) + scatter)
    # fewer photons behind thick parts: relative noise grows with the square root of the attenuation's exponential
    grain = np.float32(0.016 * spec.noise * min(1.0, size / 256)) * np.exp(0.35 * (signal - low))
    signal = signal + grain * noise
    middle = 0.5 * (low + high)
    signal = signal - np.float32(0.22) * (wide - np.float32(middle))
    share = (signal - np.float32(middle)) / np.float32((high - low) * 0.80) * np.float32(spec.contrast)
    share = share + np.float32(0.06 - 0.16 * spec.exposure)
    return 255 / (1 + np.exp(-3.6 * share))


def render(spec: FilmSpec, size: int = 256, masks: bool = True) -> Film:
    """Render one film, size × size pixels; the same spec gives the same film. masks=False skips the finding masks.

    Raises SettingError for an unknown view or finding, or a size below 32.
    """
    check(spec)
    if size < 32:
        raise SettingError(f"size is {size}; the phantom needs at least 32 pixels")
    scene = _with_findings(spec, size)
    image = _image(scene, spec, size)
    changed = {}
    if masks:
        for name in {d.finding for d in spec.drawn}:
            bare = replace(spec, drawn=tuple(d for d in spec.drawn if d.finding != name))
            other = _image(_with_findings(bare, size), bare, size)
            changed[name] = binary_dilation(image != other, iterations=max(1, size // 128))
    return Film(image, _organs(scene), changed)


def _with_findings(spec: FilmSpec, size: int) -> Scene:
    scene = copy.copy(_healthy(replace(spec, drawn=()), size)[0])
    return apply(scene, spec.drawn)


def _image(scene: Scene, spec: FilmSpec, size: int) -> np.ndarray:
    grey = _grey(scene, spec, size)
    image = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    stamp = _letter(spec.marker, spec.view, size)
    return np.maximum(image, stamp) if stamp is not None else image


@lru_cache(maxsize=32)
def _letter(marker: str, view: str, size: int) -> np.ndarray | None:
    """The lead letter at the detector's upper corner on the side that it names, (H, W) uint8."""
    if marker not in LETTERS:
        return None
    grid = Grid(size, 40.0)
    pen = Canvas(grid, 255.0)
    x = -17.6 if marker == "R" or view == "LATERAL" else 16.4
    for stroke in LETTERS[marker]:
        pen.line(np.array(stroke) * 1.5 + (x, -17.8), 0.34, 235.0)
    return pen.map().astype(np.uint8)


def _organs(scene: Scene) -> np.ndarray:
    """Left lung, right lung, heart as outlines on the film, (3, H, W) bool."""
    heart = (scene.heart > 0.6) & (scene.v < 1.06)
    if scene.view == "LATERAL":
        lung = (scene.right > 0.8) & (scene.v < 1.0)
        return np.stack([lung, lung, heart])
    centre = scene.in_front() > 2.2
    inside = (scene.v < 1.0) & (scene.v > 0) & (scene.u > 0) & (scene.u < 1) & ~centre & ~heart
    return np.stack([inside & (scene.grid.x > 0), inside & (scene.grid.x <= 0), heart])
