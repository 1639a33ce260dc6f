"""Two sides against each other: two workspaces, or one with and without its synthetic films."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from .. import schema
from ..workspace import Workspace
from .codes import FilmCodes
from .rows import Pattern, PatternCounter, Rows, pattern_text, rows_of
from .rules import rules_of, why_impossible
from .search import search_rows, threshold_of, why_stopped
from .sentences import describe
from .settings import GapsSettings
from .tway import tway
from .views import wilson

#: One side: the workspace and whether its accepted synthetic films count.
Side = tuple[Workspace, bool]
OPENED, CLOSED, BOTH = "only in the second", "only in the first", "in both"
GAP_COLUMNS = {
    "pattern": "str",
    "gap": "str",
    "level": "int64",
    "state": "str",
    "first": "int64",
    "second": "int64",
    "threshold_first": "int64",
    "threshold_second": "int64",
}


def gap_changes(first: Side, second: Side, settings: GapsSettings) -> tuple[pd.DataFrame, str]:
    """The gaps of either side under the same settings, and which side has them.

    A gap of one side that the other does not list may still be uncovered there, below a smaller gap; so each pattern is
    counted on both sides, and its state follows from the counts: only in the first (closed by going to the second),
    only in the second (opened), or in both.

    Returns: the table with pattern (JSON), gap (words), level, state, first and second (units that match),
    threshold_first and threshold_second (τ, different where it is a share), those with
    the largest difference first; and, where a search stopped early, what stopped it.

    Raises: SettingError for wrong settings, WorkspaceError before `ingest`.
    """
    sides = [_Side(side, settings) for side in (first, second)]
    patterns: dict[str, Pattern] = {}
    for side in sides:
        patterns |= side.found
    records = []
    for text, pattern in patterns.items():
        counts = [side.count(pattern) for side in sides]
        open_first, open_second = (n < side.threshold for n, side in zip(counts, sides, strict=True))
        state = BOTH if open_first and open_second else CLOSED if open_first else OPENED
        records.append((text, describe(pattern), len(pattern), state, *counts, *(s.threshold for s in sides)))
    table = pd.DataFrame(records, columns=list(GAP_COLUMNS)).astype(GAP_COLUMNS)
    far = (table["first"] - table["second"]).abs()
    order = far.sort_values(ascending=False, kind="stable").index
    stopped = "; ".join(dict.fromkeys(side.stopped for side in sides if side.stopped))
    return table.loc[order].reset_index(drop=True), stopped


class _Side:
    """One side's search: its gaps that no rule forbids, and a count for any pattern."""

    def __init__(self, side: Side, settings: GapsSettings) -> None:
        workspace, synthetic = side
        asked = dataclasses.replace(settings, include_synthetic=synthetic)
        self.rows: Rows = rows_of(workspace, asked)
        self.unit = settings.unit
        self.threshold = threshold_of(asked, self.rows.bags(settings.unit).total)
        search = search_rows(self.rows, dataclasses.replace(asked, threshold=self.threshold))
        rules = rules_of(workspace)
        kept = (self.rows.pattern(items) for items in search.mups)
        self.found = {pattern_text(p): p for p in kept if why_impossible(p, rules) is None}
        self.stopped = why_stopped(search, asked)
        self.counter = PatternCounter.of(self.rows)

    def count(self, pattern: Pattern) -> int:
        """Units that match; 0 for a value that this side does not know, as a race that it does not name."""
        if not set(pattern.items()) <= self.rows.number.keys():
            return 0
        return self.counter.counts(self.rows.item_numbers(pattern))[("patient", "study", "film").index(self.unit)]


def value_counts(films: FilmCodes, unit: str = "patient") -> pd.DataFrame:
    """attribute, value, count, n, share, low, high: each group's values and each finding's presence among all units.

    A unit counts for every value that one of its films has, so the shares of an attribute may add up to more than 1.
    """
    unit_of, n = films.unit_of(unit), films.units(unit)
    records = []
    for name in ("view", "sex", "age_band", "race"):
        for k, word in enumerate(films.words[name]):
            members = unit_of[films.groups[name] == k]
            records.append((name, word, int(np.count_nonzero(np.diff(members))) + 1 if len(members) else 0))
    for k, finding in enumerate(schema.FINDINGS):
        members = unit_of[films.present[:, k]]
        records.append((finding, "present", int(np.count_nonzero(np.diff(members))) + 1 if len(members) else 0))
    table = pd.DataFrame(records, columns=["attribute", "value", "count"])
    table["n"] = n
    table["share"] = table["count"] / n if n else np.nan
    table["low"], table["high"] = wilson(table["count"].to_numpy(), table["n"].to_numpy())
    return table


def count_changes(first: FilmCodes, second: FilmCodes, unit: str = "patient") -> pd.DataFrame:
    """`value_counts` of both sides: attribute, value, and count, n, share, low, high with _first and _second.

    A value that one side does not have counts 0 there.
    """
    sides = [value_counts(films, unit) for films in (first, second)]
    both = sides[0].merge(sides[1], on=["attribute", "value"], how="outer", suffixes=("_first", "_second"), sort=False)
    for side, table in zip(("first", "second"), sides, strict=True):
        missing = both[f"n_{side}"].isna()
        both[f"n_{side}"] = table["n"].iloc[0]
        both[f"count_{side}"] = both[f"count_{side}"].fillna(0).astype("int64")
        n = both.loc[missing, f"n_{side}"].to_numpy()
        both.loc[missing, f"share_{side}"] = 0.0 if table["n"].iloc[0] else np.nan
        low, high = wilson(np.zeros(len(n)), n)
        both.loc[missing, f"low_{side}"], both.loc[missing, f"high_{side}"] = low, high
    return both


def tway_changes(first: Side, second: Side, settings: GapsSettings, names: tuple[str, str]) -> pd.DataFrame:
    """`tway` of the settings' split on both sides, with the column side (the names)."""
    tables = []
    for (workspace, synthetic), name in zip((first, second), names, strict=True):
        table = tway(workspace, dataclasses.replace(settings, include_synthetic=synthetic))
        tables.append(table[table["split"] == settings.split].assign(side=name))
    return pd.concat(tables, ignore_index=True)
