"""Plug-ins: one generator a file. See docs/adding-a-generator.md.

A generator edits films inside a region of interest (ROI) from one clinical feature vector to another. It works at its
own square size; `composite` carries the *difference* back to the original film, so fine texture stays and every pixel
outside the ROI is the source's own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import DataError, SettingError
from ..imaging import Placement
from ..registry import Registry
from ..schema import FINDINGS

GENERATORS = Registry("generator", "cars.generators")

#: Grey levels of change beyond which detail finer than a generator's pixels is held within the grain.
CHANGED = 4.0
#: "inversion" replays the film's own noise under the target vector; "inpaint" draws the ROI anew from noise.
MODES: tuple[str, ...] = ("inversion", "inpaint")


@dataclass(frozen=True)
class EditRequest:
    """One edit of one film.

    image: uint8 (S, S), the square film at the generator's size.
    roi: bool (S, S), not empty: the pixels that may change.
    masks: bool (3, S, S): left lung, right lung, heart.
    vector_from, vector_to: int8 (14,), codes of schema.FINDING_VALUES, of what the ROI shows before and after.
    view, sex, age: never edited; the generator is told them. age in years or None.
    seed: the same request with the same seed gives the same film.
    mode: one of MODES.
    guidance: w ≥ 0; the prediction is source + w · (target − source), so 1 follows the target plainly.
    skip: share of the noisiest steps that an inversion leaves out, in [0, 1).
    hide_masks: whether the outlines are kept from the network inside the ROI, which a finding that changes them needs.
    subject_id: whose film it is, for generators that use other patients' films.
    about: the findings that a sham leaves as they are, so that a prompted model is told of them as it is in the edit.
    """

    image: np.ndarray
    roi: np.ndarray
    masks: np.ndarray
    vector_from: np.ndarray
    vector_to: np.ndarray
    view: str = "unknown"
    sex: str = "unknown"
    age: float | None = None
    seed: int = 0
    mode: str = "inversion"
    guidance: float = 1.5
    skip: float = 0.0
    steps: int = 20
    hide_masks: bool = True
    subject_id: str = ""
    about: tuple[str, ...] = ()

    @property
    def changed(self) -> tuple[str, ...]:
        """The findings in which the vectors differ; of a sham, those in which the edit's do."""
        return self.about or tuple(f for f, a, b in zip(FINDINGS, self.vector_from, self.vector_to) if a != b)

    def sham(self) -> EditRequest:
        """The same edit with nothing asked for: same ROI, seed, mode and guidance, unchanged vector."""
        return replace(self, vector_to=self.vector_from, about=self.changed)


@dataclass(frozen=True)
class EditResult:
    """What an edit gave.

    edited: float32 (S, S) in [0, 255], equal to the source outside the ROI.
    drift: mean absolute change outside the ROI in grey levels, before the source's own pixels were put back.
    """

    edited: np.ndarray
    drift: float


def modes_of(generator: Any) -> Sequence[str]:
    """The modes in which a generator edits: all, unless it says otherwise."""
    return getattr(generator, "modes", MODES)


def offered() -> list[str]:
    """The generators that are meant for data sets; the others are baselines, there to be compared with."""
    return [name for name in GENERATORS if not is_baseline(GENERATORS.get(name))]


def is_baseline(generator: Any) -> bool:
    """Whether a generator's edits may only be compared with, and never count as films of the data set."""
    return bool(getattr(generator, "baseline", False))


def baselines() -> list[str]:
    """The generators that are there to be compared with; what they make never counts as filling a gap."""
    return [name for name in GENERATORS if name not in offered()]


