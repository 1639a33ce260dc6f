"""Gate: lungs and heart stay what they were, except where the finding itself changes them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan

import numpy as np

from ..config import setting
from ..segmenters import HEART, LEFT_LUNG, ORGANS, RIGHT_LUNG, ctr, dice, grow
from . import Evidence, Gate, Measure, gate

#: Finding → organs whose outline it may itself hide or move. Only what lies outside the ROI of these is compared; the
#: other organs are compared on the whole film.
OWN_EFFECT: dict[str, tuple[int, ...]] = {
    "Atelectasis": (LEFT_LUNG, RIGHT_LUNG, HEART),
    "Cardiomegaly": (LEFT_LUNG, RIGHT_LUNG, HEART),
    "Consolidation": (LEFT_LUNG, RIGHT_LUNG, HEART),
    "Enlarged Cardiomediastinum": (LEFT_LUNG, RIGHT_LUNG, HEART),
    "Lung Opacity": (LEFT_LUNG, RIGHT_LUNG, HEART),
    "Pleural Effusion": (LEFT_LUNG, RIGHT_LUNG, HEART),
    "Pleural Other": (LEFT_LUNG, RIGHT_LUNG),
    "Pneumonia": (LEFT_LUNG, RIGHT_LUNG, HEART),
    "Pneumothorax": (LEFT_LUNG, RIGHT_LUNG),
}
#: Findings that change the heart's size by definition; the cardiothoracic ratio is then only reported.
CHANGES_HEART = ("Cardiomegaly",)
#: An organ of which less than this share lies outside the ROI has too little left to compare.
LEAST_LEFT = 0.1


@gate("anatomy", order=20, help="Lungs and heart keep their shape, except where the finding itself changes them.")
@dataclass(frozen=True)
class AnatomyGate(Gate):
    """Dice of each organ between source and edit, and the drift of the cardiothoracic ratio.

    A finding of OWN_EFFECT may hide an organ's edge or push it, so that organ is compared outside the ROI grown by 2 %
    of the film; where under a tenth of it is left there, its Dice is reported as NaN and not asked for. The
    cardiothoracic ratio likewise takes such an organ's pixels inside the ROI from the source: an effusion hides the
    chest wall and the apex that the ratio is measured to.
    """

    lung_dice: float = setting(0.95, "Least Dice of each lung between source and edit.", minimum=0, maximum=1)
    heart_dice: float = setting(0.95, "Least Dice of the heart between source and edit.", minimum=0, maximum=1)
    ctr_drift: float = setting(0.02, "Greatest change of the cardiothoracic ratio.", minimum=0, maximum=1)

    def measures(self, evidence: Evidence) -> list[Measure]:
        before, after, roi, changes = (
            evidence.masks_before, evidence.masks_after, evidence.small_roi, evidence.changes
        )  # fmt: skip
        grown = grow(roi, 0.02 * roi.shape[1])
        affected = {organ for finding in changes for organ in OWN_EFFECT.get(finding, ())}
        rows = []
        for organ, name in enumerate(ORGANS):
            low = self.heart_dice if organ == HEART else self.lung_dice
            kept = ~grown if organ in affected else np.ones_like(roi)
            if not before[organ].any():
                rows.append(self.within(f"{name} Dice", nan, low=low))
                continue
            left = np.count_nonzero(before[organ] & kept) / np.count_nonzero(before[organ])
            if left < LEAST_LEFT:
                rows.append(self.within(f"{name} Dice outside the ROI", nan))
                continue
            measure = f"{name} Dice outside the ROI" if organ in affected else f"{name} Dice"
            rows.append(self.within(measure, dice(before[organ] & kept, after[organ] & kept), low=low))
        asked = not set(changes) & set(CHANGES_HEART)
        compared = after.copy()
        if asked:
            for organ in affected:
                compared[organ] = np.where(grown, before[organ], after[organ])
        drift = abs(ctr(compared) - ctr(before))
        rows.append(self.within("CTR drift", drift, high=self.ctr_drift if asked else inf))
        return rows
