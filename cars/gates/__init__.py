"""Plug-ins: one gate a file. See docs/adding-a-gate.md.

A gate is something that an edit must pass before it may count as a film. It is a frozen dataclass: its fields are its
thresholds, set in the table [gates.<name>] of workspace.toml or by CARS_GATES_<NAME>_<FIELD>; `measures` turns the
evidence on one edit into rows of the table `gates`. All rows are kept, passed or not.

    judge     an independent judge crosses its threshold the right way
    anatomy   lungs and heart keep their outlines outside the finding's own effect, and the heart keeps its size
    outside   not one pixel outside the ROI differs from the source
    sham      the same edit towards an unchanged vector must not convince the judge
    untouched no finding that the edit does not concern changes sides
    copy      the film is no near copy of another patient's
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from typing import Any, ClassVar

import numpy as np

from ..config import resolve, setting
from ..errors import SettingError
from ..registry import Registry
from ..schema import FINDINGS, HIERARCHY

GATES = Registry("gate", "cars.gates")
#: Findings with one look: pneumonia is consolidation with a cause that no film shows, so a film that gains or loses one
#: may gain or lose the other. An edit of either concerns both.
ALIKE: tuple[frozenset[str], ...] = (frozenset({"Consolidation", "Pneumonia"}),)


@dataclass(frozen=True)
class Measure:
    """One number of one gate. It passes when low ≤ value ≤ high.

    passed: None where nothing was decided: the gate is not required, or there was nothing to measure (`value` is NaN).
    A row with infinite `low` and `high` only reports and passes.
    """

    gate: str
    measure: str
    value: float
    low: float
    high: float
    passed: bool | None


@dataclass(frozen=True)
class Evidence:
    """What is known of one edit when the gates are asked.

    changes: finding → "insert" or "delete".
    source, edited: uint8 (H, W), the film's own size, after paste-back. roi: bool (H, W).
    before, after: (14,) float, the judge's probabilities of both in [0, 1], NaN where it is untrained.
    thresholds: (14,) float, the judge's, NaN where it is untrained.
    sure: (14, 2) float: below the first the judge is sure that a finding is absent, from the second on that it is
        present; between them it does not decide. NaN where it is untrained.
    sham: (14,) float, its probabilities of the sham film; None where there is none.
    masks_before, masks_after: bool (3, S, S), outlines on the padded square. small_roi: bool (S, S), the ROI there.
    drift: mean absolute change outside the ROI before paste-back, grey levels; NaN when unknown.
    likeness: similarity in [-1, 1] of the edited film to the nearest film of another patient; NaN when not looked up.
    strangers: the similarity that real films of different patients hardly ever reach; NaN when not looked up.
    """

    changes: dict[str, str]
    source: np.ndarray
    edited: np.ndarray
    roi: np.ndarray
    before: np.ndarray
    after: np.ndarray
    thresholds: np.ndarray
    sure: np.ndarray
    masks_before: np.ndarray
    masks_after: np.ndarray
    small_roi: np.ndarray
    sham: np.ndarray | None = None
    drift: float = nan
    likeness: float = nan
    strangers: float = nan


@dataclass(frozen=True)
class Gate:
    """What every gate has. A plug-in adds fields for its thresholds and the method `measures`."""

    required: bool = setting(True, "Whether an edit must pass; otherwise the numbers are only kept.")

    #: Set by `gate`: its registered name, its place in the order of tables and pages, and its sentence for pages.
    name: ClassVar[str] = ""
    order: ClassVar[int] = 0
    help: ClassVar[str] = ""

    def measures(self, evidence: Evidence) -> list[Measure]:
        """The rows of one edit. Raises: DataError for evidence that does not fit together."""
        raise NotImplementedError

    def within(self, measure: str, value: float, low: float = -inf, high: float = inf) -> Measure:
        """A row of this gate; NaN passes only where nothing is asked."""
        asked = low > -inf or high < inf
        fits = not asked or bool(low <= value <= high)
        return Measure(self.name, measure, float(value), float(low), float(high), fits)

    def not_checked(self, measure: str) -> Measure:
        """A row that says that there was nothing to measure: it neither passes nor blocks."""
        return Measure(self.name, f"{measure}: not checked", nan, -inf, inf, None)


def gate(name: str, *, order: int, help: str) -> Any:
    """Decorator: register a gate's class. order: its place in tables and on pages. help: one sentence for pages."""

    def keep(kind: type[Gate]) -> type[Gate]:
        kind.name, kind.order, kind.help = name, order, help
        return GATES.register(name)(kind)

    return keep


