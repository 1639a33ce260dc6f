"""What a plan costs before anything runs: films, patients, edits by kind, how many are likely to pass, and the time.

Pass rates and times are those of edits that this workspace has made. Where it has made none, the pass rate is unknown
(and stays so), and the time is an estimate from the constants below.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..edits import POSITION, Change
from ..workspace import Workspace

#: Seconds a film of 256 px with all gates (20 steps, mode auto), where nothing was measured here: 2 CPU cores; a GPU.
SECONDS_CPU, SECONDS_GPU = 0.6, 0.1
#: A kind of edit has a pass rate of its own from so many tries on; before, all edits together stand in for it.
FEWEST_TRIES = 5


def words(edit: Sequence[Change] | Mapping[str, str]) -> str:
    """An edit in words: "insert Edema and delete Pleural Effusion"."""
    changes = edit.items() if isinstance(edit, Mapping) else edit
    return " and ".join(f"{direction} {finding}" for finding, direction in changes)


def edit_of(findings: Mapping[str, str]) -> tuple[Change, ...]:
    """An edit as it is compared: in the order of the findings."""
    return tuple(sorted(findings.items(), key=lambda c: POSITION[c[0]]))


def wilson(passed: int, tried: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95% interval of a share (1927)."""
    share, square = passed / tried, z * z / tried
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / tried + square / (4 * tried))
    return max(0.0, middle - half), min(1.0, middle + half)


def tried_of(workspace: Workspace) -> dict[tuple[Change, ...], tuple[int, int]]:
    """edit → (passed, tried) over every edit of the workspace; an edit that could not be made counts as tried."""
    if not workspace.has("edits"):
        return {}
    found: dict[tuple[Change, ...], tuple[int, int]] = {}
    for row in workspace.query("synth/kinds_tried", plan_id=None).itertuples():
        edit = edit_of(json.loads(row.findings))
        passed, tried = found.get(edit, (0, 0))
        found[edit] = passed + int(row.passed), tried + int(row.tried)
    return found


def weights_of(tried: Mapping[tuple[Change, ...], tuple[int, int]]) -> dict[tuple[Change, ...], float]:
    """edit → films to try for one that passes, for kinds tried often enough, from (passed + 1) / (tried + 2).

    Divided by that of all edits together, which stands in for the kinds that are not named.
    """
    everything = [sum(column) for column in zip(*tried.values(), strict=True)] or [0, 0]
    usual = (everything[0] + 1) / (everything[1] + 2)
    return {edit: usual / ((p + 1) / (n + 2)) for edit, (p, n) in tried.items() if n >= FEWEST_TRIES}


def pass_rate(
    edits: Sequence[tuple[Change, ...]], tried: Mapping[tuple[Change, ...], tuple[int, int]]
) -> dict[str, Any] | None:
    """{"value", "low", "high", "n"}: the share of these edits that should pass, None where nothing was ever tried.

    Each edit counts with its own kind's share, or with all edits' where its kind was tried less than FEWEST_TRIES
    times. The interval weighs Wilson's ends of the kinds in the same way, and n is the tries behind it.
    """
    passed, n = (sum(pair[k] for pair in tried.values()) for k in (0, 1))
    if not n or not edits:
        return None
    kinds = Counter(edit if tried.get(edit, (0, 0))[1] >= FEWEST_TRIES else None for edit in edits)
    pairs = {kind: (passed, n) if kind is None else tried[kind] for kind in kinds}
    share = {kind: times / len(edits) for kind, times in kinds.items()}
    bounds = {kind: wilson(*pair) for kind, pair in pairs.items()}
    return {
        "value": sum(share[k] * pairs[k][0] / pairs[k][1] for k in kinds),
        "low": sum(share[k] * bounds[k][0] for k in kinds),
        "high": sum(share[k] * bounds[k][1] for k in kinds),
        "n": n if None in pairs else sum(pair[1] for pair in pairs.values()),
    }


