"""From gaps and source films to the films that could be made: which edit of which film serves which gaps.

Films that look alike (same sex, age band, view, race and labels) are edited once as a *kind* of film, so that 250,000
sources are looked through in seconds. An edit serves a gap when the film matches it afterwards and did not before, and
when the patient (or study) whom the gap counts has no such film yet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..cover import Candidates
from ..edits import Change, allowed, changes_towards, edit_sets, labels_after
from ..schema import COLUMN_OF, FINDING_CODES, FINDINGS, FRONTAL, HIERARCHY
from ..workspace import Workspace

#: Attributes of a pattern that an edit never changes.
FIXED = ("sex", "age_band", "view", "race")
#: Films kept for one edit and one set of gaps: so many for each unit that the neediest gap lacks, and some more.
PER_WANTED, SPARE = 6, 50


@dataclass
class Target:
    """One gap and how far the plan fills it.

    allowed: attribute → values that a film must have one of; findings as codes (those of the pattern, and of the
    filter under which the gap was counted). wanted: units that it lacks. count, threshold, unit: as `gaps` says.
    """

    gap_id: str
    sentence: str
    pattern: dict[str, str]
    allowed: dict[str, tuple[Any, ...]]
    wanted: int
    count: int = 0
    threshold: int = 0
    unit: str = "patient"
    planned: int = 0
    reason: str = ""

    @property
    def findings(self) -> list[str]:
        return [name for name in self.allowed if name in COLUMN_OF]

    def matches(self, fixed: Mapping[str, np.ndarray], labels: np.ndarray) -> np.ndarray:
        """(films,) bool. fixed: attribute → (films,) text; labels: (films, 14) codes in the order of FINDINGS."""
        return self.fits(fixed, len(labels)) & self.shows(labels)

    def fits(self, fixed: Mapping[str, np.ndarray], films: int) -> np.ndarray:
        """(films,) bool: the conditions that no edit changes."""
        kept = np.ones(films, dtype=bool)
        for name, values in self.allowed.items():
            if name in FIXED:
                kept &= np.isin(fixed[name], values)
        return kept

    def shows(self, labels: np.ndarray) -> np.ndarray:
        """(films,) bool: the conditions on findings."""
        kept = np.ones(len(labels), dtype=bool)
        for name in self.findings:
            have, values = labels[:, FINDINGS.index(name)], self.allowed[name]
            kept &= (have == values[0]) if len(values) == 1 else np.isin(have, values)
        return kept


@dataclass(frozen=True)
class Films:
    """Films as arrays. ids: (films,) dicom_id; patient, study: (films,) int; fixed: attribute → (films,) text;
    labels: (films, 14) int8."""

    ids: np.ndarray
    patient: np.ndarray
    study: np.ndarray
    fixed: dict[str, np.ndarray]
    labels: np.ndarray

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Films:
        """From rows of the table `films`."""
        return cls(
            frame["dicom_id"].to_numpy(dtype=object), pd.factorize(frame["subject_id"])[0],
            pd.factorize(frame["study_id"])[0],
            {name: frame[name].fillna("unknown").to_numpy(dtype=object) for name in FIXED},
            frame[list(COLUMN_OF.values())].to_numpy(dtype=np.int8),
        )  # fmt: skip

    def take(self, rows: np.ndarray) -> Films:
        """Some of the films; who is who stays as it was."""
        return Films(
            self.ids[rows], self.patient[rows], self.study[rows], {n: v[rows] for n, v in self.fixed.items()},
            self.labels[rows],
        )  # fmt: skip

    def units(self, unit: str) -> np.ndarray:
        return {"patient": self.patient, "study": self.study}.get(unit, np.arange(len(self.ids)))

    def kinds(self) -> tuple[np.ndarray, np.ndarray]:
        """(a film of each kind, the kind of each film): films of one kind agree in all that patterns name."""
        code = np.zeros(len(self.ids), dtype=np.int64)
        for column in range(self.labels.shape[1]):
            code = code * 4 + (self.labels[:, column].astype(np.int64) + 2)
        for name in FIXED:
            values, known = pd.factorize(self.fixed[name])
            code = pd.factorize(code)[0] * (len(known) + 1) + values
        _, first, kind = np.unique(code, return_index=True, return_inverse=True)
        return first, kind


@dataclass
class Options:
    """The films that could be made. made: candidate → (position of the source among the sources, the edit)."""

    candidates: Candidates
    made: list[tuple[int, tuple[Change, ...]]] = field(default_factory=list)


def weight_of(edit: tuple[Change, ...], weights: Mapping[tuple[Change, ...], float]) -> float:
    """What an edit costs: as named, else the product of its single changes' weights, each 1 where it is not named."""
    return weights[edit] if edit in weights else math.prod(weights.get((change,), 1.0) for change in edit)