def in_groups(
    requests: Sequence[EditRequest],
    keeps: Callable[[EditRequest], bool],
    edit: Callable[[list[EditRequest], str, int, float], list[EditResult]],
) -> list[EditResult]:
    """Edit requests of one mode, number of steps and skip together; results in the order asked for.

    keeps: whether a request's result is its source, so that nothing need be done.
    edit: requests, mode, steps, skip → results in order.
    """
    groups: dict[tuple[str, int, float], list[int]] = defaultdict(list)
    results: dict[int, EditResult] = {}
    for n, request in enumerate(requests):
        if keeps(request):
            results[n] = EditResult(request.image.astype(np.float32), 0.0)
        else:
            groups[request.mode, request.steps, request.skip].append(n)
    for how, members in groups.items():
        results |= zip(members, edit([requests[n] for n in members], *how))
    return [results[n] for n in range(len(requests))]


def check(requests: Sequence[EditRequest], size: int) -> None:
    """Refuse requests that are not of this size, empty in their ROI, or out of range.

    Raises: DataError for arrays, SettingError for settings.
    """
    for request in requests:
        for name, array, shape, kind in (
            ("image", request.image, (size, size), np.uint8),
            ("roi", request.roi, (size, size), bool),
            ("masks", request.masks, (3, size, size), bool),
        ):
            if array.shape != shape or array.dtype != kind:
                raise DataError(
                    f"An edit's {name} is {array.dtype} {array.shape}; this generator takes {np.dtype(kind)} {shape}.",
                    "Use imaging.square for films and Placement.to_square for regions.",
                )
        for name, vector in (("vector_from", request.vector_from), ("vector_to", request.vector_to)):
            if np.shape(vector) != (len(FINDINGS),):
                raise DataError(f"{name} is {np.shape(vector)}, not ({len(FINDINGS)},).", "Pass all findings in order.")
        if not request.roi.any():
            raise DataError("The ROI of an edit is empty.", "Use synth.roi.roi_for.")
        if request.mode not in MODES:
            raise SettingError(f"mode = {request.mode!r} is not allowed.", f"Choose one of: {', '.join(MODES)}.")
        if request.guidance < 0 or not 0 <= request.skip < 1 or request.steps < 1:
            raise SettingError(
                f"guidance = {request.guidance}, skip = {request.skip}, steps = {request.steps} are out of range.",
                "guidance is at least 0, skip in [0, 1), steps at least 1.",
            )


def composite(
    film: np.ndarray, source: np.ndarray, edited: np.ndarray, weights: np.ndarray, place: Placement
) -> np.ndarray:
    """An edit made at the generator's size, carried to the original film.

    The difference is enlarged and added. What the generator cannot see, detail finer than its pixels, stays; but where
    it changed the film by more than CHANGED grey levels, sharp lines and edges of what is gone (a pleural line, a dome)
    would stay too, so detail there is held within two standard deviations of the region's grain. At the generator's own
    size the film is the edit either way.

    Args:
        film: uint8 (H, W), the original.
        source, edited: (S, S) in [0, 255], before and after at the generator's size.
        weights: float (H, W) in [0, 1], the feathered ROI at the original size; 0 outside the ROI.
        place: where the film lies in its square.

    Returns: uint8 (H, W); equal to `film` to the bit where weights are 0.
    """
    from scipy import ndimage

    result = film.copy()
    rows, columns = (np.flatnonzero((weights > 0).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return result
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    before, after = np.asarray(source, np.float32), np.asarray(edited, np.float32)
    difference = place.to_original(after - before)[box]
    detail = film[box] - place.to_original(before)[box]
    detail -= np.median(detail[weights[box] > 0])
    grain = 2 * 1.4826 * float(np.median(np.abs(detail[weights[box] > 0])))
    # a line lies in its own small pixel and in the neighbours' share of it
    moved = place.to_original(ndimage.maximum_filter(np.abs(after - before), 3))[box]
    lost = np.zeros(film.shape, np.float32)
    lost[box] = np.clip(moved / CHANGED - 1, 0, 1) * (detail - np.clip(detail, -grain, grain))
    # what the generator's own pixels can see is the edit's, and is not touched
    lost = (lost - place.to_original(place.to_square(lost)))[box]
    changed = np.clip(np.rint(film[box] + (difference - lost) * weights[box]), 0, 255).astype(np.uint8)
    result[box] = np.where(weights[box] > 0, changed, film[box])
    return result