def seconds_per_film(workspace: Workspace) -> tuple[float, str]:
    """(seconds, what that rests on): the median over earlier chunks on this workspace, else an estimate.

    The time of a chunk is from one commit to the next; pauses of more than ten minutes are no chunk's time.
    """
    if workspace.has("edits"):
        chunks = workspace.query("synth/chunks_made")
        one: list[float] = []
        films = 0
        for _, group in chunks.groupby(["plan_id", "generator"]):
            group = group.sort_values("created")
            for gap, count in zip(group["created"].diff()[1:], group["films"][1:], strict=True):
                if 0 < gap < 600:
                    one.append(gap / count)
                    films += int(count)
        if one:
            return float(np.median(one)), f"measured on {films:,} films of earlier runs"
    if gpu_there():
        return SECONDS_GPU, "an estimate for a GPU; nothing was measured here yet"
    return SECONDS_CPU, "an estimate for 2 CPU cores; nothing was measured here yet"


def gpu_there() -> bool:
    """Whether this machine has an NVIDIA GPU, without importing torch."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def cost_of(workspace: Workspace, edits: Sequence[Mapping[str, str]], patients: int) -> dict[str, Any]:
    """What these edits cost.

    Returns: {"films", "patients", "by_kind": {words: films}, "by_change": {words of one change: films},
    "pass_rate": {"value", "low", "high", "n"} or None, "films_to_try": films to make so that as many as planned should
    pass, or None, "seconds_per_film", "seconds": for the films to try, else for the films, "basis": what the time
    rests on, "device": cpu or gpu}.
    """
    kinds = [edit_of(edit) for edit in edits]
    rate = pass_rate(kinds, tried_of(workspace))
    to_try = math.ceil(len(kinds) / rate["value"]) if rate and rate["value"] > 0 else None
    each, basis = seconds_per_film(workspace)
    changes = Counter(words([change]) for kind in kinds for change in kind)
    return {
        "films": len(kinds),
        "patients": patients,
        "by_kind": dict(Counter(words(kind) for kind in kinds).most_common()),
        "by_change": dict(changes.most_common()),
        "pass_rate": rate,
        "films_to_try": to_try,
        "seconds_per_film": each,
        "seconds": each * (to_try or len(kinds)),
        "basis": basis,
        "device": "gpu" if gpu_there() else "cpu",
    }


def plan_cost(workspace: Workspace, plan_id: str, keep: Sequence[int] | None = None) -> dict[str, Any]:
    """`cost_of` for a filed plan, or for the items of these numbers, from today's edits.

    Raises: WorkspaceError for an unknown plan.
    """
    items = workspace.records.plan_items(plan_id)
    items = items if keep is None else items[items["item"].isin(set(keep))]
    found = workspace.query("synth/patients_of_films", ids=list(items["source_dicom_id"].unique()))
    return cost_of(workspace, list(items["findings"]), int(found["patients"].iloc[0]))


def duration(seconds: float) -> str:
    """A time in words: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def in_words(cost: Mapping[str, Any]) -> list[str]:
    """The cost as sentences for a page or a card."""
    if not cost["films"]:
        return ["No film would be made."]
    films, patients = cost["films"], cost["patients"]
    said = [f"{films:,} film{'' if films == 1 else 's'} from {patients:,} patient{'' if patients == 1 else 's'}."]
    shown = list(cost["by_kind"].items())
    more = f", and {len(shown) - 4} other kinds" if len(shown) > 4 else ""
    said.append("Edits: " + ", ".join(f"{n:,} × {kind}" for kind, n in shown[:4]) + more + ".")
    rate = cost["pass_rate"]
    if rate is None:
        said.append("How many will pass the gates is not known: this workspace has made no edit yet.")
    elif cost["films_to_try"] is None:
        said.append(f"None of {rate['n']:,} earlier edits of these kinds passed the gates.")
    else:
        said.append(
            f"About {rate['value']:.0%} should pass the gates ({rate['low']:.0%} to {rate['high']:.0%}, from "
            f"{rate['n']:,} earlier edits), so about {cost['films_to_try']:,} to try for {films:,} that pass."
        )
    where = "on the GPU" if cost["device"] == "gpu" else "on the CPU"
    said.append(f"About {duration(cost['seconds'])} {where} ({cost['basis']}).")
    return said
