"""Phantom films whose lungs have the shapes of real ones, to train and to test segmenters on.

torchxrayvision carries lung masks that people drew on the films of the COVID-19 image data collection (V7 Labs'
COVID-19 X-ray dataset, annotations CC BY 4.0; films: Cohen et al. 2020, arXiv 2003.11597). The films themselves are not
there. **These masks include the lung behind the heart**, and where it can be seen that behind the diaphragm; drawn
masks such as those of Montgomery, Shenzhen and JSRT follow the contours of heart, mediastinum and diaphragm instead
(arXiv 2402.11510 describes that convention), and CARS follows those. So a mask gives the shape of a *whole* lung only:
a phantom film is bent until its whole lungs have that shape, and its own heart, bent with it, is taken out of them.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.interpolate import RBFInterpolator

from cars.errors import MissingDependency
from cars.phantom.spec import FilmSpec
from cars.phantom.thorax import frontal

ARCHIVE = "data/semantic_masks_v7labs_lungs.zip"
#: Side at which shapes are measured, pixels.
SIDE = 256
#: Greatest ratio of the most to the least widened place of a bent film.
STRAIN = 10.0
#: Heights and widths of a lung at which its edges are read, as shares.
HEIGHTS, WIDTHS = np.linspace(0.08, 0.92, 9), np.linspace(0.12, 0.88, 7)


def archive() -> Path:
    """The zip of masks in the installed torchxrayvision. Raises: MissingDependency when it is not there."""
    package = find_spec("torchxrayvision")
    file = Path(package.origin).parent / ARCHIVE if package and package.origin else None
    if file is None or not file.is_file():
        raise MissingDependency(
            "The lung masks of torchxrayvision are not there.", "Run `pip install torchxrayvision`."
        )
    return file


def drawn_shapes(held: bool) -> np.ndarray:
    """Landmarks of drawn lungs, (N, 2, P, 2) float64 in [0, 1] of the square film: right then left lung, (y, x).

    held: the fifth of the films that no training sees, chosen by a hash of the first letters of their names, so that
    films of one case stay together. Empty masks (lateral films), masks cut by the film's edge, and those without two
    lungs side by side are left out.
    """
    shapes = []
    with zipfile.ZipFile(archive()) as stream:
        for name in sorted(n for n in stream.namelist() if not n.endswith("/")):
            case = Path(name).stem[:12]
            if (zlib.crc32(case.encode()) % 5 == 0) != held:
                continue
            with Image.open(io.BytesIO(stream.read(name))) as image:
                lungs = lungs_of(np.asarray(image.convert("L")))
            if lungs is not None:
                shapes.append([landmarks(lungs[0], True), landmarks(lungs[1], False)])
    return np.array(shapes)


def lungs_of(mask: np.ndarray) -> np.ndarray | None:
    """A drawn mask (H, W) uint8, 255 lung and 127 "ignore" → right and left lung (2, SIDE, SIDE) bool, or None."""
    image = Image.fromarray(mask > 100)
    scale = SIDE / max(mask.shape)
    small = image.resize((max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))))
    full = np.zeros((SIDE, SIDE), bool)
    top, left = (SIDE - small.height) // 2, (SIDE - small.width) // 2
    full[top : top + small.height, left : left + small.width] = np.asarray(small)
    labels, count = ndimage.label(ndimage.binary_opening(ndimage.binary_fill_holes(full), iterations=3))
    sizes = np.bincount(labels.ravel(), minlength=3)[1:]
    if count < 2 or np.sort(sizes)[-2] < 0.03 * SIDE**2:
        return None
    pair = [labels == 1 + k for k in np.argsort(sizes)[-2:]]
    pair.sort(key=lambda lung: ndimage.center_of_mass(lung)[1])
    inner = full[top : top + small.height, left : left + small.width]
    cut = max(inner[0].sum(), inner[-1].sum(), inner[:, 0].sum(), inner[:, -1].sum())
    (ya, xa), (yb, xb) = (ndimage.center_of_mass(lung) for lung in pair)
    if cut > 3 or abs(ya - yb) > 0.12 * SIDE or xb - xa < 0.15 * SIDE:
        return None
    return np.stack(pair)


def landmarks(lung: np.ndarray, lateral_left: bool) -> np.ndarray:
    """P points on the outline of one whole lung, (P, 2) as (y, x) in [0, 1].

    The apex; the lateral and the medial edge at HEIGHTS of the lung; the diaphragm at WIDTHS of it, from the
    costophrenic angle inwards. lateral_left: the lateral edge is on the image's left (the right lung).
    """
    mask = lung if lateral_left else lung[:, ::-1]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    first, last = mask.argmax(axis=1), mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    low = mask.shape[0] - 1 - mask[::-1].argmax(axis=0)
    points = [(rows[0], (first[rows[0]] + last[rows[0]]) / 2)]
    points += [(y, first[y]) for y in np.round(rows[0] + HEIGHTS * (rows[-1] - rows[0])).astype(int)]
    # the medial edge ends where the diaphragm meets it, higher than the costophrenic angle
    inner = round(columns[0] + 0.9 * (columns[-1] - columns[0]))
    points += [(y, last[y]) for y in np.round(rows[0] + HEIGHTS * (low[inner] - rows[0])).astype(int)]
    points += [(low[x], x) for x in np.round(columns[0] + WIDTHS * (columns[-1] - columns[0])).astype(int)]
    found = (np.array(points, dtype=float) + 0.5) / mask.shape
    return found if lateral_left else np.stack([found[:, 0], 1 - found[:, 1]], axis=1)


def whole_lungs(spec: FilmSpec, size: int = SIDE) -> np.ndarray:
    """The right and left lung of a frontal phantom film with what lies behind the heart, (2, size, size) bool."""
    scene = frontal(spec, size)
    inside = (scene.v < 1) & (scene.v > 0) & (scene.u > 0) & (scene.u < 1)
    return np.stack([inside & (scene.grid.x <= 0), inside & (scene.grid.x > 0)])


def bend(
    image: np.ndarray, masks: np.ndarray, spec: FilmSpec, shape: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """A phantom film and its masks, bent so that its whole lungs take a drawn shape; None when that strains it.

    image: (H, H) uint8. masks: (M, H, H) bool. shape: (2, P, 2) of drawn_shapes. A thin-plate spline maps each place
    of the new film to one of the old; what lies beyond the old film is black. Holes of a mask are filled.
    """
    lungs = whole_lungs(spec)
    old = np.concatenate([landmarks(lungs[0], True), landmarks(lungs[1], False)])
    size = len(image)
    coarse = np.arange(33) / 32
    there = np.stack(np.meshgrid(coarse, coarse, indexing="ij"), axis=-1).reshape(-1, 2)
    # a little smoothing: the two outlines are read point by point, and a spline through each reading would ripple
    moved = RBFInterpolator(shape.reshape(-1, 2), old, kernel="thin_plate_spline", smoothing=1e-4)(there)
    field = moved.reshape(33, 33, 2)
    (yy, xy), (yx, xx) = (np.moveaxis(np.gradient(field, axis=axis) * 32, 2, 0) for axis in (0, 1))
    # how much area and shape change between the lungs' outer edges: a heart squeezed to a stripe teaches nothing
    top, bottom = shape[..., 0].min(), shape[..., 0].max()
    left, right = shape[..., 1].min(), shape[..., 1].max()
    within = np.ix_((coarse >= top) & (coarse <= bottom), (coarse >= left) & (coarse <= right))
    area, stretch = (yy * xx - xy * yx)[within], np.abs(xx[within] / np.maximum(np.abs(yy[within]), 1e-3))
    if area.min() <= 0.1 or stretch.max() / stretch.min() > STRAIN:
        return None
    at = (np.arange(size) + 0.5) / size * 32
    grid = np.stack(np.meshgrid(at, at, indexing="ij"))
    back = [ndimage.map_coordinates(moved[:, k].reshape(33, 33), grid, order=1) * size - 0.5 for k in (0, 1)]
    film = ndimage.map_coordinates(image.astype(np.float32), back, order=1, cval=0)
    moved_masks = (ndimage.map_coordinates(mask.astype(np.float32), back, order=1, cval=0) > 0.5 for mask in masks)
    bent = [ndimage.binary_fill_holes(mask) for mask in moved_masks]
    return np.clip(np.rint(film), 0, 255).astype(np.uint8), np.stack(bent)


def inside_shape(shape: np.ndarray, size: int) -> np.ndarray:
    """A drawn shape as (2, size, size) bool: right and left lung, between their landmarks."""
    from PIL import ImageDraw

    n = len(HEIGHTS)
    lungs = []
    for points in shape * size:
        # around the outline: apex, down the lateral edge, along the diaphragm, up the medial edge
        ring = np.concatenate([points[: 1 + n], points[1 + 2 * n :], points[1 + n : 1 + 2 * n][::-1]])
        canvas = Image.new("1", (size, size))
        ImageDraw.Draw(canvas).polygon([(x, y) for y, x in ring], fill=1)
        lungs.append(np.asarray(canvas))
    return np.stack(lungs)