def names() -> list[str]:
    """All gates in their order."""
    return sorted(GATES.names(), key=lambda name: (GATES.get(name).order, name))


def gates_of(file: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> list[Gate]:
    """Every gate with its thresholds, in order: default < workspace.toml [gates.<name>] < CARS_GATES_<NAME>_<FIELD>.

    file: the whole parsed workspace.toml. Raises: SettingError for an unknown gate or field and for wrong values.
    """
    table = dict((file or {}).get("gates", {}))
    unknown = sorted(set(table) - set(names()))
    if unknown:
        raise SettingError(
            f"[gates] of workspace.toml names {unknown[0]!r}, which is no gate.",
            f"The gates are: {', '.join(names())}.",
        )
    environment = os.environ if environment is None else environment
    return [
        resolve(GATES.get(name), f"gates_{name}", file={f"gates_{name}": table.get(name, {})}, environment=environment)
        for name in names()
    ]


def ask(gates: Sequence[Gate], evidence: Evidence) -> list[Measure]:
    """The rows of all gates on one edit, in the order of the gates."""
    rows = []
    for each in gates:
        found = each.measures(evidence)
        rows += found if each.required else [replace(row, passed=None) for row in found]
    return rows


def passed(rows: Sequence[Measure], gate: str | None = None) -> bool:
    """Whether no row failed, of all gates or of one. What was not checked or not required does not count."""
    return all(row.passed is not False for row in rows if gate is None or row.gate == gate)


def step_below(threshold: float) -> float:
    """The greatest float32 below a threshold, which itself counts as present."""
    return float(np.nextafter(np.float32(threshold), np.float32(-2)))


def unconcerned(changes: Mapping[str, str], thresholds: np.ndarray) -> np.ndarray:
    """(14,) bool: the findings that the judge judges and that an edit does not concern.

    It concerns the changed findings, those that look alike (ALIKE), their parents and children in CheXpert's hierarchy,
    siblings' common parent included, and "No Finding".
    """
    concerned = set(changes) | {"No Finding"}
    for alike in ALIKE:
        concerned |= alike if alike & set(changes) else set()
    for parent, children in HIERARCHY.items():
        if parent in changes:
            concerned |= set(children)
        if set(children) & set(changes):
            concerned.add(parent)
    return np.array([finding not in concerned for finding in FINDINGS]) & ~np.isnan(thresholds)


def collateral(before: np.ndarray, after: np.ndarray, sure: np.ndarray, changes: Mapping[str, str]) -> int:
    """How many findings that the edit does not concern change sides, from surely absent to surely present or back.

    before, after: (14,) probabilities. sure: (14, 2), as `Evidence` has it; the same threshold twice counts every
    crossing.
    """
    low, high = sure[:, 0], sure[:, 1]
    others = unconcerned(changes, low)
    sides = [np.where(p >= high, 1, np.where(p < low, -1, 0)) for p in (before, after)]
    return int(np.count_nonzero((sides[0] * sides[1] == -1) & others))


__all__ = [
    "ALIKE",
    "GATES",
    "Evidence",
    "Gate",
    "Measure",
    "ask",
    "collateral",
    "gate",
    "gates_of",
    "names",
    "passed",
    "step_below",
    "unconcerned",
]
