"""The drawing tools: a detector grid in patient centimetres, chord lengths of simple solids, and a fine canvas.

Two ways to a thickness map: solids whose chord along the beam has a formula (ellipsoids, tubes) are evaluated at every
detector pixel; thin branching things (ribs, vessels, wires) are filled as polygons on a canvas three times as fine
as the detector and averaged down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

SUPERSAMPLING = 3


@dataclass(frozen=True)
class Grid:
    """Detector pixels in patient centimetres. x and y are (H, W) float32; the patient may be tilted and off centre."""

    size: int
    field_cm: float
    tilt: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0

    @property
    def pixel(self) -> float:
        """Side of a pixel, cm."""
        return self.field_cm / self.size

    @cached_property
    def _axes(self) -> tuple[np.ndarray, np.ndarray]:
        line = ((np.arange(self.size, dtype=np.float32) + 0.5) / self.size - 0.5) * np.float32(self.field_cm)
        dx, dy = line[None, :] - np.float32(self.shift_x), line[:, None] - np.float32(self.shift_y)
        c, s = np.float32(np.cos(self.tilt)), np.float32(np.sin(self.tilt))
        return c * dx + s * dy, c * dy - s * dx

    @property
    def x(self) -> np.ndarray:
        return self._axes[0]

    @property
    def y(self) -> np.ndarray:
        return self._axes[1]

    def pixels(self, points: np.ndarray | list[list[float]], scale: float = 1.0) -> np.ndarray:
        """Patient cm (N, 2) to pixel coordinates (N, 2), times scale."""
        points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        c, s = math.cos(self.tilt), math.sin(self.tilt)
        out = points @ np.array([[c, s], [-s, c]])
        out += (self.shift_x + 0.5 * self.field_cm, self.shift_y + 0.5 * self.field_cm)
        out *= self.size * scale / self.field_cm
        return out

    def around(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Rows and columns of the detector within reach cm of a point."""
        column, row = self.pixels([[x, y]])[0]
        r = reach / self.pixel + 1
        ends = np.clip([row - r, row + r + 1, column - r, column + r + 1], 0, self.size).astype(int)
        return slice(ends[0], ends[1]), slice(ends[2], ends[3])


class Canvas:
    """A fine 8-bit drawing. Values are shares of full_scale; later strokes overwrite earlier ones."""

    def __init__(self, grid: Grid, full_scale: float) -> None:
        self.grid = grid
        self.full_scale = full_scale
        side = grid.size * SUPERSAMPLING
        self.image = Image.new("L", (side, side))
        self.draw = ImageDraw.Draw(self.image)

    def _flat(self, points: np.ndarray) -> list[float]:
        return self.grid.pixels(points, SUPERSAMPLING).ravel().tolist()

    def _grey(self, value: float) -> int:
        return min(max(round(255 * value / self.full_scale), 0), 255)

    def polygon(self, points: np.ndarray, value: float) -> None:
        self.draw.polygon(self._flat(points), fill=self._grey(value))

    def line(self, points: np.ndarray, width: float, value: float) -> None:
        """A stroke width cm wide; one thinner than the canvas can hold is drawn fainter instead."""
        wanted = width / self.grid.pixel * SUPERSAMPLING
        drawn = max(1, round(wanted))
        self.draw.line(
            self._flat(points), fill=self._grey(value * min(1.0, wanted / drawn)), width=drawn, joint="curve"
        )

    def strokes(self, starts: np.ndarray, ends: np.ndarray, widths: np.ndarray, values: np.ndarray) -> None:
        """Many straight strokes at once: starts and ends (N, 2) cm, widths and values (N,)."""
        a = self.grid.pixels(starts, SUPERSAMPLING)
        b = self.grid.pixels(ends, SUPERSAMPLING)
        wanted = widths / self.grid.pixel * SUPERSAMPLING
        drawn = np.maximum(1, np.round(wanted)).astype(int)
        grey = np.clip(255 * values * np.minimum(1, wanted / drawn) / self.full_scale, 0, 255).astype(int)
        ends_flat = np.concatenate([a, b], axis=1).tolist()
        line = self.draw.line
        for ends_, fill, width in zip(ends_flat, grey.tolist(), drawn.tolist(), strict=True):
            line(ends_, fill=fill, width=width)

    def disc(self, x: float, y: float, radius: float, value: float) -> None:
        (px, py), r = self.grid.pixels([[x, y]], SUPERSAMPLING)[0], radius / self.grid.pixel * SUPERSAMPLING
        self.draw.ellipse([px - r, py - r, px + r, py + r], fill=self._grey(value))

    def map(self, blur: float = 0.0) -> np.ndarray:
        """The drawing at detector size, (H, W) float32, blurred by blur cm."""
        small = np.asarray(self.image.reduce(SUPERSAMPLING), dtype=np.float32) * np.float32(self.full_scale / 255)
        return soften(small, blur / self.grid.pixel) if blur else small


