"""Plug-ins: one segmenter a file. See docs/adding-a-segmenter.md.

Masks are (3, H, W) bool in the order of `ORGANS`: the patient's left lung (on the image's right), right lung, heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..registry import Registry

SEGMENTERS = Registry("segmenter", "cars.segmenters")

ORGANS: tuple[str, ...] = ("left lung", "right lung", "heart")
LEFT_LUNG, RIGHT_LUNG, HEART = 0, 1, 2
#: Masks of lower confidence are not trusted: such a film is neither edited nor trained on.
TRUSTED = 0.7


@dataclass(frozen=True)
class Masks:
    """masks: (B, 3, H, W) bool in the order of ORGANS. confidence: (B,) float32 in [0, 1]."""

    masks: np.ndarray
    confidence: np.ndarray

    @property
    def trusted(self) -> np.ndarray:
        """(B,) bool: where the confidence reaches TRUSTED."""
        return self.confidence >= TRUSTED


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice overlap of two bool masks of one shape, in [0, 1]; 1 when both are empty."""
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(np.count_nonzero(a & b)) / total if total else 1.0


def ctr(masks: np.ndarray) -> float:
    """Cardiothoracic ratio: widest horizontal extent of the heart over that of both lungs, (3, H, W) bool → [0, ∞).

    The thorax is measured between the outer edges of the lungs, as on a film; NaN when a lung or the heart is empty.
    """
    lungs = masks[LEFT_LUNG] | masks[RIGHT_LUNG]
    if not (masks[LEFT_LUNG].any() and masks[RIGHT_LUNG].any() and masks[HEART].any()):
        return float("nan")
    heart, thorax = (np.flatnonzero(m.any(axis=0)) for m in (masks[HEART], lungs))
    return float((heart[-1] - heart[0] + 1) / (thorax[-1] - thorax[0] + 1))


def grow(mask: np.ndarray, radius: float) -> np.ndarray:
    """Every pixel within `radius` pixels of a bool (H, W) mask."""
    from scipy import ndimage

    if not mask.any():
        return mask.copy()
    return ndimage.distance_transform_edt(~mask) <= radius