def counted_films(workspace: Workspace) -> Films:
    """Every real train film: those that gaps count."""
    return Films.of(workspace.query("synth/counted_films"))


def _known(targets: Sequence[Target], counted: Films, unit: str) -> np.ndarray:
    """(units, gaps) bool: who has a film that matches already. All false where films are counted."""
    ids = counted.units(unit)
    known = np.zeros((int(ids.max(initial=-1)) + 1 if unit != "film" else 1, len(targets)), dtype=bool)
    if unit != "film":
        for gap, target in enumerate(targets):
            known[ids[target.matches(counted.fixed, counted.labels)], gap] = True
    return known


def _touched(edit: Sequence[Change]) -> set[str]:
    """The findings whose label an edit may change."""
    found = {"No Finding"}
    for finding, _ in edit:
        found |= {finding, *HIERARCHY.get(finding, ()), *(p for p, c in HIERARCHY.items() if finding in c)}
    return found


def options(
    targets: Sequence[Target], counted: Films, sources: np.ndarray, most_edits: int,
    weights: Mapping[tuple[Change, ...], float] | None = None,
) -> Options:  # fmt: skip
    """Every film worth making for these gaps, and a reason at each gap that no edit can serve.

    counted: the films that the gaps count. sources: positions among them of the films that may be edited, the preferred
    ones first. weights: see `weight_of`. Targets must count the same unit. Of films that serve the same gaps by the
    same edit only the first few are kept, those whose patients are new to the gaps first.
    """
    unit = targets[0].unit if targets else "patient"
    films = counted.take(sources)
    first, kind = films.kinds()
    kinds = films.take(first)
    of_kind = np.split(np.argsort(kind, kind="stable"), np.cumsum(np.bincount(kind, minlength=len(first)))[:-1])
    fits = np.array([t.fits(kinds.fixed, len(first)) for t in targets]).T.reshape(len(first), len(targets))
    fits &= np.isin(kinds.fixed["view"], FRONTAL)[:, None]
    before = fits & np.array([t.shows(kinds.labels) for t in targets]).T.reshape(fits.shape)
    known = _known(targets, counted, unit)
    unit_of = np.arange(len(sources)) if unit == "film" else counted.units(unit)[sources]
    helpful = [changes_towards(t.pattern) for t in targets]
    _say_why_not(targets, fits, helpful)
    parts: list[tuple[np.ndarray, np.ndarray, tuple[Change, ...]]] = []
    seen: set[tuple[int, bytes]] = set()
    within = np.zeros(len(targets), dtype=bool)
    edits = edit_sets([c for changes in helpful for c in changes], most_edits)
    # a set of gaps is left to the cheapest edit that serves it, and the smallest among equals
    for edit in sorted(edits, key=lambda e: weight_of(e, weights or {})):
        touched = _touched(edit)
        asked = [n for n, t in enumerate(targets) if touched & set(t.findings) and set(helpful[n]) & set(edit)]
        rows = np.flatnonzero(fits[:, asked].any(axis=1)) if asked else np.empty(0, dtype=np.int64)
        rows = rows[allowed(kinds.labels[rows], edit)]
        if not len(rows):
            continue
        after = labels_after(kinds.labels[rows], edit)
        served = np.zeros((len(rows), len(targets)), dtype=bool)
        for n in asked:
            served[:, n] = fits[rows, n] & ~before[rows, n] & targets[n].shows(after)
        within |= served.any(axis=0)
        for gaps, of_set in _by_set(served):
            new = [rows[r] for r in of_set if (int(rows[r]), gaps.tobytes()) not in seen]
            seen.update((int(r), gaps.tobytes()) for r in new)
            if new:
                found = np.concatenate([of_kind[r] for r in new])
                wanted = max(targets[g].wanted for g in gaps)
                chosen = _first(found, gaps, known, unit_of, PER_WANTED * wanted + SPARE, unit)
                parts.append((chosen, gaps, edit))
    for n, target in enumerate(targets):
        if not within[n] and not target.reason:
            target.reason = f"no train film on disk is within {most_edits} edited findings"
    return _gathered(parts, known, unit, unit_of, films.patient, weights or {})


