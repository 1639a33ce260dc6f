"""Which gaps an edit can fill: train films on disk that are one or two edited findings away from a pattern.

An edit changes findings, never sex, age, view or race. Nor does it change what a report says, and nobody has written
one on an edited film, so a pattern with a concept is never reached. Sources are frontal train films that lie on disk,
of patients without any validation or test film. What an edit does to the labels, and on which films it can be made, is
in `cars.edits`, for the plan as well.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from .. import schema
from ..edits import NO_FINDING, POSITION, Change, allowed, changes_towards, edit_sets, labels_after
from .attributes import Attribute
from .rows import Pattern, PatternCounter, Rows, positions

COLUMNS = [schema.COLUMN_OF[f] for f in schema.FINDINGS]
#: Most findings that one edit changes here.
MOST_EDITS = 2


def edits_of(pattern: Pattern) -> list[Change]:
    """The single changes that could help a film match: (finding, insert or delete); empty where no edit can."""
    return [] if _names_concept(pattern) else changes_towards(pattern)


def _names_concept(pattern: Pattern) -> bool:
    return any(name.startswith(schema.CONCEPT) for name in pattern)


def sources(frame: pd.DataFrame) -> pd.DataFrame:
    """The films that may be edited, of a frame from `load_rows` with every split in it."""
    kept_out = frame.loc[frame["split"].isin(["validate", "test"]), "subject_id"].unique()
    usable = (
        (frame["split"] == "train") & frame["on_disk"].astype(bool) & (frame["origin"] == "real")
        & frame["view"].isin(schema.FRONTAL) & ~frame["subject_id"].isin(kept_out)
    )  # fmt: skip
    return frame[usable].reset_index(drop=True)


class Reach:
    """Answers "which source films reach this pattern by an edit" for many patterns; bitmaps are made once per edit."""

    def __init__(self, frame: pd.DataFrame, attributes: tuple[Attribute, ...]) -> None:
        """frame: as `load_rows` gives it, every split. attributes: those of the patterns."""
        self.films = sources(frame)
        self.attributes = attributes
        self._edits: dict[tuple[Change, ...], tuple[np.ndarray, dict[int, np.ndarray]]] = {}

    @cached_property
    def labels(self) -> np.ndarray:
        return self.films[COLUMNS].to_numpy(dtype=np.int8)

    @cached_property
    def items(self) -> Rows:
        return Rows(self.films, self.attributes)

    @cached_property
    def before(self) -> PatternCounter:
        return PatternCounter.of(self.items)

    def _edit(self, edit: tuple[Change, ...]) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """(bitmap of the films that the edit can be made on, item → bitmap of those that carry it afterwards, for the
        items that the edit may change)."""
        if edit not in self._edits:
            possible = allowed(self.labels, edit)
            after = labels_after(self.labels, edit)
            changed = np.zeros(len(schema.FINDINGS), dtype=bool)
            changed[(after != self.labels)[possible].any(axis=0)] = True
            changed[[NO_FINDING, *(POSITION[f] for f, _ in edit)]] = True
            codes = {
                n: (POSITION[a], schema.FINDING_CODES[v])
                for n, (a, v) in enumerate(self.items.items)
                if a in POSITION and changed[POSITION[a]]
            }
            bitmaps = self._packed(np.array([possible, *(after[:, at] == code for at, code in codes.values())]))
            self._edits[edit] = bitmaps[0], dict(zip(codes, bitmaps[1:], strict=True))
        return self._edits[edit]

    def _packed(self, rows: np.ndarray) -> np.ndarray:
        """(rows, films) bool → (rows, words) uint64, as PatternCounter packs them."""
        padded = np.zeros((len(rows), self.before.bitmaps.shape[1] * 64), dtype=bool)
        padded[:, : rows.shape[1]] = rows
        return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)

    def _after(self, edit: tuple[Change, ...], items: tuple[int, ...]) -> np.ndarray:
        """(words,) uint64: the films that carry every item once the edit is made."""
        possible, changed = self._edit(edit)
        result = possible.copy()
        for item in items:
            result &= changed[item] if item in changed else self.before.bitmaps[item]
        return result

    def _away(self, pattern: Pattern, most: int = MOST_EDITS) -> list[list[tuple[tuple[Change, ...], np.ndarray]]]:
        """For 1 to `most` edited findings: each edit with the films that need so many, and not fewer."""
        items = self.items.item_numbers(pattern)
        done = self.before.bitmap(items)
        found: list[list[tuple[tuple[Change, ...], np.ndarray]]] = [[] for _ in range(most)]
        if not done.any() and not self.before.bitmap([i for i in items if not self._is_finding(i)]).any():
            return found  # nobody has what an edit never changes
        edits = edit_sets(edits_of(pattern), most)
        for size, those in enumerate(found, start=1):
            those += [(edit, self._after(edit, items) & ~done) for edit in edits if len(edit) == size]
            for _, films in those:
                done = done | films
        return found

    def _is_finding(self, item: int) -> bool:
        return self.items.items[item][0] in POSITION

    def counts(self, pattern: Pattern) -> tuple[int, ...]:
        """(films one edited finding away, films two away); a film counts once, in the smallest number it needs."""
        found = []
        for those in self._away(pattern):
            films = np.bitwise_or.reduce([films for _, films in those]) if those else np.zeros(0, dtype=np.uint64)
            found.append(int(np.bitwise_count(films).sum(dtype=np.int64)))
        return tuple(found)

    def films_of(self, pattern: Pattern, most: int = MOST_EDITS) -> pd.DataFrame:
        """The films that are up to `most` edits away, each once, fewest edits first.

        Added columns: `edits` (how many findings change), `edit` (tuple of (finding, insert or delete)), and `finding`
        and `direction` of the first change.
        """
        taken = np.zeros(self.before.bitmaps.shape[1], dtype=np.uint64)
        found = []
        for size, those in enumerate(self._away(pattern, most), start=1):
            for edit, bitmap in those:
                films = self.films.iloc[positions(bitmap & ~taken)]
                taken |= bitmap
                found.append(
                    films.assign(edits=size, edit=[edit] * len(films), finding=edit[0][0], direction=edit[0][1])
                )
        if not found:
            return self.films.iloc[:0].assign(edits=0, edit=None, finding="", direction="")
        return pd.concat(found, ignore_index=True)
