"""Plug-ins: one segmenter a file. See docs/adding-a-segmenter.md.

Masks are (3, H, W) bool in the order of `ORGANS`: the patient's left lung (on the image's right), right lung, heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..registry import Registry

SEGMENTERS = Registry("segmenter", "cars.segmenters")

ORGANS: tuple[str, ...] = ("left lung", "right lung", "heart")
LEFT_LUNG, RIGHT_LUNG, HEART = 0, 1, 2
#: Masks of lower confidence are not trusted: such a film is neither edited nor trained on.
TRUSTED = 0.7


@dataclass(frozen=True)
class Masks:
    """masks: (B, 3, H, W) bool in the order of ORGANS. confidence: (B,) float32 in [0, 1].

    reasons: one text a film, why it is not trusted where the confidence alone does not tell; empty for all when ().
    """

    masks: np.ndarray
    confidence: np.ndarray
    reasons: tuple[str, ...] = ()

    @property
    def trusted(self) -> np.ndarray:
        """(B,) bool: where the confidence reaches TRUSTED."""
        return self.confidence >= TRUSTED

    def why_not(self, n: int) -> str:
        """Why film n is not trusted, for people; "" for one that is."""
        if self.confidence[n] >= TRUSTED:
            return ""
        told = f": {self.reasons[n]}" if self.reasons and self.reasons[n] else ""
        return f"the outlines are not trusted (confidence {self.confidence[n]:.2f}){told}"


def loaded(segmenter: Any, device: str = "auto") -> Any:
    """A loaded segmenter: by registered name, by "name:path" with weights or a table of one's own, or the object."""
    if not isinstance(segmenter, str):
        return segmenter
    kind, _, place = segmenter.partition(":")
    return (SEGMENTERS.get(kind)(place) if place else SEGMENTERS.get(kind)()).load(device)


def named(segmenter: Any) -> str:
    """What tables call a segmenter: its name, or its class, with no more of a path than its end; where files lie on
    this machine is nobody else's business, and the revision names them."""
    if not isinstance(segmenter, str):
        return type(segmenter).__name__
    kind, colon, place = segmenter.partition(":")
    return f"{kind}:{Path(place).name}" if colon else kind


def outlines(segmenter: Any, images: np.ndarray, ids: Sequence[str]) -> Masks:
    """The masks of films whose dicom_id are known, whether the segmenter looks at the film or looks it up (`by_id`).

    images: (B, H, W) uint8, square. ids: B texts.
    """
    return segmenter.masks(images, ids=list(ids)) if getattr(segmenter, "by_id", False) else segmenter.masks(images)


def looking(segmenter: Any) -> Any:
    """The segmenter that outlines a film which no table can know, such as an edited one."""
    return segmenter.network if getattr(segmenter, "by_id", False) else segmenter


def refuse_wrong_films(images: np.ndarray) -> None:
    """Raises: DataError for anything but uint8 (B, H, W)."""
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(
            f"A segmenter takes uint8 (B, H, W), not {images.dtype} {images.shape}.", "Use imaging.square first."
        )


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice overlap of two bool masks of one shape, in [0, 1]; 1 when both are empty."""
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(np.count_nonzero(a & b)) / total if total else 1.0


def ctr(masks: np.ndarray) -> float:
    """Cardiothoracic ratio MCD / ID of a film of any view, (3, H, W) bool → [0, ∞).

    MCD, the maximal cardiac diameter, is the widest horizontal extent of the heart: its rightmost and its leftmost
    point need not lie at one height (Danzer 1919). ID, the internal thoracic diameter, is the widest horizontal extent
    of both lungs together: their outer edges are the inner edge of the ribs. Both in columns of the film. NaN when a
    lung or the heart is empty. It is defined for PA films; see `pa_ctr`.
    """
    lungs = masks[LEFT_LUNG] | masks[RIGHT_LUNG]
    if not (masks[LEFT_LUNG].any() and masks[RIGHT_LUNG].any() and masks[HEART].any()):
        return float("nan")
    heart, thorax = (np.flatnonzero(m.any(axis=0)) for m in (masks[HEART], lungs))
    return float((heart[-1] - heart[0] + 1) / (thorax[-1] - thorax[0] + 1))


def pa_ctr(masks: np.ndarray, view: str, confidence: float = 1.0) -> tuple[float | None, str]:
    """The cardiothoracic ratio of a PA film, and "" or why there is none.

    On AP films the heart, farther from the detector, is magnified, and the patient often lies: the ratio's limits do
    not hold there. view: as in the table films. confidence: of the masks.
    """
    if view != "PA":
        return None, f"the ratio is defined on PA films, and this view is {view}"
    if confidence < TRUSTED:
        return None, f"the outlines are not trusted (confidence {confidence:.2f})"
    ratio = ctr(masks)
    return (None, "a lung or the heart has no outline") if np.isnan(ratio) else (ratio, "")


def grow(mask: np.ndarray, radius: float) -> np.ndarray:
    """Every pixel within `radius` pixels of a bool (H, W) mask."""
    from scipy import ndimage

    if not mask.any():
        return mask.copy()
    return ndimage.distance_transform_edt(~mask) <= radius
