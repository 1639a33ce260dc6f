"""Feature space at each gap: are its test films near any train film, and how varied are its train films?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from ...progress import Progress
from ...workspace import Workspace
from ..rows import Pattern, PatternCounter, Rows, positions
from ..search import filtered
from .measure import Diversity, clustered
from .reference import Films

MATCH, ONE_AWAY, NONE = "match", "one attribute away", "none"
COLUMNS = {
    "gap_id": "str", "basis": "str", "n_films": "int64", "n_patients": "int64", "covered": "float64", "low": "float64",
    "high": "float64", "mean_distance": "float64", "uncovered": "int64", "covered_after": "float64",
    "low_after": "float64", "high_after": "float64", "train_films": "int64", "vendi": "float64",
    "vendi_random": "float64",
}  # fmt: skip


def gap_filter(workspace: Workspace) -> str:
    """The filter that the gaps were found under; "" for none."""
    path = workspace.path / "tables" / "gaps" / (workspace.version("gaps") or "") / "note.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["settings"].get("where", "")
    except (FileNotFoundError, KeyError):
        return ""


class Finder:
    """Which of these films match a pattern. frame: columns of `load_rows`."""

    def __init__(self, frame: pd.DataFrame, names: list[str], domain: pd.DataFrame) -> None:
        self.rows = Rows.of(frame, names or ["sex"], "all", domain)
        self.counter = PatternCounter.of(self.rows)

    def of(self, pattern: Pattern) -> np.ndarray:
        """The row numbers of those that match."""
        return positions(self.counter.bitmap(self.rows.item_numbers(pattern)))

    def near(self, pattern: Pattern) -> tuple[np.ndarray, str]:
        """Those that match, and MATCH; if there is none, those that meet all conditions but one, and ONE_AWAY."""
        matching = self.of(pattern)
        if len(matching):
            return matching, MATCH
        others = [self.of({n: v for n, v in pattern.items() if n != dropped}) for dropped in pattern]
        away = np.unique(np.concatenate(others)) if others else matching
        return away, ONE_AWAY if len(away) else NONE


def gap_table(
    workspace: Workspace, every: pd.DataFrame, test: Films, found: pd.DataFrame, train: Films, diversity: Diversity,
    progress: Progress,
) -> pd.DataFrame:  # fmt: skip
    """One row a gap of the table `gaps`, in its order; the columns are in docs/architecture.md.

    Args:
        every: all films as `load_rows` gives them. test: test films that have a vector; found: their rows of the table
        `space_films`. train: the reference.
    """
    gaps = workspace.query("coverage/gap_table")
    where = gap_filter(workspace)
    patterns: list[Pattern] = [json.loads(p) for p in gaps["pattern"]]
    names = sorted({name for pattern in patterns for name in pattern})
    inside = set(filtered(every, where)["dicom_id"]) if where else None
    sides = {}
    for side, films in (("test", test), ("train", train)):
        chosen = np.flatnonzero(films.frame["dicom_id"].isin(inside)) if inside is not None else np.arange(len(films))
        films = films.take(chosen)
        sides[side] = films, Finder(films.frame, names, every)
    test, finder = sides["test"]
    train, train_finder = sides["train"]
    table = found.set_index("dicom_id").loc[list(test.ids)]
    covered, distance = table["covered"].to_numpy(bool), table["distance"].to_numpy()
    after, patients = table["covered_after"].to_numpy(bool), test.patients
    measured_after = bool(len(table)) and bool(table["nearest_synthetic"].notna().all())
    rows = []
    for n, (gap_id, pattern) in enumerate(zip(gaps["gap_id"], patterns, strict=True)):
        if not n % 32:
            progress(n, len(gaps), "looking at the gaps")
        films, basis = finder.near(pattern)
        own = train_finder.of(pattern)
        share = clustered(covered[films], patients[films])
        then = clustered(after[films], patients[films]) if measured_after else {}
        rows.append(
            {
                "gap_id": gap_id, "basis": basis, "n_films": len(films), "n_patients": share["n_patients"],
                "covered": share["value"], "low": share["low"], "high": share["high"],
                "mean_distance": float(distance[films].mean()) if len(films) else np.nan,
                "uncovered": int((~covered[films]).sum()), "covered_after": then.get("value", np.nan),
                "low_after": then.get("low", np.nan), "high_after": then.get("high", np.nan),
                "train_films": len(own), "vendi": diversity.of(train.take(own))["1"],
                "vendi_random": diversity.random(len(own))["1"],
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def summary_of(table: pd.DataFrame) -> dict[str, Any]:
    """How many gaps have test films of their own, only test films one attribute away, or neither."""
    return {
        "gaps": len(table),
        "matched": int((table["basis"] == MATCH).sum()),
        "one_away": int((table["basis"] == ONE_AWAY).sum()),
        "undefined": int((table["basis"] == NONE).sum()),
    }
