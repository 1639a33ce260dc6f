"""A filed plan as a person sees and changes it. Plans are never changed in place: a change files another plan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..errors import SettingError
from ..provenance import digest
from ..workspace import Workspace
from .cost import words

#: A seed lies below this.
MOST_SEED = 2**31


def plan_table(workspace: Workspace, plan_id: str) -> pd.DataFrame:
    """A plan's items: item, gap_id, pattern (JSON; null where the gaps were found anew since, or the plan measures the
    editor), edit (in words), source_dicom_id, view, sex, age, seed, findings (dict). Raises: WorkspaceError for an
    unknown plan."""
    items = workspace.records.plan_items(plan_id)
    films = workspace.query("synth/sources_of_plan", ids=list(items["source_dicom_id"].unique()))
    patterns = {}
    if workspace.has("gaps"):
        gaps = workspace.read("gaps", ["gap_id", "pattern"])
        patterns = dict(zip(gaps["gap_id"], gaps["pattern"], strict=True))
    table = items.merge(films, left_on="source_dicom_id", right_on="dicom_id", how="left")
    table["pattern"] = [patterns.get(gap) for gap in table["gap_id"]]
    table["edit"] = [words(findings) for findings in table["findings"]]
    return table[["item", "gap_id", "pattern", "edit", "source_dicom_id", "view", "sex", "age", "seed", "findings"]]


def revise(
    workspace: Workspace, plan_id: str, keep: Sequence[int] | None = None, seeds: Mapping[int, int] | None = None
) -> str:
    """File a plan that holds some items of another, some with other seeds. Returns its id; the old one's if it is the
    same.

    keep: the items (their numbers) that stay, default all. seeds: item → its new seed, an integer in [0, 2³¹).
    Raises: WorkspaceError for an unknown plan, SettingError for an unknown item, a seed out of range, or nothing left.
    """
    items = workspace.records.plan_items(plan_id)
    numbers = items["item"].tolist()
    keep, seeds = list(numbers if keep is None else keep), dict(seeds or {})
    unknown = sorted({*keep, *seeds} - set(numbers))
    if unknown:
        raise SettingError(f"The plan {plan_id} has no item {unknown[0]}.", f"Its items are 0 to {len(numbers) - 1}.")
    if not keep:
        raise SettingError("A plan of no film makes nothing.", "Keep at least one film.")
    for seed in seeds.values():
        if not 0 <= seed < MOST_SEED:
            raise SettingError(f"{seed} is no seed.", f"Use an integer from 0 to {MOST_SEED - 1:,}.")
    old = items[["gap_id", "source_dicom_id", "findings", "seed"]].to_dict("records")
    chosen = [{**old[n], "seed": int(seeds.get(k, old[n]["seed"]))} for n, k in enumerate(numbers) if k in set(keep)]
    if chosen == old:
        return plan_id
    plans = workspace.records.plans().set_index("plan_id")
    settings: dict[str, Any] = {**plans.at[plan_id, "settings"], "revised": plan_id}
    revised = digest("plan", json.dumps(settings, sort_keys=True), chosen, length=12)
    return str(workspace.records.add_plan(settings, chosen, revised))