def soften(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur by sigma pixels; below a fifth of a pixel nothing happens."""
    return gaussian_filter(image, sigma, truncate=2.5) if sigma >= 0.2 else image


def step(value: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """Smooth rise from 0 at low to 1 at high."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def ellipsoid(grid: Grid, x: float, y: float, a: float, b: float, depth: float, angle: float = 0.0) -> np.ndarray:
    """Chord through an ellipsoid, cm: half axes a and b, full depth, its a axis turned by angle (clockwise on film)."""
    chord = np.zeros((grid.size, grid.size), dtype=np.float32)
    rows, columns = grid.around(x, y, max(a, b))
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = grid.x[rows, columns] - np.float32(x), grid.y[rows, columns] - np.float32(y)
    along, across = (c * dx + s * dy) / np.float32(a), (c * dy - s * dx) / np.float32(b)
    chord[rows, columns] = np.float32(depth) * np.sqrt(np.maximum(1 - along * along - across * across, 0))
    return chord


def tube(distance: np.ndarray, radius: np.ndarray | float, depth: float) -> np.ndarray:
    """Chord through a tube along the film, cm, from the distance to its axis in cm."""
    return np.float32(depth) * np.sqrt(np.maximum(1 - (distance / radius) ** 2, 0, dtype=np.float32))


def union(*chords: np.ndarray) -> np.ndarray:
    """One organ from overlapping solids, with their seams smoothed."""
    total = np.square(np.square(chords[0]))
    for chord in chords[1:]:
        total += np.square(np.square(chord))
    return np.sqrt(np.sqrt(total))


def ribbon(points: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Outline of a band of varying width along a curve: points (N, 2), widths (N,) → (2N, 2)."""
    along = np.empty_like(points)
    along[1:-1] = points[2:] - points[:-2]
    along[0], along[-1] = points[1] - points[0], points[-1] - points[-2]
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)
    normal = along[:, ::-1] * (widths / 2 / length)[:, None]
    normal[:, 0] *= -1
    n = len(points)
    out = np.empty((2 * n, 2))
    out[:n], out[n:] = points + normal, (points - normal)[::-1]
    return out


def curve(points: list[tuple[float, float]], n: int = 24) -> np.ndarray:
    """A smooth curve through control points (Catmull–Rom), (n, 2)."""
    p = np.asarray(points, dtype=float)
    p = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
    t = np.linspace(0, len(p) - 3 - 1e-9, n)
    i = t.astype(int)
    f = (t - i)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    return 0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3)


def mottle(grid: Grid, seed: int, scale_cm: float) -> np.ndarray:
    """Smooth noise of unit variance, (H, W) float32; its grain is scale_cm whatever the size of the film."""
    cells = int(np.ceil(grid.field_cm / scale_cm)) + 3
    coarse = np.random.default_rng(seed).standard_normal((cells, cells)).astype(np.float32)
    image = Image.fromarray(coarse)
    side = grid.field_cm / scale_cm
    fine = image.resize((grid.size, grid.size), Image.Resampling.BICUBIC, box=(1, 1, 1 + side, 1 + side))
    return np.asarray(fine) * np.float32(1.35)


def broad(image: np.ndarray, sigma: float) -> np.ndarray:
    """A wide Gaussian blur by sigma pixels, worked out on a coarse copy since it holds no detail."""
    side, factor = image.shape[0], 1
    while factor * 4 <= sigma and side % (factor * 2) == 0:
        factor *= 2
    if factor == 1:
        return gaussian_filter(image, sigma, mode="nearest")
    coarse = image.reshape(side // factor, factor, side // factor, factor).mean(axis=(1, 3))
    smooth = gaussian_filter(coarse, sigma / factor, mode="nearest")
    return np.asarray(Image.fromarray(smooth).resize((side, side), Image.Resampling.BICUBIC))
