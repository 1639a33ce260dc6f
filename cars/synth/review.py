"""What a person looks through after a run: which edits to show, what became of each, and what a decision may be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..errors import DataError
from ..gates import names as gate_names
from ..workspace import Workspace

#: What became of an edit; only the films that are "used" are in coverage, training arms and exports.
STATES = ("used", "rejected", "failed", "baseline", "not made")
#: What a person has decided of an edit, as the filter names it.
DECISIONS = {"undecided": None, "accepted": "accept", "rejected": "reject"}
ALL, PASSED, NOT_MADE, BASELINE = "all", "passed all", "not made", "baseline"


@dataclass(frozen=True)
class Filter:
    """Which edits to show; each field is "all" or one of the values that `choices` names."""

    outcome: str = ALL
    finding: str = ALL
    direction: str = ALL
    decision: str = ALL


def state(edit: Mapping[str, Any]) -> str:
    """What became of an edit, one of STATES. edit: a row of `edit_table`."""
    if isinstance(edit["error"], str):
        return "not made"
    if edit["baseline"]:
        return "baseline"
    if not edit["passed"]:
        return "failed"
    return "rejected" if edit["decision"] == "reject" else "used"


def open_to(edit: Mapping[str, Any]) -> tuple[str, ...]:
    """The decisions that would change something: none for an edit that is never used whatever a person says."""
    if state(edit) not in ("used", "rejected"):
        return ()
    now = edit["decision"] if isinstance(edit["decision"], str) else "undo"
    return tuple(d for d in ("accept", "reject", "undo") if d != now)


def failed_gates(edit: Mapping[str, Any]) -> list[str]:
    """The gates that an edit failed, in the order of the gates."""
    return [gate for gate in gate_names() if edit[f"gate_{gate}"] is False]


def outcomes(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Outcome → which rows of `edit_table` have it; an edit that failed two gates has two."""
    made = table["error"].isna()
    found = {ALL: pd.Series(True, table.index), PASSED: made & table["passed"].fillna(False).astype(bool)}
    found |= {f"failed {gate}": table[f"gate_{gate}"].eq(False).fillna(False) for gate in gate_names()}
    return found | {NOT_MADE: ~made, BASELINE: table["baseline"].fillna(False).astype(bool)}


def choices(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Filter → value → how many edits of the table have it; values that none has are left out, but for "all"."""
    changes = _changes(table)
    decided = [decision if isinstance(decision, str) else None for decision in table["decision"]]
    findings = sorted({finding for each in changes for finding in each})
    counted = {
        "outcome": {name: int(rows.sum()) for name, rows in outcomes(table).items()},
        "finding": {ALL: len(table)} | {f: sum(f in each for each in changes) for f in findings},
        "direction": {ALL: len(table)} | {d: sum(d in each.values() for each in changes) for d in ("insert", "delete")},
        "decision": {ALL: len(table)} | {name: sum(value == d for value in decided) for name, d in DECISIONS.items()},
    }
    return {name: {v: n for v, n in values.items() if n or v == ALL} for name, values in counted.items()}


def select(table: pd.DataFrame, wanted: Filter) -> pd.DataFrame:
    """The edits that a filter leaves, in the order of the plan; of one item the newest comes last.

    With a finding, the direction is that of this finding; a value that no edit has leaves none.
    """
    keep = outcomes(table).get(wanted.outcome, pd.Series(False, table.index))
    if wanted.finding != ALL or wanted.direction != ALL:
        keep &= pd.Series([_fits(each, wanted) for each in _changes(table)], table.index, dtype=bool)
    if wanted.decision != ALL:
        decision = DECISIONS[wanted.decision]
        keep &= table["decision"].isna() if decision is None else table["decision"].eq(decision).fillna(False)
    return table[keep.astype(bool)].sort_values(["plan_id", "item", "created"], ignore_index=True)


def _fits(changes: Mapping[str, str], wanted: Filter) -> bool:
    return any(
        wanted.finding in (ALL, finding) and wanted.direction in (ALL, direction)
        for finding, direction in changes.items()
    )


def _changes(table: pd.DataFrame) -> list[dict[str, str]]:
    read = {text: json.loads(text) for text in table["findings"].unique()}
    return [read[text] for text in table["findings"]]


def position(ids: Sequence[str], chosen: str, before: int = 0) -> int:
    """Where the chosen edit is; where it was left out, the place that it had, so that the next one is shown."""
    for n, each in enumerate(ids):
        if each == chosen:
            return n
    return max(0, min(before, len(ids) - 1))


def waiting(workspace: Workspace, plan_id: str, table: pd.DataFrame) -> list[int]:
    """The numbers of a plan's items that no edit of the table comes from, in order."""
    made = set(table["item"])
    return [item for item in workspace.records.plan_items(plan_id)["item"].tolist() if item not in made]


def decide(workspace: Workspace, edit_id: str, decision: str) -> None:
    """File a person's decision on one edit; its note stays.

    Raises: DataError for an edit that is not there, and for accepting one that is never used.
    """
    rows = workspace.query("synth/one_edit", edit_id=edit_id).to_dict("records") if workspace.has("edits") else []
    if not rows:
        raise DataError(f"There is no edit {edit_id!r} in this workspace.", "Choose one of the table edits.")
    found = state({str(name): value for name, value in rows[0].items()})
    if decision == "accept" and found not in ("used", "rejected"):
        why = {
            "failed": "it failed a gate", "baseline": "a baseline made it, for comparison only",
            "not made": "no film was made",
        }[found]  # fmt: skip
        raise DataError(f"This edit cannot be accepted: {why}.", "Only edits that pass every gate are ever used.")
    workspace.records.decide(edit_id, decision)
