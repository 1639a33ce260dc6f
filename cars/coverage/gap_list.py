"""The gaps as a page lists them: sorted by any weights and narrowed by conditions, at 100,000 gaps within a click."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from .. import schema
from ..workspace import Workspace
from .browse import gap_table
from .codes import ORDER
from .error import ModelError, model_error
from .rank import RankSettings, score_parts, scores

Item = tuple[str, str]


@dataclass(frozen=True)
class Narrowing:
    """Which gaps are listed. Empty conditions leave out nothing.

    verdicts: only these. items: only gaps with all of these (attribute, value). where: the filter; gaps that it rules
    out are hidden. related: only gaps that contain this pattern, or lie within it.
    """

    verdicts: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    related: tuple[Item, ...] = ()


@dataclass(frozen=True)
class GapList:
    """Rows of `gaps`, ties in order (level, then pattern); parts of their scores; the model's error around each."""

    table: pd.DataFrame
    parts: pd.DataFrame
    error: ModelError

    @classmethod
    def of(cls, workspace: Workspace) -> GapList:
        """From the tables `gaps` and, where there is a run, `predictions`. Raises: WorkspaceError before `gaps`."""
        table = gap_table(workspace).sort_values(["level", "pattern"], ignore_index=True)
        error = model_error(workspace, table)
        return cls(table, score_parts(table, error.error), error)

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def patterns(self) -> list[dict[str, str]]:
        return [json.loads(text) for text in self.table["pattern"]]

    @cached_property
    def members(self) -> dict[Item, np.ndarray]:
        """(attribute, value) → (gaps,) bool: which gaps have that condition; demographics first, then findings."""
        found: dict[Item, list[int]] = {}
        for n, pattern in enumerate(self.patterns):
            for item in pattern.items():
                found.setdefault(item, []).append(n)
        result = {}
        for item in sorted(found, key=_place):
            result[item] = np.zeros(len(self), dtype=bool)
            result[item][found[item]] = True
        return result

    @cached_property
    def _impossible(self) -> np.ndarray:
        return (self.table["verdict"] == "impossible").to_numpy()

    def order(self, weights: RankSettings) -> tuple[np.ndarray, np.ndarray]:
        """(gaps,) int, the rows best first with the impossible last, and the score of every row (as in `table`)."""
        score = np.round(scores(self.parts, weights), 12)
        return np.lexsort((-score, self._impossible)), score

    def kept(self, narrowing: Narrowing) -> np.ndarray:
        """(gaps,) bool."""
        kept = np.ones(len(self), dtype=bool)
        none = np.zeros(len(self), dtype=bool)
        if narrowing.verdicts:
            kept &= self.table["verdict"].isin(narrowing.verdicts).to_numpy()
        for item in narrowing.items:
            kept &= self.members.get(item, none)
        for name, values in narrowing.where:
            of_name = {value: member for (n, value), member in self.members.items() if n == name}
            named = np.logical_or.reduce([none, *of_name.values()])
            kept &= ~named | np.logical_or.reduce([none, *(of_name[v] for v in values if v in of_name)])
        if narrowing.related:
            contains = np.logical_and.reduce([self.members.get(item, none) for item in narrowing.related])
            shared = sum(self.members[item].astype(np.int64) for item in narrowing.related if item in self.members)
            within = (shared == self.table["level"].to_numpy()) & (self.table["level"].to_numpy() > 0)
            kept &= contains | within
        return kept

    def listed(self, weights: RankSettings, narrowing: Narrowing, most: int) -> tuple[pd.DataFrame, int]:
        """(the first `most` of the gaps that are left, with score, rank among all gaps and row; how many are left)."""
        order, score = self.order(weights)
        kept = self.kept(narrowing)[order]
        rows = order[kept][:most]
        found = self.table.iloc[rows].assign(score=score[rows], rank=np.flatnonzero(kept)[:most] + 1, row=rows)
        return found.reset_index(drop=True), int(kept.sum())

    def row_of(self, gap_id: str) -> int | None:
        """Where a gap stands in `table`; None for one that is not there."""
        found = np.flatnonzero((self.table["gap_id"] == gap_id).to_numpy())
        return int(found[0]) if len(found) else None

    def rank_of(self, row: int, weights: RankSettings) -> int:
        """A row's place under these weights, from 1."""
        return int(np.flatnonzero(self.order(weights)[0] == row)[0]) + 1


def items_of_pattern(pattern: Mapping[str, str]) -> tuple[Item, ...]:
    return tuple(pattern.items())


def conditions_of(where: Mapping[str, Sequence[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A filter as Narrowing holds it."""
    return tuple((name, tuple(values)) for name, values in where.items())


def _place(item: Item) -> tuple[int, str, int, str]:
    """Where a condition stands in a list of them."""
    name, value = item
    names = ["view", "sex", "age_band", "race", *schema.FINDINGS]
    values = ORDER.get(name, tuple(schema.FINDING_CODES))
    # what reports say comes last, by name
    place = names.index(name) if name in names else len(names)
    return place, name, values.index(value) if value in values else len(values), value
