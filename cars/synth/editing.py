"""From an original film and a wanted change to an edited film, its sham and its gates.

A film is outlined at 128 px, its ROI drawn there, the edit made at the generator's size, and its difference carried
back to the original. In mode "auto" the film is inverted with the guidance that is asked for; where the judge is not
convinced, or sees another finding come or go, it is inverted with twice as much, and then the ROI is inpainted, with
one seed after the other. Every attempt has its sham, and the sham that convinces the judge most is the one that is
gated: an edit may not win by trying more often than its sham.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import DataError, SettingError
from ..gates import Gate, Measure, collateral, passed
from ..generators import MODES, EditRequest, EditResult, composite, modes_of
from ..imaging import Placement, square
from ..schema import ABSENT, FINDINGS, NOT_MENTIONED, PRESENT, after_edit
from ..segmenters import looking
from .data import SEGMENT_SIZE, SHAPE_CHANGING, fitted
from .gating import Edited, outlined, probabilities, run_gates
from .pipeline import Fitting
from .roi import feather, roi_for
from .settings import SynthSettings
from .uncertainty import rows_of

#: Most guidance of findings that are overdone with more: an inserted pneumothorax is 4.6 dB nearer to the phantom's
#: truth than the unedited film with 1.5, 0.2 dB further from it with 2 and 5.9 with 3 (docs/synthesis.md, n = 6).
MOST_GUIDANCE = {"Edema": 1.7, "Pneumothorax": 1.5}
#: How much more guidance the later attempts take, where the first, an inversion, did not convince.
LOUDER = 2.0

#: Between the seeds of one film's attempts.
SEED_STEP = 1_000_003


@dataclass(frozen=True)
class Source:
    """A film to be edited.

    film: uint8 (H, W), MONOCHROME2. labels: finding → code, all 14. changes: finding → "insert" or "delete".
    roi: bool (128, 128) on the padded square, where one was drawn by hand; else it follows from the changes.
    subject_id: whose film it is; an edit must not be a near copy of another patient's. dicom_id: which film, for
    segmenters that look films up.
    """

    film: np.ndarray
    labels: dict[str, int]
    changes: dict[str, str]
    view: str = "unknown"
    sex: str = "unknown"
    age: float | None = None
    seed: int = 0
    roi: np.ndarray | None = None
    subject_id: str = ""
    dicom_id: str = ""


@dataclass
class Outcome:
    """What became of one source. Arrays are uint8 or bool (H, W) at the film's own size, or None beside an `error`."""

    error: str | None = None
    edited: np.ndarray | None = None
    roi: np.ndarray | None = None
    sham: np.ndarray | None = None
    masks: np.ndarray | None = None  # (3, 128, 128) bool, of the source
    mode: str = ""
    guidance: float = float("nan")
    seed: int = 0
    gates: list[Measure] = field(default_factory=list)
    #: of each changed finding, as `uncertainty.uncertainty_rows` gives it
    uncertainty: list[dict[str, Any]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return self.error is None and bool(self.gates) and passed(self.gates)


@dataclass
class Models:
    """What an edit needs, loaded: a generator, a segmenter, and a judge that no backbone under test is.

    judges: those that an edit's uncertainty is taken over; empty means the judge alone. gates: None means all, with
    their defaults. neighbours: `gating.Neighbours`; None means that near copies are not looked for. fitting: how many
    films at once fit the device, as found out so far.
    """

    generator: Any
    segmenter: Any
    judge: Any
    judges: Sequence[Any] = ()
    gates: Sequence[Gate] | None = None
    neighbours: Any = None
    fitting: Fitting = field(default_factory=Fitting)


@dataclass
class _Try:
    """One attempt at one source: the edit, its sham, what the judge says of both (14,), and how far that is beyond its
    thresholds (all changes)."""

    request: EditRequest
    edited: np.ndarray
    sham: np.ndarray
    drift: float
    seen: np.ndarray
    seen_sham: np.ndarray
    margin: float
    sham_margin: float
    #: how many findings change sides that the edit does not concern
    others: int

    @property
    def clean(self) -> bool:
        """Whether the judge sees the changes and no other."""
        return self.margin >= 0 and self.others == 0


def local_vectors(labels: dict[str, int], changes: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of what the ROI shows before and after: int8 (14,) each.

    A changed finding is known on both sides. Of the others only absence is: a finding that the film has somewhere may
    lie in the ROI or not.
    """
    before = {f: ABSENT if labels[f] == ABSENT or labels["No Finding"] == PRESENT else NOT_MENTIONED for f in FINDINGS}
    before |= {f: PRESENT if direction == "delete" else ABSENT for f, direction in changes.items()}
    before["No Finding"] = ABSENT if "delete" in changes.values() else NOT_MENTIONED
    if labels["No Finding"] == PRESENT:
        before["No Finding"] = PRESENT
    after = after_edit(before, changes)
    return np.array([before[f] for f in FINDINGS], np.int8), np.array([after[f] for f in FINDINGS], np.int8)


def region(
    source: Source, masks: np.ndarray, square_film: np.ndarray, judge: Any, fitting: Fitting | None = None
) -> np.ndarray:
    """The union of the ROIs of a source's changes, bool (128, 128), from (3, 128, 128) masks.

    A deletion of a focal finding looks where the judge sees it. Raises: DataError where there is no region,
    ResourceError where the judge has no room to look.
    """
    fitting = fitting or Fitting()
    rng = np.random.default_rng([source.seed, 1])
    roi = np.zeros(masks.shape[1:], bool)
    for finding, direction in source.changes.items():
        saliency = None
        if direction == "delete" and judge.trained[FINDINGS.index(finding)]:
            [saliency] = fitting.each(
                "where the judge looks", lambda part, f=finding: list(judge.saliency(part, f)), square_film[None], 1
            )  # fmt: skip
        roi |= roi_for(finding, direction, masks, rng, saliency=saliency)
    return roi


class _Work:
    """One source on its way: geometry, ROI, and the attempts so far."""

    def __init__(self, source: Source, masks: np.ndarray, roi: np.ndarray, size: int) -> None:
        self.source, self.masks, self.size = source, masks, size
        height, width = source.film.shape
        self.place = Placement(height, width, size)
        self.small = square(source.film, size)
        small_roi = fitted(roi, size)
        # a lesion's ROI may cover no small pixel by half
        self.small_roi = small_roi if small_roi.any() else fitted(roi.astype(np.float32), size) > 0
        self.roi = Placement(height, width, SEGMENT_SIZE).to_original(roi)
        self.tries: list[_Try] = []
        #: (14,), what the judge says of the source
        self.before = np.full(len(FINDINGS), np.nan)
        self._weights: dict[float, np.ndarray] = {}

    def request(self, mode: str, seed: int, guidance: float, settings: SynthSettings) -> EditRequest:
        """The edit in one mode, with at most this guidance."""
        before, after = local_vectors(self.source.labels, self.source.changes)
        return EditRequest(
            self.small, self.small_roi, fitted(self.masks, self.size), before, after,
            view=self.source.view, sex=self.source.sex, age=self.source.age, seed=seed, mode=mode,
            guidance=min([guidance, *(MOST_GUIDANCE.get(f, np.inf) for f in self.source.changes)]),
            skip=settings.skip, steps=settings.steps,
            hide_masks=bool(set(self.source.changes) & set(SHAPE_CHANGING)), subject_id=self.source.subject_id,
        )  # fmt: skip

    def paste(self, edited: np.ndarray, width: float) -> np.ndarray:
        """The edit at the film's own size; `width` of the feather as a share of the film."""
        if np.array_equal(edited, self.small):  # the sham of an inversion
            return self.source.film
        if width not in self._weights:
            self._weights[width] = feather(self.roi, width * self.place.side)
        return composite(self.source.film, self.small, edited, self._weights[width], self.place)

    @property
    def best(self) -> _Try:
        """The first attempt with which the judge sees the changes and no other; else the first with which it sees the
        changes; else the one that came nearest."""
        return max(self.tries, key=lambda t: (t.clean, t.margin >= 0, 0 if t.margin >= 0 else t.margin))

    @property
    def worst(self) -> _Try:
        """The attempt, of all made, whose sham convinces the judge most."""
        return max(self.tries, key=lambda t: t.sham_margin)


def margin(probabilities: np.ndarray, thresholds: np.ndarray, changes: dict[str, str]) -> float:
    """How far the least convincing change lies beyond its threshold: ≥ 0 when the judge sees all of them as wanted.

    NaN probabilities (an untrained finding) count as -1.
    """
    steps = []
    for finding, direction in changes.items():
        n = FINDINGS.index(finding)
        above = float(probabilities[n] - thresholds[n])
        # present begins at the threshold itself, so absent must lie truly below it
        steps.append(above if direction == "insert" else (-above if above < 0 else min(-above, -1e-9)))
    least = min(steps)
    return -1.0 if np.isnan(least) else least


def attempts(settings: SynthSettings, seed: int, modes: Sequence[str] = MODES) -> list[tuple[str, int, float]]:
    """(mode, seed, guidance) of each attempt in order, in the modes that a generator has.

    Seeds of one film are far from those of another. Raises: SettingError when the generator lacks the mode that is
    asked for.
    """
    if settings.mode not in ("auto", *modes):
        raise SettingError(f"This generator cannot edit by {settings.mode}.", f"Choose auto or {', '.join(modes)}.")
    wanted = modes if settings.mode == "auto" else (settings.mode,)
    first, later = settings.guidance, settings.guidance * LOUDER
    inverts = [("inversion", seed, first)] if "inversion" in wanted else []
    if inverts and "inpaint" in wanted:
        inverts.append(("inversion", seed, later))
    strength = later if inverts else first
    inpaints = [("inpaint", seed + SEED_STEP * k, strength) for k in range(settings.seeds)]
    return inverts + (inpaints if "inpaint" in wanted else [])


def edit_films(sources: Sequence[Source], models: Models, settings: SynthSettings) -> list[Outcome]:
    """Edit films, try again where the judge is not convinced, make the shams and pass all through the gates.

    Returns: one outcome a source, in order; a film that cannot be edited has an `error` and nothing else.
    Raises: ResourceError when not even one edit at a time fits the device.
    """
    outcomes = [Outcome() for _ in sources]
    work: dict[int, _Work] = {}
    fitting = models.fitting
    squares = [square(s.film, SEGMENT_SIZE) for s in sources]
    found = outlined(models.segmenter, squares, [s.dicom_id for s in sources], fitting)
    for n, (source, (masks, why_not)) in enumerate(zip(sources, found)):
        outcomes[n].masks = masks
        if why_not:
            outcomes[n].error = why_not
            continue
        try:
            roi = source.roi if source.roi is not None else region(source, masks, squares[n], models.judge, fitting)
            work[n] = _Work(source, masks, roi, models.generator.size)
        except DataError as error:
            outcomes[n].error = error.message
    for w, p in zip(work.values(), probabilities(models.judge, [w.source.film for w in work.values()], fitting)):
        w.before = p
    for k in range(len(attempts(settings, 0, modes_of(models.generator)))):
        pending = [w for w in work.values() if not any(t.clean for t in w.tries)]
        _attempt(pending, k, models, settings)
    gated = []
    # a segmenter that looks sources up outlines edits by another network, and like is compared with like
    same = looking(models.segmenter) is models.segmenter and models.segmenter.size == SEGMENT_SIZE
    for n, w in work.items():
        best, worst = w.best, w.worst
        outcomes[n] = replace(
            outcomes[n], edited=best.edited, roi=w.roi, sham=worst.sham, mode=best.request.mode,
            guidance=best.request.guidance, seed=best.request.seed,
        )  # fmt: skip
        gated.append(
            Edited(
                w.source.film, best.edited, w.roi, w.source.changes, worst.sham, best.drift, w.source.subject_id,
                w.masks if same else None, best.seen, worst.seen_sham, w.before,
            )
        )  # fmt: skip
    measured = run_gates(gated, models.judge, models.segmenter, models.gates, models.neighbours, fitting)
    for n, rows in zip(work, measured):
        outcomes[n].gates = rows
    for n, rows in zip(work, _doubts(list(work.values()), models, settings)):
        outcomes[n].uncertainty = rows
    return outcomes


def _doubts(work: Sequence[_Work], models: Models, settings: SynthSettings) -> list[list[dict[str, Any]]]:
    """The uncertainty of each edit over its attempts, or over so many seeds as the settings ask for."""
    if settings.uncertainty:
        made = [(w, w.best.edited, (w.best.request.mode, w.best.request.guidance)) for w in work]
        draws = drawn_again(made, models, settings)
        return _uncertainty([w.source for w in work], draws, models)
    known = [[t.seen for t in w.tries] for w in work]
    return _uncertainty([w.source for w in work], [[t.edited for t in w.tries] for w in work], models, known)


def _uncertainty(
    sources: Sequence[Source],
    draws: Sequence[Sequence[np.ndarray]],
    models: Models,
    known: Sequence[Sequence[np.ndarray]] | None = None,
) -> list[list[dict[str, Any]]]:
    """Rows of `uncertainty_rows` for the films drawn of each source; known: what the gating judge has said of them."""
    films = [film for drawn in draws for film in drawn]
    said = [
        [p for of_one in known for p in of_one]
        if known is not None and getattr(judge, "revision", judge) == getattr(models.judge, "revision", models.judge)
        else probabilities(judge, films, models.fitting)
        for judge in models.judges or [models.judge]
    ]
    seen = np.stack([np.stack(of_judge) for of_judge in said], axis=1) if films else np.zeros((0, 1, len(FINDINGS)))
    starts = np.cumsum([0, *(len(drawn) for drawn in draws)])
    return [rows_of(seen[a:b], source.changes) for source, a, b in zip(sources, starts, starts[1:])]


def uncertainty_of(
    sources: Sequence[Source],
    edited: Sequence[np.ndarray],
    how: Sequence[tuple[str, float]],
    models: Models,
    settings: SynthSettings,
) -> list[list[dict[str, Any]]]:
    """The uncertainty of edits made before, over settings.uncertainty seeds: rows of `uncertainty_rows` for each.

    sources: of edits that were made, so their outlines are trusted. edited: the films, at the sources' size. how: mode
    and guidance of each.
    """
    squares = [square(s.film, SEGMENT_SIZE) for s in sources]
    fitting = models.fitting
    found = outlined(models.segmenter, squares, [s.dicom_id for s in sources], fitting)
    work = [
        _Work(s, m, s.roi if s.roi is not None else region(s, m, q, models.judge, fitting), models.generator.size)
        for s, (m, _), q in zip(sources, found, squares)
    ]
    return _uncertainty(sources, drawn_again(list(zip(work, edited, how)), models, settings), models)


def drawn_again(
    made: Sequence[tuple[_Work, np.ndarray, tuple[str, float]]], models: Models, settings: SynthSettings
) -> list[list[np.ndarray]]:
    """settings.uncertainty films of each edit: the edit itself and others in its mode with other seeds.

    made: work, edited film, and mode and guidance of each.
    """
    extra = max(0, settings.uncertainty - 1)
    requests = [
        w.request(mode, w.source.seed + SEED_STEP * (1_000 + k), guidance, settings)
        for w, _, (mode, guidance) in made for k in range(extra)
    ]  # fmt: skip
    results = _edit(models, requests, settings.batch)
    films = []
    for n, (w, edited, _) in enumerate(made):
        again = [w.paste(r.edited, settings.feather) for r in results[n * extra : (n + 1) * extra]]
        films.append([edited, *again])
    return films


def _attempt(pending: list[_Work], number: int, models: Models, settings: SynthSettings) -> None:
    """Attempt `number` at each pending source: edit, sham, and what the judge says of both."""
    if not pending:
        return
    modes = modes_of(models.generator)
    requests = [w.request(*attempts(settings, w.source.seed, modes)[number], settings) for w in pending]
    # an edit and its sham are neighbours, so they run in one batch
    results = _edit(models, [each for r in requests for each in (r, r.sham())], 2 * settings.batch)
    films = [w.paste(results[2 * n + k].edited, settings.feather) for n, w in enumerate(pending) for k in (0, 1)]
    seen = probabilities(models.judge, films, models.fitting)
    for n, (w, request) in enumerate(zip(pending, requests)):
        (edited, sham), (p, p_sham) = films[2 * n : 2 * n + 2], seen[2 * n : 2 * n + 2]
        beyond = [margin(each, models.judge.thresholds, w.source.changes) for each in (p, p_sham)]
        others = collateral(w.before, p, np.asarray(models.judge.sure), w.source.changes)
        w.tries.append(_Try(request, edited, sham, results[2 * n].drift, p, p_sham, *beyond, others))


def _edit(models: Models, requests: list[EditRequest], batch: int) -> list[EditResult]:
    """The result of each request, `batch` of them at a time, fewer where so many do not fit the device."""
    return models.fitting.each("the generator", models.generator.edit, requests, batch)


def check_changes(labels: dict[str, int], changes: dict[str, str]) -> None:
    """Raise SettingError for a change that the film does not allow: inserted twice, or deleted where it is not."""
    for finding, direction in changes.items():
        if finding not in labels or direction not in ("insert", "delete"):
            raise SettingError(f"{finding!r}: {direction!r} is no edit.", "Use a finding with insert or delete.")
        if (labels[finding] == PRESENT) != (direction == "delete"):
            state = "already" if direction == "insert" else "not"
            raise SettingError(f"{finding} is {state} present on this film.", "Choose the other direction.")
