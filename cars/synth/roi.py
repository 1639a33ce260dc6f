"""Where an edit may change pixels: the region of interest (ROI) of each finding, from the masks of lungs and heart.

Every region is laid out in the patient's own proportions: a pixel of a lung has a height v from its apex (0) to its
lowest point (1) and a breadth u from the mediastinum (0) to the chest wall (1). So the regions fit any size and any
film that has masks. An insertion takes one place out of the possible ones; a deletion takes the whole region where the
finding could be, or the place that the judge looks at when a saliency map is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from ..errors import DataError, SettingError
from ..segmenters import HEART, LEFT_LUNG, RIGHT_LUNG, grow

SIDES = ("left", "right")
DIRECTIONS = ("insert", "delete")


@dataclass(frozen=True)
class Chest:
    """The masks of one film and the coordinates drawn from them. masks: (3, H, W) bool."""

    masks: np.ndarray

    def __post_init__(self) -> None:
        if self.masks.ndim != 3 or len(self.masks) != 3 or self.masks.dtype != bool:
            raise DataError(
                f"Masks are (3, H, W) bool, not {self.masks.dtype} {self.masks.shape}.",
                "Pass left lung, right lung and heart of one film.",
            )
        for organ, name in ((LEFT_LUNG, "left lung"), (RIGHT_LUNG, "right lung"), (HEART, "heart")):
            if not self.masks[organ].any():
                raise DataError(f"The mask of the {name} is empty.", "A film without trusted masks is not edited.")

    @property
    def shape(self) -> tuple[int, int]:
        return self.masks.shape[1], self.masks.shape[2]

    @cached_property
    def unit(self) -> float:
        """Height of the taller lung in pixels: the length that all sizes are a share of."""
        return float(max(np.ptp(np.flatnonzero(self.masks[o].any(axis=1))) + 1 for o in (LEFT_LUNG, RIGHT_LUNG)))

    @cached_property
    def lungs(self) -> np.ndarray:
        return self.masks[LEFT_LUNG] | self.masks[RIGHT_LUNG]

    @property
    def heart(self) -> np.ndarray:
        return self.masks[HEART]

    @cached_property
    def thorax(self) -> np.ndarray:
        """Lungs, heart and all between them, grown to the chest wall and over the diaphragm's edge."""
        return grow(ndimage.binary_fill_holes(_span(self.lungs | self.heart)), 0.07 * self.unit)

    def lung(self, side: str) -> np.ndarray:
        return self.masks[LEFT_LUNG if side == "left" else RIGHT_LUNG]

    def place(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """u and v of every pixel for the lung of that side, (H, W) float each; outside the lung they go on linearly."""
        mask = self.lung(side)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        v = (np.arange(self.shape[0]) - rows[0]) / max(1, rows[-1] - rows[0])
        u = (np.arange(self.shape[1]) - columns[0]) / max(1, columns[-1] - columns[0])
        # the patient's left lung lies on the image's right, so its chest wall is at the larger x
        u = u if side == "left" else 1 - u
        return np.broadcast_to(u[None, :], self.shape), np.broadcast_to(v[:, None], self.shape)

    def ellipse(self, y: float, x: float, ry: float, rx: float, angle: float = 0.0) -> np.ndarray:
        """A filled ellipse: centre in pixels, radii as shares of the lung's height, angle in radians."""
        dy, dx = np.mgrid[: self.shape[0], : self.shape[1]].astype(float)
        dy, dx = dy - y, dx - x
        a, b = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
        return (a / max(rx * self.unit, 0.8)) ** 2 + (b / max(ry * self.unit, 0.8)) ** 2 <= 1


def _span(mask: np.ndarray) -> np.ndarray:
    """Each row filled from its first to its last pixel."""
    return np.logical_or.accumulate(mask, axis=1) & np.logical_or.accumulate(mask[:, ::-1], axis=1)[:, ::-1]


def _point(rng: np.random.Generator, mask: np.ndarray) -> tuple[int, int]:
    """A random pixel (y, x) of a mask."""
    index = rng.choice(np.flatnonzero(mask))
    return divmod(int(index), mask.shape[1])


# One function a finding: (chest, direction, sides, rng) → bool (H, W). sides: the lungs that it may lie in.
Region = Callable[[Chest, str, tuple[str, ...], np.random.Generator], np.ndarray]


def _union(parts: list[np.ndarray]) -> np.ndarray:
    return np.logical_or.reduce(parts)


def cardiomegaly(chest: Chest, direction: str, sides: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """The heart enlarged towards its apex; for a deletion, that without the core that stays heart."""
    rows, columns = (np.flatnonzero(chest.heart.any(axis=axis)) for axis in (1, 0))
    width = columns[-1] - columns[0] + 1
    # an enlarged heart reaches down and to the patient's left: scale about its upper right border
    y, x = rows[0] + 0.3 * (rows[-1] - rows[0]), columns[0] + 0.35 * width

    def scaled(factor: float) -> np.ndarray:
        matrix = np.array([1 / (1 + 0.7 * (factor - 1)), 1 / factor])
        return ndimage.affine_transform(
            chest.heart.astype(np.uint8), matrix, offset=np.array([y, x]) * (1 - matrix), order=0
        ).astype(bool)

    outer = grow(scaled(1.45) | chest.heart, 0.05 * chest.unit)
    return outer & ~scaled(0.45) if direction == "delete" else outer


def mediastinum(chest: Chest, direction: str, sides: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """The band between the lungs from the apices to two thirds down, widened into both."""
    rows = np.flatnonzero(chest.lungs.any(axis=1))
    band = _span(chest.lungs) & ~chest.lungs
    band[: rows[0]] = False
    band[rows[0] + int(0.66 * (rows[-1] - rows[0])) :] = False
    return grow(band, 0.13 * chest.unit) if band.any() else grow(chest.heart, 0.1 * chest.unit)


def effusion(chest: Chest, direction: str, sides: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """A lung's base up to a meniscus that rises towards the chest wall, with the costophrenic angle below the lung."""
    parts = []
    for side in sides:
        u, v = chest.place(side)
        # a deletion reaches above the highest fluid, else a band of it stays under the ROI's feathered edge
        depth = 0.9 if direction == "delete" else rng.uniform(0.3, 0.65)
        level = 1 - depth * (0.6 + 0.4 * np.clip(u, 0, 1) ** 2)
        reach = (u > -0.05) & (u < 1.08) & (v < 1.1)
        # beyond the lung only what lies under it: its dome and the angle between dome and chest wall
        under = np.logical_or.accumulate(chest.lung(side), axis=0) | grow(chest.lung(side), 0.05 * chest.unit)
        parts.append(reach & under & (v > level))
    return _union(parts)


def pneumothorax(chest: Chest, direction: str, sides: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """A lung's apex and lateral edge; for a deletion the whole lung, since the edge of a collapse lies anywhere."""
    parts = []
    for side in sides:
        wide = grow(chest.lung(side), 0.03 * chest.unit)
        if direction == "insert":
            u, v = chest.place(side)
            rim = rng.uniform(0.45, 0.6)
            wide &= (v < rng.uniform(0.3, 0.5)) | ((u > rim) & (v < rng.uniform(0.75, 1.0)))
        parts.append(wide)
    return _union(parts)


def spot(low: float, high: float) -> Region:
    """A finding of that size (radius as a share of the lung's height) anywhere in a lung; deletion: the whole lungs."""

    def region(chest: Chest, direction: str, sides: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
        wide = _union([grow(chest.lung(side), 0.03 * chest.unit) for side in sides])
        if direction == "delete":
            return wide
        y, x = _point(rng, chest.lung(sides[0]))
        return wide & chest.ellipse(y, x, rng.uniform(low, high), rng.uniform(low, high), rng.uniform(-0.6, 0.6))

    return region


def atelectasis(chest: Chest, direction: str, sides: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """A flat band in the lower half of a lung; for a deletion the lower two thirds and the diaphragm."""
    parts = []
    for side in sides:
        v = chest.place(side)[1]
        wide = grow(chest.lung(side), 0.04 * chest.unit)
        if direction == "insert":
            y, x = _point(rng, chest.lung(side) & (v > 0.5))
            tall, long, lean = rng.uniform(0.1, 0.18), rng.uniform(0.25, 0.4), rng.uniform(-0.4, 0.4)
            parts.append(wide & chest.ellipse(y, x, tall, long, lean))
        else:
            # collapse lifts the diaphragm, which comes down again when it is gone
            below = ndimage.shift(chest.lung(side).astype(np.uint8), (0.12 * chest.unit, 0), order=0).astype(bool)
            parts.append((wide | below) & (v > 0.3))
    return _union(parts)


def edema(chest: Chest, direction: str, sides: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Both lungs and the hila between them."""
    rows = np.flatnonzero(chest.lungs.any(axis=1))
    hila = _span(chest.lungs)
    hila[: rows[0] + int(0.3 * chest.unit)] = False
    hila[rows[0] + int(0.75 * chest.unit) :] = False
    return grow(chest.lungs | hila, 0.02 * chest.unit)


def fracture(chest: Chest, direction: str, sides: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """A stretch of ribs on a chest wall; for a deletion both walls and the clavicles' heights."""
    outer = [grow(chest.lung(s), 0.08 * chest.unit) & (chest.place(s)[0] > 0.3) for s in sides]
    if direction == "delete":
        return _union(outer)
    y, x = _point(rng, outer[0])
    return outer[0] & chest.ellipse(y, x, rng.uniform(0.1, 0.16), rng.uniform(0.1, 0.16))


def pleural_other(chest: Chest, direction: str, sides: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """The rim along the chest wall, over the apex and down to the costophrenic angle."""
    parts = []
    for side in sides:
        u, v = chest.place(side)
        lung = chest.lung(side)
        rim = grow(lung, 0.05 * chest.unit) & ~(ndimage.distance_transform_edt(lung) > 0.16 * chest.unit)
        parts.append(rim & ((u > 0.4) | (v < 0.15)))
    return _union(parts)


def devices(chest: Chest, direction: str, sides: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """The thorax and the neck above it: tubes, lines and pacemakers run through all of it."""
    rows, columns = (np.flatnonzero(chest.thorax.any(axis=axis)) for axis in (1, 0))
    neck = np.zeros(chest.shape, dtype=bool)
    third = (columns[-1] - columns[0]) // 4
    neck[: rows[0] + 1, columns[0] + third : columns[-1] - third] = True
    return chest.thorax | neck


REGIONS: dict[str, Region] = {
    "Atelectasis": atelectasis,
    "Cardiomegaly": cardiomegaly,
    "Consolidation": spot(0.2, 0.32),
    "Edema": edema,
    "Enlarged Cardiomediastinum": mediastinum,
    "Fracture": fracture,
    "Lung Lesion": spot(0.1, 0.16),
    "Lung Opacity": spot(0.2, 0.34),
    "Pleural Effusion": effusion,
    "Pleural Other": pleural_other,
    "Pneumonia": spot(0.2, 0.32),
    "Pneumothorax": pneumothorax,
    "Support Devices": devices,
}
#: Findings small enough that a deletion may follow the judge's gaze to one place. Atelectasis is none: the judge looks
#: at the collapsed lung, and the dome that it lifted must come down as well.
FOCAL = ("Lung Lesion", "Fracture", "Consolidation", "Pneumonia", "Lung Opacity")


def roi_for(
    finding: str,
    direction: str,
    masks: np.ndarray,
    rng: np.random.Generator,
    side: str | None = None,
    saliency: np.ndarray | None = None,
    protect: np.ndarray | None = None,
) -> np.ndarray:
    """The region that an edit of one finding may change.

    Args:
        finding: one of the 14 but "No Finding", which has no place.
        direction: "insert" or "delete".
        masks: (3, H, W) bool, left lung, right lung, heart, at any size.
        side: "left" or "right" of the patient. None: an insertion draws one, a deletion takes both.
        saliency: (H, W) float ≥ 0, where the judge sees the finding (`Judge.saliency`). A deletion then keeps to the
            side that holds two thirds of it, and a focal one to the hottest place.
        protect: (H, W) bool, pixels never to change, such as support devices.

    Returns: bool (H, W), never empty, within the film.
    Raises: SettingError for a wrong finding, direction or side; DataError for empty masks or when `protect` covers all.
    """
    if finding not in REGIONS:
        raise SettingError(f"{finding!r} has no region on a film.", f"Choose one of: {', '.join(REGIONS)}.")
    if direction not in DIRECTIONS:
        raise SettingError(f"An edit is 'insert' or 'delete', not {direction!r}.")
    if side is not None and side not in SIDES:
        raise SettingError(f"A side is 'left' or 'right' of the patient, not {side!r}.")
    chest = Chest(masks)
    for name, extra in (("saliency", saliency), ("protect", protect)):
        if extra is not None and extra.shape != chest.shape:
            raise DataError(f"{name} is {extra.shape} where the masks are {chest.shape}.", "Pass both at one size.")
    sides: tuple[str, ...] = (side,) if side else SIDES
    if direction == "insert":
        # drawn even when the side is given, so that one seed draws the same shape on either side
        drawn = SIDES[int(rng.integers(2))]
        sides = (side or drawn,)
    elif saliency is not None and side is None:
        sides = _seen_sides(chest, saliency)
    region = REGIONS[finding](chest, direction, sides, rng)
    if direction == "delete" and saliency is not None and finding in FOCAL:
        region = _around_peak(chest, region, saliency)
    if protect is not None:
        region = region & ~protect
    if not region.any():
        raise DataError(
            f"Nothing is left of the region of {finding}: protected pixels cover it.", "Choose another film or finding."
        )
    return region


def _seen_sides(chest: Chest, saliency: np.ndarray) -> tuple[str, ...]:
    """The one lung that holds at least two thirds of the lungs' saliency, or both."""
    mass = {side: float(saliency[chest.lung(side)].sum()) for side in SIDES}
    total = sum(mass.values())
    return next(((side,) for side in SIDES if total > 0 and mass[side] >= 2 / 3 * total), SIDES)


def _around_peak(chest: Chest, region: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """The part of a region where the saliency, spread a little, reaches half of its peak, and a margin around it."""
    seen = np.where(region, ndimage.gaussian_filter(saliency.astype(float), 0.05 * chest.unit), 0)
    if seen.max() <= 0:
        return region
    return region & grow(seen >= 0.5 * seen.max(), 0.1 * chest.unit)


def random_roi(masks: np.ndarray, rng: np.random.Generator, aware: float = 0.5, whole: float = 0.0) -> np.ndarray:
    """A region to train an editor on: (H, W) bool, never empty.

    A share `aware` are regions of a random finding and direction, a share `whole` the whole film, the rest one to three
    ellipses with their centres in the thorax. Masks may be empty; then every region is a free one.
    """
    draw = rng.random()
    if draw < whole:
        return np.ones(masks.shape[1:], dtype=bool)
    if draw < whole + aware and masks.any(axis=(1, 2)).all():
        finding = str(rng.choice(list(REGIONS)))
        return roi_for(finding, DIRECTIONS[int(rng.integers(2))], masks, rng)
    height, width = masks.shape[1:]
    inside = np.asarray(masks.any(axis=0))
    y, x = np.mgrid[:height, :width]
    region = np.zeros((height, width), dtype=bool)
    for _ in range(int(rng.integers(1, 4))):
        cy, cx = _point(rng, inside) if inside.any() else (rng.integers(height), rng.integers(width))
        ry, rx = rng.uniform(0.05, 0.25, 2) * (height, width)
        region |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
    return region


def feather(roi: np.ndarray, width: float) -> np.ndarray:
    """Weights of an edit: float32 (H, W), 0 outside the ROI, rising to 1 over `width` pixels inside it.

    Every pixel of the ROI has a weight above 0 and no other pixel has one, so outside nothing changes at all. The
    film's own edge is no edge of the ROI.
    """
    weights = np.zeros(roi.shape, dtype=np.float32)
    if not roi.any():
        return weights
    if roi.all():
        return np.ones(roi.shape, dtype=np.float32)
    # the nearest pixel outside the ROI is never further away than the frame around its bounding box
    box = tuple(
        slice(max(0, int(seen[0]) - 1), int(seen[-1]) + 2)
        for seen in (np.flatnonzero(roi.any(axis=1)), np.flatnonzero(roi.any(axis=0)))
    )
    distance = ndimage.distance_transform_edt(roi[box])
    ramp = np.clip(distance / (max(width, 0) + 1), 0, 1)
    weights[box] = ramp * ramp * (3 - 2 * ramp)
    return weights
