"""The gates: what an edit must pass before it may count as a film. Each is a small function that returns `Gate` rows.

judge    an independent judge crosses its threshold the right way
anatomy  lungs and heart keep their outlines outside the finding's own effect, and the heart keeps its size
outside  not one pixel outside the ROI differs from the source
sham     the same edit towards an unchanged vector must not convince the judge (insertions; for deletions it is
         reported, since healthy lung is what any inpainting tends to draw)

A row with `low` and `high` both infinite only reports a measure and always passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan, nan
from typing import Any

import numpy as np

from ..config import setting
from ..errors import DataError
from ..schema import FINDINGS, HIERARCHY
from ..segmenters import HEART, LEFT_LUNG, ORGANS, RIGHT_LUNG, ctr, dice
from .roi import grow

GATES: tuple[str, ...] = ("judge", "anatomy", "outside", "sham")


@dataclass(frozen=True)
class GateSettings:
    """Where the gates stand."""

    lung_dice: float = setting(0.95, "Least Dice of each lung between source and edit.", minimum=0, maximum=1)
    heart_dice: float = setting(0.95, "Least Dice of the heart between source and edit.", minimum=0, maximum=1)
    ctr_drift: float = setting(0.02, "Greatest change of the cardiothoracic ratio.", minimum=0, maximum=1)
    collateral: int | None = setting(
        None, "Most other findings that may cross their thresholds; empty: count them only.", minimum=0
    )


@dataclass(frozen=True)
class Gate:
    """One measure of one gate: it passes when low ≤ value ≤ high."""

    gate: str
    measure: str
    value: float
    low: float
    high: float
    passed: bool


@dataclass(frozen=True)
class Edited:
    """An edit to be gated. Films are uint8 (H, W) at the source's own size, after paste-back.

    changes: finding → "insert" or "delete". roi: (H, W) bool. sham: the film of the sham edit, or None when there is
    none. drift: mean absolute change outside the ROI before paste-back, in grey levels; NaN when unknown.
    """

    source: np.ndarray
    edited: np.ndarray
    roi: np.ndarray
    changes: dict[str, str]
    sham: np.ndarray | None = None
    drift: float = nan


def within(gate: str, measure: str, value: float, low: float = -inf, high: float = inf) -> Gate:
    """A row of a gate; NaN passes only where nothing is asked."""
    asked = low > -inf or high < inf
    return Gate(gate, measure, float(value), float(low), float(high), not asked or (low <= value <= high))


def judge_gate(
    before: np.ndarray,
    after: np.ndarray,
    thresholds: np.ndarray,
    changes: dict[str, str],
    settings: GateSettings = GateSettings(),
) -> list[Gate]:
    """Each changed finding must lie on the old side of its threshold before the edit and on the new side after it.

    before, after: (14,) probabilities of source and edit. thresholds: (14,). A finding that the judge was not trained
    on is NaN and fails: nobody vouches for it. The other findings that cross are counted ("collateral").
    """
    rows = []
    for finding, direction in changes.items():
        k = FINDINGS.index(finding)
        threshold = float(thresholds[k])
        if isnan(threshold):
            rows.append(Gate("judge", f"{finding}: not judged", nan, nan, nan, False))
            continue
        # the threshold itself counts as present, so "absent" ends one step below it
        below = float(np.nextafter(np.float32(threshold), np.float32(-1)))
        absent, present = {"high": below}, {"low": threshold}
        old, new = (absent, present) if direction == "insert" else (present, absent)
        rows.append(within("judge", f"{finding}: probability before", before[k], **old))
        rows.append(within("judge", f"{finding}: probability after", after[k], **new))
    most = inf if settings.collateral is None else float(settings.collateral)
    rows.append(within("judge", "other findings that cross", collateral(before, after, thresholds, changes), high=most))
    return rows


def collateral(before: np.ndarray, after: np.ndarray, thresholds: np.ndarray, changes: dict[str, str]) -> int:
    """How many findings cross their threshold that the edit does not concern.

    It concerns the changed findings, their parents and children in CheXpert's hierarchy, siblings' common parent
    included, and "No Finding".
    """
    concerned = set(changes) | {"No Finding"}
    for parent, children in HIERARCHY.items():
        if parent in changes:
            concerned |= set(children)
        if set(children) & set(changes):
            concerned.add(parent)
    others = np.array([finding not in concerned for finding in FINDINGS]) & ~np.isnan(thresholds)
    return int(np.count_nonzero((before >= thresholds)[others] != (after >= thresholds)[others]))


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


def anatomy_gate(
    before: np.ndarray,
    after: np.ndarray,
    roi: np.ndarray,
    changes: dict[str, str],
    settings: GateSettings = GateSettings(),
) -> list[Gate]:
    """Dice of each organ between source and edit, and the drift of the cardiothoracic ratio.

    before, after: (3, H, W) bool masks. roi: (H, W) bool at their size. A finding of OWN_EFFECT may hide an organ's
    edge or push it, so that organ is compared outside the ROI grown by 2 % of the film; where under a tenth of it is
    left there, its Dice is reported as NaN and not asked for. The cardiothoracic ratio likewise takes such an organ's
    pixels inside the ROI from the source: an effusion hides the chest wall and the apex that the ratio is measured to.
    """
    grown = grow(roi, 0.02 * roi.shape[1])
    affected = {organ for finding in changes for organ in OWN_EFFECT.get(finding, ())}
    rows = []
    for organ, name in enumerate(ORGANS):
        low = settings.heart_dice if organ == HEART else settings.lung_dice
        kept = ~grown if organ in affected else np.ones_like(roi)
        if not before[organ].any():
            rows.append(within("anatomy", f"{name} Dice", nan, low=low))
            continue
        left = np.count_nonzero(before[organ] & kept) / np.count_nonzero(before[organ])
        if left < LEAST_LEFT:
            rows.append(within("anatomy", f"{name} Dice outside the ROI", nan))
            continue
        measure = f"{name} Dice outside the ROI" if organ in affected else f"{name} Dice"
        rows.append(within("anatomy", measure, dice(before[organ] & kept, after[organ] & kept), low=low))
    asked = not set(changes) & set(CHANGES_HEART)
    compared = after.copy()
    if asked:
        for organ in affected:
            compared[organ] = np.where(grown, before[organ], after[organ])
    drift = abs(ctr(compared) - ctr(before))
    rows.append(within("anatomy", "CTR drift", drift, high=settings.ctr_drift if asked else inf))
    return rows


def outside_gate(source: np.ndarray, edited: np.ndarray, roi: np.ndarray, drift: float = nan) -> list[Gate]:
    """The greatest difference outside the ROI in grey levels must be 0; the drift before paste-back is reported.

    source, edited: uint8 (H, W) of one size. Raises: DataError when the sizes differ.
    """
    if not source.shape == edited.shape == roi.shape:
        raise DataError(
            f"Source {source.shape}, edit {edited.shape} and ROI {roi.shape} differ in size.",
            "Paste the edit back into the original film first.",
        )
    difference = np.abs(source.astype(np.int16) - edited.astype(np.int16))[~roi]
    greatest = float(difference.max()) if difference.size else 0.0
    return [
        within("outside", "greatest change outside the ROI", greatest, high=0.0),
        within("outside", "drift before paste-back", drift),
    ]


def sham_gate(sham: np.ndarray | None, thresholds: np.ndarray, changes: dict[str, str]) -> list[Gate]:
    """An insertion's sham must stay below the threshold; a deletion's sham is reported.

    sham: (14,) probabilities of the sham film; None where there is none, which fails an insertion.
    """
    rows = []
    for finding, direction in changes.items():
        k = FINDINGS.index(finding)
        value = nan if sham is None else float(sham[k])
        below = float(np.nextafter(np.float32(thresholds[k]), np.float32(-1)))
        high = below if direction == "insert" else inf
        rows.append(within("sham", f"{finding}: probability of the sham", value, high=high))
    return rows


def run_gates(
    edits: Sequence[Edited], judge: Any, segmenter: Any, settings: GateSettings = GateSettings()
) -> list[list[Gate]]:
    """All gates of many edits, with one call of the judge and one of the segmenter.

    judge: `Judge` or an object with .size, .thresholds and .probabilities. segmenter: a loaded plug-in of SEGMENTERS.
    Returns: for each edit its rows, in the order of GATES; it passes when all rows do.
    """
    from ..imaging import square

    if not edits:
        return []
    shams = [edit.sham for edit in edits if edit.sham is not None]
    films = [edit.source for edit in edits] + [edit.edited for edit in edits] + shams
    probabilities = judge.probabilities(np.stack([square(film, judge.size) for film in films]))
    seen = np.stack([square(film, segmenter.size) for film in films[: 2 * len(edits)]])
    masks = segmenter.masks(seen).masks
    n, next_sham = len(edits), 2 * len(edits)
    result = []
    for k, edit in enumerate(edits):
        sham = None
        if edit.sham is not None:
            sham, next_sham = probabilities[next_sham], next_sham + 1
        small = square(edit.roi.astype(np.uint8) * 255, segmenter.size) > 0
        result.append(
            judge_gate(probabilities[k], probabilities[n + k], judge.thresholds, edit.changes, settings)
            + anatomy_gate(masks[k], masks[n + k], small, edit.changes, settings)
            + outside_gate(edit.source, edit.edited, edit.roi, edit.drift)
            + sham_gate(sham, judge.thresholds, edit.changes)
        )
    return result


def passed(rows: Sequence[Gate], gate: str | None = None) -> bool:
    """Whether all rows pass, or all rows of one gate."""
    return all(row.passed for row in rows if gate is None or row.gate == gate)