def _say_why_not(targets: Sequence[Target], fits: np.ndarray, helpful: Sequence[Sequence[Change]]) -> None:
    for n, target in enumerate(targets):
        if not set(target.allowed.get("view", FRONTAL)) & set(FRONTAL):
            target.reason = "only frontal films are edited"
        elif not helpful[n]:
            target.reason = "none of its findings can be edited"
        elif not fits[:, n].any():
            target.reason = "no train film on disk has these attributes, and an edit never changes them"


def _by_set(served: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(gaps, rows) for each set of gaps that some row of a (rows, gaps) bool array serves; the empty set left out."""
    some = np.flatnonzero(served.any(axis=1))
    packed = np.packbits(served[some], axis=1)
    found: dict[bytes, list[int]] = {}
    for row, key in zip(some.tolist(), packed, strict=True):
        found.setdefault(key.tobytes(), []).append(row)
    return [(np.flatnonzero(served[rows[0]]), np.array(rows)) for rows in found.values()]


def _first(
    films: np.ndarray, gaps: np.ndarray, known: np.ndarray, unit_of: np.ndarray, most: int, unit: str
) -> np.ndarray:
    """Up to `most` films: those whose unit is new to all the gaps first, then in the order of the sources."""
    films = np.sort(films)
    if unit != "film":
        old = known[unit_of[films]][:, gaps].sum(axis=1)
        films = films[np.argsort(old, kind="stable")]
        films = films[np.sort(old) < len(gaps)]
        # one film of each unit is enough until all have had their turn
        _, turn = np.unique(unit_of[films], return_index=True)
        firsts = np.sort(turn)
        films = np.concatenate([films[firsts], np.delete(films, firsts)])
    return films[:most]


def _gathered(
    parts: list[tuple[np.ndarray, np.ndarray, tuple[Change, ...]]], known: np.ndarray, unit: str, unit_of: np.ndarray,
    patient: np.ndarray, weights: Mapping[tuple[Change, ...], float],
) -> Options:  # fmt: skip
    """All that could be made as one problem of covering; who is known to a gap does not serve it."""
    made: list[tuple[int, tuple[Change, ...]]] = []
    gaps_of: list[np.ndarray] = []
    weight: list[float] = []
    rank: list[int] = []
    for films, gaps, edit in parts:
        for film in films.tolist():
            new = gaps if unit == "film" else gaps[~known[unit_of[film], gaps]]
            if len(new):
                made.append((film, edit))
                gaps_of.append(new)
                weight.append(weight_of(edit, weights))
                rank.append(len(edit) * len(unit_of) + film)
    sources = np.array([film for film, _ in made], dtype=np.int64)
    candidates = Candidates(
        np.concatenate([[0], np.cumsum([len(g) for g in gaps_of], dtype=np.int64)]).astype(np.int64),
        np.concatenate([*gaps_of, np.empty(0, dtype=np.int64)]).astype(np.int64), patient[sources],
        # a gap that counts films counts each edit, also two of one source
        np.arange(len(made)) if unit == "film" else unit_of[sources], np.array(weight, dtype=float),
        np.array(rank, dtype=np.int64),
    )  # fmt: skip
    return Options(candidates, made)


def conditions_of(pattern: Mapping[str, str]) -> dict[str, tuple[Any, ...]]:
    """attribute → allowed values as the films table stores them, of a pattern with findings under their own names."""
    return {n: (FINDING_CODES[v],) if n in COLUMN_OF else (v,) for n, v in pattern.items()}
