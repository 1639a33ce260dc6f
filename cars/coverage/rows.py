"""The films of a workspace as the search sees them: who each row belongs to, and which items it carries.

Reading 377,110 films takes about a second, and packing them into bit masks another, so the last few tables and packed
rows stay in memory, each under a key of what it was made from: a search with another τ starts at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd

from .. import schema
from ..errors import SettingError
from ..provenance import digest
from ..workspace import Workspace
from . import filters
from .attributes import Attribute, attribute_names, attributes_of
from .concepts import check_concepts, related_findings, with_concepts
from .mups import Bags, make_bags, pack
from .settings import GapsSettings

Pattern = dict[str, str]
#: Tables that the rows are made from.
INPUTS = ("films", "concepts", "edits")
#: How many tables of films, selections of them, and packed selections stay in memory.
FRAMES_KEPT, SELECTIONS_KEPT, ROWS_KEPT = 2, 5, 10


def pattern_text(pattern: Pattern) -> str:
    """A pattern as the table `gaps` stores it: JSON, keys sorted."""
    return json.dumps(pattern, sort_keys=True, ensure_ascii=False)


def gap_id(pattern: Pattern, where: str = "") -> str:
    """The id of a gap: a hash of its pattern and of the filter, so it stays the same from one run to the next."""
    return digest(pattern, where) if where else digest(pattern)


def load_rows(workspace: Workspace, split: str = "all", include_synthetic: bool = False) -> pd.DataFrame:
    """One row a film, sorted by patient and study: ids, split, on_disk, origin, view, sex, age_band, race, 14 findings.
    After `cars concepts` also one column for each concept.

    Args:
        split: train, validate, test, none, or all.
        include_synthetic: add the accepted edits, each under its source's patient and study.

    Raises: WorkspaceError when no films were ingested.
    """
    workspace.need("films", "ingest ADAPTER SOURCE")
    made = include_synthetic and workspace.has("edits")
    frame = _frame(str(workspace.path), _stamp(workspace, made), made)
    # a shallow copy: pandas copies a column on the first write, so no caller changes what the next one reads
    return in_split(frame, split).copy(deep=False)


def in_split(frame: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of one split, or all."""
    return frame if split == "all" else frame[frame["split"] == split].reset_index(drop=True)


def _stamp(workspace: Workspace, made: bool) -> str:
    """What the rows would be read from now; another value means that they must be read again."""
    parts = [
        (str(part), part.stat().st_size, part.stat().st_mtime_ns)
        for table in (INPUTS if made else INPUTS[:2])
        for part in workspace.parts(table)
    ]
    return digest(parts, workspace.records.latest_decisions().to_dict("records") if made else [])


@lru_cache(maxsize=FRAMES_KEPT)
def _frame(path: str, stamp: str, made: bool) -> pd.DataFrame:
    """Every film of a workspace, with the accepted edits if `made`. stamp: only the key of the memory."""
    workspace = Workspace(path)
    with workspace.connect() as connection:
        frame = workspace.query("coverage/rows", connection, split="all")
        if made:
            edits = workspace.query("coverage/synthetic_rows", connection, split="all")
            if len(edits):
                frame = pd.concat([frame, edits], ignore_index=True)
        frame = with_concepts(frame, workspace, connection)
    # "study" and "patient" as numbers: comparing 377,110 strings once is enough
    frame["patient"] = pd.factorize(frame["subject_id"])[0]
    frame["study"] = pd.factorize(frame["study_id"])[0]
    return frame.sort_values(["patient", "study", "dicom_id"], ignore_index=True)


@dataclass(frozen=True)
class Rows:
    """Films as sets of items.

    frame: as `load_rows` gives it. attributes: the searched ones. Items are numbered attribute by attribute.
    """

    frame: pd.DataFrame
    attributes: tuple[Attribute, ...]

    @classmethod
    def of(
        cls, frame: pd.DataFrame, names: Iterable[str], values: str = "present", domain: pd.DataFrame | None = None
    ) -> Rows:
        """The rows of a frame. `domain`: the frame whose race groups are searched for, by default the same one."""
        races = (frame if domain is None else domain)["race"].unique()
        return cls(frame, attributes_of(names, values, races))

    @cached_property
    def items(self) -> list[tuple[str, str]]:
        """Item number → (attribute, value)."""
        return [(a.name, value) for a in self.attributes for value in a.values]

    @cached_property
    def number(self) -> dict[tuple[str, str], int]:
        """(attribute, value) → item number."""
        return {item: n for n, item in enumerate(self.items)}

    @cached_property
    def attribute_of_item(self) -> np.ndarray:
        """(items,) int: which attribute each item belongs to."""
        return np.repeat(np.arange(len(self.attributes)), [len(a.values) for a in self.attributes])

    @cached_property
    def member(self) -> np.ndarray:
        """(films, items) bool: which items each film carries."""
        member = np.zeros((len(self.frame), len(self.items)), dtype=bool, order="F")
        n = 0
        for a in self.attributes:
            values = self.frame[a.column].to_numpy()
            if not a.is_coded:
                values = pd.Index(a.values, dtype="str").get_indexer(pd.Index(values))
            for k, value in enumerate(a.values):
                member[:, n] = values == (a.code(value) if a.is_coded else k)
                n += 1
        return member

    @cached_property
    def _bags(self) -> dict[str, Bags]:
        return {}

    def bags(self, unit: str) -> Bags:
        """The rows grouped by patient, study or film, ready for `find_mups`; remembered."""
        if unit not in self._bags:
            units = None if unit == "film" else self.frame[unit].to_numpy()
            self._bags[unit] = make_bags(pack(self.member), units, len(self.items))
        return self._bags[unit]

    def pattern(self, items: Iterable[int]) -> Pattern:
        """Item numbers as {attribute: value}, keys sorted."""
        return dict(sorted(self.items[i] for i in items))

    def item_numbers(self, pattern: Pattern) -> tuple[int, ...]:
        """The pattern's items, ascending."""
        return tuple(sorted(self.number[item] for item in pattern.items()))


