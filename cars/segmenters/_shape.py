"""From a network's probabilities to masks that can be trusted: clean-up, and a confidence."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

from . import HEART, LEFT_LUNG, RIGHT_LUNG, Masks

#: Organ → least and greatest share of a square film that it may cover.
AREAS = {LEFT_LUNG: (0.02, 0.32), RIGHT_LUNG: (0.03, 0.34), HEART: (0.015, 0.25)}
#: Solidity above which an outline is as smooth as an organ's; a lung hollowed by the heart still reaches it.
SOLID = 0.8


def largest(mask: np.ndarray) -> tuple[np.ndarray, float]:
    """The largest connected component of a bool (H, W) mask without holes, and its share of all pixels of the mask."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask.copy(), 0.0
    sizes = np.bincount(labels.ravel())[1:]
    kept = ndimage.binary_fill_holes(labels == 1 + int(sizes.argmax()))
    return kept, float(sizes.max() / sizes.sum())


def plausibility(masks: np.ndarray, shares: np.ndarray) -> float:
    """How much three outlines look like a frontal chest, in [0, 1].

    masks: (3, H, W) bool, cleaned. shares: (3,) share of each organ's pixels in its largest component. The product of
    the shares and of each outline's solidity where that is below SOLID; 0 when an organ is absent, its area is out of
    AREAS, the lungs are on the wrong sides of each other, or the heart's centre lies outside the lungs' centres or
    above them by more than a tenth of the film.
    """
    areas = masks.mean(axis=(1, 2))
    if any(not low <= areas[organ] <= high for organ, (low, high) in AREAS.items()):
        return 0.0
    height, width = masks.shape[1:]
    y, x = np.array([ndimage.center_of_mass(mask) for mask in masks]).T / np.array([[height], [width]])
    ordered = x[RIGHT_LUNG] + 0.1 < x[LEFT_LUNG]
    between = x[RIGHT_LUNG] < x[HEART] < x[LEFT_LUNG] + 0.05
    low_enough = y[HEART] > (y[LEFT_LUNG] + y[RIGHT_LUNG]) / 2 - 0.1
    if not (ordered and between and low_enough):
        return 0.0
    ragged = [min(1.0, solidity(mask) / SOLID) for mask in masks]
    return float(np.prod(shares) * np.prod(ragged))


def solidity(mask: np.ndarray) -> float:
    """Area of a bool (H, W) mask over that of its convex hull, in [0, 1]; a ragged or leaking outline is low."""
    y, x = np.nonzero(mask)
    # the corners of the pixels, so that the hull's area counts whole pixels
    corners = np.concatenate([np.stack([y + a, x + b], axis=1) for a in (0, 1) for b in (0, 1)])
    return float(len(y) / ConvexHull(corners).volume)


def certainty(probability: np.ndarray) -> float:
    """The Dice that the network itself expects of its outlines, the least of the three organs, in [0, 1].

    probability: (3, H, W) float. With p the probability of each pixel and m = p > ½, the expected overlap with the
    truth is 2·Σ p·m / (Σ p + Σ m): near 1 when every pixel is decided, lower when edges or regions are in doubt.
    """
    chosen = probability > 0.5
    overlap = (probability * chosen).sum(axis=(1, 2))
    return float(np.min(2 * overlap / np.maximum(probability.sum(axis=(1, 2)) + chosen.sum(axis=(1, 2)), 1e-6)))


def to_masks(probabilities: np.ndarray, height: int, width: int) -> Masks:
    """(B, 3, h, w) float probabilities → Masks at height × width.

    Each outline is the largest component above ½ with its holes filled. confidence = certainty × plausibility.
    """
    out = np.zeros((len(probabilities), 3, height, width), dtype=bool)
    confidence = np.zeros(len(probabilities), dtype=np.float32)
    for n, probability in enumerate(probabilities):
        small, shares = zip(*(largest(p > 0.5) for p in probability), strict=True)
        confidence[n] = certainty(probability) * plausibility(np.stack(small), np.array(shares))
        for organ in range(3):
            # enlarged as probabilities, so that the outline stays smooth; what the clean-up took away stays away
            near = ndimage.binary_dilation(small[organ])
            field = np.where(near, np.maximum(probability[organ], 0.51 * small[organ]), 0.0)
            out[n, organ] = resize(field, height, width) > 0.5
    return Masks(out, confidence)


def resize(field: np.ndarray, height: int, width: int) -> np.ndarray:
    """A float (h, w) field at another size, bilinear, pixel centres aligned."""
    if field.shape == (height, width):
        return field
    h, w = field.shape
    y = (np.arange(height) + 0.5) * h / height - 0.5
    x = (np.arange(width) + 0.5) * w / width - 0.5
    grid = np.meshgrid(y, x, indexing="ij")
    return ndimage.map_coordinates(field, grid, order=1, mode="nearest")
