"""The films as small integers, so that a view of 377,110 of them is counted again within a click."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from .. import schema
from ..errors import SettingError
from ..workspace import Workspace
from .attributes import attribute_names
from .concepts import check_concepts, concepts_in
from .rows import PatternCounter, distinct, load_rows

#: The order in which a group's values are listed; others follow by name, unknown last.
ORDER: dict[str, tuple[str, ...]] = {
    "sex": schema.SEXES,
    "age_band": (*schema.AGE_BANDS, "unknown"),
    "view": schema.VIEWS,
    "split": schema.SPLITS,
}
GROUPS: tuple[str, ...] = ("view", "sex", "age_band", "race", "split")
#: Code → word of a concept's column, ascending.
CONCEPT_WORDS = dict(sorted({schema.NO_REPORT: "no report", **schema.FINDING_VALUES}.items()))


@dataclass(frozen=True)
class FilmCodes:
    """One row a film, sorted by patient and study.

    dicom_id: (films,) str. on_disk, synthetic: (films,) bool. patient, study: (films,) int32, each one's films side by
    side. findings: (films, 14) int8 as the films table stores them, in schema.FINDINGS' order. words: group →
    its values in order; concepts (“concept:NAME”) are groups, too. groups: group → (films,) int16, which of them.
    """

    dicom_id: np.ndarray
    on_disk: np.ndarray
    synthetic: np.ndarray
    patient: np.ndarray
    study: np.ndarray
    findings: np.ndarray
    words: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> FilmCodes:
        """The films of a frame that `load_rows` gave."""
        words, groups = {}, {}
        for name in GROUPS:
            codes, values = pd.factorize(frame[name].fillna("unknown" if name != "split" else "none"))
            known = ORDER.get(name, ())
            others = sorted(str(v) for v in values if v not in known and v != "unknown")
            ordered = [v for v in (*known, *others, "unknown") if v in set(values)]
            ordered = list(dict.fromkeys(ordered))
            place = np.array([ordered.index(v) for v in values], dtype=np.int16)
            words[name] = tuple(ordered)
            groups[name] = place[codes] if len(values) else np.zeros(0, dtype=np.int16)
        for name in concepts_in(frame):
            codes = frame[schema.concept_column(name)].to_numpy()
            words[schema.CONCEPT + name] = tuple(CONCEPT_WORDS.values())
            groups[schema.CONCEPT + name] = np.searchsorted(list(CONCEPT_WORDS), codes).astype(np.int16)
        findings = np.empty((len(frame), len(schema.FINDINGS)), dtype=np.int8, order="F")
        for k, column in enumerate(schema.COLUMN_OF.values()):
            findings[:, k] = frame[column].to_numpy()
        return cls(
            frame["dicom_id"].to_numpy(), frame["on_disk"].to_numpy(dtype=bool),
            (frame["origin"] != "real").to_numpy(dtype=bool), frame["patient"].to_numpy(dtype=np.int32),
            frame["study"].to_numpy(dtype=np.int32), findings, words, groups,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.patient)

    def mask(self, conditions: Mapping[str, tuple[str, ...]]) -> np.ndarray:
        """(films,) bool: which films meet every condition (attribute → the values that are allowed).

        Raises: SettingError for an unknown attribute.
        """
        check_concepts(conditions, (name.removeprefix(schema.CONCEPT) for name in self.groups if name not in GROUPS))
        kept = np.ones(len(self), dtype=bool)
        for name, values in conditions.items():
            if name in self.groups:
                allowed = [self.words[name].index(v) for v in values if v in self.words[name]]
                kept &= _any_of(self.groups[name], allowed)
            else:
                (finding,) = attribute_names([name])
                codes = [schema.FINDING_CODES[v] for v in values]
                kept &= _any_of(self.findings[:, schema.FINDINGS.index(finding)], codes)
        return kept

    def where(self, conditions: Mapping[str, tuple[str, ...]], split: str = "all") -> FilmCodes:
        """Only the films that meet the conditions and belong to the split. Raises: SettingError as `mask` does."""
        if split != "all":
            conditions = {**conditions, "split": (split,)}
        return self.take(self.mask(conditions)) if conditions else self

    def take(self, kept: np.ndarray) -> FilmCodes:
        """Only these films: (films,) bool, or positions in ascending order."""
        arrays = {
            name: getattr(self, name)[kept]
            for name in ("dicom_id", "on_disk", "synthetic", "patient", "study", "findings")
        }
        return replace(self, **arrays, groups={name: codes[kept] for name, codes in self.groups.items()})

    def unit_of(self, unit: str) -> np.ndarray:
        """(films,) int: which patient, study or film each row belongs to, side by side. Raises: SettingError."""
        if unit == "film":
            return np.arange(len(self), dtype=np.int32)
        if unit not in ("patient", "study"):
            raise SettingError(f"There is no unit {unit!r}.", "The units are: patient, study, film.")
        return self.patient if unit == "patient" else self.study

    def units(self, unit: str) -> int:
        """How many different patients, studies or films there are."""
        return distinct(self.unit_of(unit))

    @cached_property
    def present(self) -> np.ndarray:
        """(films, 14) bool: which findings each film shows."""
        return self.findings == schema.PRESENT

    @cached_property
    def counter(self) -> PatternCounter:
        """Bitmaps of the 14 findings that are present."""
        return PatternCounter(self.present, self.patient, self.study)

    def ids(self, kept: np.ndarray, limit: int = 200) -> tuple[list[str], int]:
        """The ids of up to `limit` real films of a (films,) bool mask, those on disk first, and how many there are."""
        found = np.flatnonzero(kept & ~self.synthetic)
        first = found[np.argsort(~self.on_disk[found], kind="stable")][:limit]
        return [str(i) for i in self.dicom_id[first]], len(found)


def _any_of(codes: np.ndarray, allowed: Sequence[int]) -> np.ndarray:
    """Which codes are among a few; a tenth of the time of `numpy.isin`, which a click on the map asks for 40 times."""
    found = np.zeros(len(codes), dtype=bool)
    for one in allowed:
        found |= codes == one
    return found


def film_codes(workspace: Workspace, include_synthetic: bool = False) -> FilmCodes:
    """Every film of a workspace, and the accepted synthetic ones when asked. Raises: WorkspaceError before `ingest`."""
    return FilmCodes.of(load_rows(workspace, "all", include_synthetic))