def rows_of(workspace: Workspace, settings: GapsSettings, split: str | None = None) -> Rows:
    """The films that a search with these settings counts, packed; remembered, so treat the result as read only.

    Args:
        split: another split than the settings'.

    Raises: SettingError for a wrong attribute or filter, or when the filter leaves no attribute to search;
        WorkspaceError before `ingest`.
    """
    workspace.need("films", "ingest ADAPTER SOURCE")
    made = settings.include_synthetic and workspace.has("edits")
    names, conditions = names_of(workspace, settings.attributes), filters.parse(settings.where)
    return _rows(
        str(workspace.path), _stamp(workspace, made), made, split or settings.split, names, settings.values,
        tuple(conditions.items()),
    )  # fmt: skip


def names_of(workspace: Workspace, attributes: str) -> tuple[str, ...]:
    """`attribute_names` with the concepts of the workspace. Raises: SettingError, also for one that it lacks."""
    known = tuple(related_findings(workspace))
    names = attribute_names(attributes, known or schema.CONCEPTS)
    check_concepts(names, known)
    return names


@lru_cache(maxsize=ROWS_KEPT)
def _rows(
    path: str, stamp: str, made: bool, split: str, names: tuple[str, ...], values: str,
    conditions: tuple[tuple[str, tuple[str, ...]], ...],
) -> Rows:  # fmt: skip
    races = _frame(path, stamp, made)["race"].unique()
    attributes = narrowed(attributes_of(names, values, races), dict(conditions))
    return Rows(_selection(path, stamp, made, split, conditions), attributes)


@lru_cache(maxsize=SELECTIONS_KEPT)
def _selection(
    path: str, stamp: str, made: bool, split: str, conditions: tuple[tuple[str, tuple[str, ...]], ...]
) -> pd.DataFrame:
    kept = in_split(_frame(path, stamp, made), split)
    return kept[filters.mask(kept, dict(conditions))].reset_index(drop=True) if conditions else kept


def narrowed(attributes: tuple[Attribute, ...], conditions: Mapping[str, tuple[str, ...]]) -> tuple[Attribute, ...]:
    """The attributes without the values that a filter excludes: no film can have them, so they are no gap.

    Raises: SettingError when none is left.
    """
    kept = [replace(a, values=tuple(v for v in a.values if v in conditions.get(a.name, a.values))) for a in attributes]
    kept = [a for a in kept if a.values]
    if not kept:
        raise SettingError("The filter leaves no attribute to search.", "Name more attributes, or filter on others.")
    return tuple(kept)


class PatternCounter:
    """Films, studies and patients that match any pattern, by bitmaps over the films."""

    def __init__(self, member: np.ndarray, patient: np.ndarray, study: np.ndarray) -> None:
        """member: (films, items) bool; patient and study: (films,) ints, films sorted by both."""
        films = len(member)
        padded = np.zeros((member.shape[1], -(-max(films, 1) // 64) * 64), dtype=bool)
        padded[:, :films] = member.T
        self.films = films
        self.bitmaps = np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
        self.patient, self.study = patient, study
        self._films: dict[int, int] = {0: films}

    @classmethod
    def of(cls, rows: Rows, member: np.ndarray | None = None) -> PatternCounter:
        """Over the films of `rows`."""
        frame = rows.frame
        return cls(rows.member if member is None else member, frame["patient"].to_numpy(), frame["study"].to_numpy())

    def bitmap(self, items: Iterable[int]) -> np.ndarray:
        """(words,) uint64: the films that carry every item."""
        chosen = list(items)
        if not chosen:
            full = np.zeros(self.bitmaps.shape[1] * 64, dtype=bool)
            full[: self.films] = True
            return np.packbits(full, bitorder="little").view(np.uint64)
        return np.bitwise_and.reduce(self.bitmaps[chosen], axis=0)

    def film_count(self, mask: int) -> int:
        """How many films carry every item of a mask (a Python int); remembered."""
        if mask not in self._films:
            items = [i for i in range(mask.bit_length()) if mask >> i & 1]
            self._films[mask] = int(np.bitwise_count(self.bitmap(items)).sum(dtype=np.int64))
        return self._films[mask]

    def counts(self, items: Iterable[int]) -> tuple[int, int, int]:
        """(patients, studies, films) that match."""
        films = positions(self.bitmap(items))
        return distinct(self.patient[films]), distinct(self.study[films]), len(films)


def positions(bitmap: np.ndarray) -> np.ndarray:
    """The set bits of a (words,) uint64 bitmap, ascending; only words that are not zero are unpacked."""
    words = np.flatnonzero(bitmap)
    bits = np.unpackbits(bitmap[words].view(np.uint8).reshape(len(words), 8), axis=1, bitorder="little")
    word, bit = np.nonzero(bits)
    return words[word] * 64 + bit


def distinct(ascending: np.ndarray) -> int:
    """How many different values a sorted array holds."""
    return int(np.count_nonzero(np.diff(ascending))) + 1 if len(ascending) else 0
