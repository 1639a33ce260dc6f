"""Which gaps an edit can fill: train films on disk that are one edited finding away from a pattern.

An edit changes findings, never sex, age, view or race. Sources are frontal train films that lie on disk, of patients
without any validation or test film.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from .. import schema
from .attributes import Attribute
from .rows import Pattern, PatternCounter, Rows, positions

DIRECTIONS = {"present": "insert", "absent": "delete"}
COLUMNS = [schema.COLUMN_OF[f] for f in schema.FINDINGS]
POSITION = {finding: n for n, finding in enumerate(schema.FINDINGS)}
DISEASES = [POSITION[f] for f in schema.FINDINGS if f != "No Finding" and f not in schema.ALLOWED_WITH_NO_FINDING]


def edits_of(pattern: Pattern) -> list[tuple[str, str]]:
    """The single edits that could make a film match: (finding, insert or delete) for each editable condition."""
    return [(f, DIRECTIONS[pattern[f]]) for f in schema.EDITABLE if pattern.get(f) in DIRECTIONS]


def labels_after(labels: np.ndarray, finding: str, direction: str) -> np.ndarray:
    """`schema.after_edit` for many films at once. labels: (films, 14) int8 in file order; returns a new array."""
    result = labels.copy()
    at = POSITION[finding]
    parents = [p for p, children in schema.HIERARCHY.items() if finding in children]
    if direction == "insert":
        result[:, at] = schema.PRESENT
        result[:, [POSITION[p] for p in parents]] = schema.PRESENT
        if finding not in (*schema.ALLOWED_WITH_NO_FINDING, "No Finding"):
            result[:, POSITION["No Finding"]] = schema.NOT_MENTIONED
        return result
    result[:, at] = schema.ABSENT
    result[:, [POSITION[c] for c in schema.HIERARCHY.get(finding, ())]] = schema.ABSENT
    for parent in parents:
        children = [POSITION[c] for c in schema.HIERARCHY[parent]]
        orphan = ~(result[:, children] == schema.PRESENT).any(axis=1) & (result[:, POSITION[parent]] == schema.PRESENT)
        result[orphan, POSITION[parent]] = schema.ABSENT
    left = np.isin(result[:, DISEASES], (schema.PRESENT, schema.UNCERTAIN)).any(axis=1)
    result[~left, POSITION["No Finding"]] = schema.PRESENT
    return result


def sources(frame: pd.DataFrame) -> pd.DataFrame:
    """The films that may be edited, of a frame from `load_rows` with every split in it."""
    kept_out = frame.loc[frame["split"].isin(["validate", "test"]), "subject_id"].unique()
    usable = (
        (frame["split"] == "train") & frame["on_disk"].astype(bool) & (frame["origin"] == "real")
        & frame["view"].isin(schema.FRONTAL) & ~frame["subject_id"].isin(kept_out)
    )  # fmt: skip
    return frame[usable].reset_index(drop=True)


class Reach:
    """Answers "which source films reach this pattern by one edit" for many patterns; bitmaps are made once per edit."""

    def __init__(self, frame: pd.DataFrame, attributes: tuple[Attribute, ...]) -> None:
        """frame: as `load_rows` gives it, every split. attributes: those of the patterns."""
        self.films = sources(frame)
        self.attributes = attributes
        self._edits: dict[tuple[str, str], tuple[np.ndarray, PatternCounter]] = {}

    @cached_property
    def labels(self) -> np.ndarray:
        return self.films[COLUMNS].to_numpy(dtype=np.int8)

    @cached_property
    def items(self) -> Rows:
        return Rows(self.films, self.attributes)

    def _edit(self, finding: str, direction: str) -> tuple[np.ndarray, PatternCounter]:
        """(positions of the films this edit changes, counter over their items after the edit)."""
        key = (finding, direction)
        if key not in self._edits:
            # inserting needs a film without it; deleting needs one that surely has it
            present = self.labels[:, POSITION[finding]] == schema.PRESENT
            where = np.flatnonzero(~present if direction == "insert" else present)
            after = self.films.iloc[where].reset_index(drop=True)
            edited = labels_after(self.labels[where], finding, direction)
            after = after.assign(**{c: edited[:, n] for n, c in enumerate(COLUMNS)})
            self._edits[key] = where, PatternCounter.of(Rows(after, self.attributes))
        return self._edits[key]

    def count(self, pattern: Pattern) -> int:
        """How many films are one edit away. The edits of one pattern reach different films, so their numbers add up."""
        items = self.items.item_numbers(pattern)
        mask = sum(1 << i for i in items)
        return sum(self._edit(*edit)[1].film_count(mask) for edit in edits_of(pattern))

    def films_of(self, pattern: Pattern) -> pd.DataFrame:
        """The films that are one edit away, with `finding` and `direction` of that edit."""
        items = self.items.item_numbers(pattern)
        found = []
        for finding, direction in edits_of(pattern):
            where, counter = self._edit(finding, direction)
            films = self.films.iloc[where[positions(counter.bitmap(items))]]
            found.append(films.assign(finding=finding, direction=direction))
        if not found:
            return self.films.iloc[:0].assign(finding="", direction="")
        return pd.concat(found, ignore_index=True)
