"""What the pages show beside a gap: the table of gaps, the films that match one, and the films an edit could use."""

from __future__ import annotations

import json

import pandas as pd

from .. import schema
from ..errors import SettingError
from ..workspace import Workspace
from . import filters
from .attributes import attributes_of, check_pattern
from .concepts import check_concepts, related_findings
from .reach import Reach
from .rows import Pattern, load_rows
from .settings import SPLITS


def gap_table(workspace: Workspace) -> pd.DataFrame:
    """The table `gaps`, best ranked first (columns in docs/architecture.md). Raises: WorkspaceError before `gaps`."""
    workspace.need("gaps", "gaps")
    return workspace.query("coverage/gap_table")


def films_of_pattern(
    workspace: Workspace, pattern: Pattern, limit: int = 200, split: str | None = None, unit: str = "film"
) -> pd.DataFrame:
    """Real films that match a pattern, those on disk first; columns of the table `films`.

    Args:
        pattern: {attribute: value}, as the table `gaps` stores it; {} matches every film.
        split: only films of that split; None or "all": of every split.
        unit: "film": each one; "study" or "patient": one film (the first on disk) of each.

    Raises: SettingError for an unknown attribute, value, split or unit.
    """
    if split not in (None, "none", *SPLITS):
        raise SettingError(f"There is no split {split!r}.", f"The splits are: {', '.join(SPLITS)}.")
    key = {"film": "dicom_id", "study": "study_id", "patient": "subject_id"}.get(unit)
    if key is None:
        raise SettingError(f"There is no unit {unit!r}.", "The units are: patient, study, film.")
    workspace.need("films", "ingest ADAPTER SOURCE")
    checked = check_pattern(pattern)
    if any(name.startswith(schema.CONCEPT) for name in checked):
        return _films_with_concepts(workspace, checked, split, key, limit)
    stored = {a.column: str(a.code(checked[a.name])) for a in attributes_of(checked, "all")}
    films = workspace.query(
        "coverage/films_of_pattern",
        pattern=json.dumps(stored, ensure_ascii=False),
        split=None if split == "all" else split,
        # one film of each patient may lie anywhere among the films, so the limit applies afterwards
        limit=limit if unit == "film" else 2**31 - 1,
    )
    return films.drop_duplicates(key).head(limit).reset_index(drop=True)


def _films_with_concepts(
    workspace: Workspace, pattern: Pattern, split: str | None, key: str, limit: int
) -> pd.DataFrame:
    """`films_of_pattern` where reports have a say: concepts are columns of the frame, not of the table."""
    frame = load_rows(workspace, split or "all")
    kept = frame[filters.mask(frame, {name: (value,) for name, value in pattern.items()})]
    order = ["on_disk", "subject_id", "study_id", "dicom_id"]
    kept = kept.sort_values(order, ascending=[False, True, True, True]).drop_duplicates(key).head(limit)
    films = workspace.query("coverage/films_by_id", ids=kept["dicom_id"].tolist())
    return films.set_index("dicom_id", drop=False).loc[kept["dicom_id"]].reset_index(drop=True)


def nearest_source_films(workspace: Workspace, pattern: Pattern, limit: int = 200) -> pd.DataFrame:
    """Frontal train films on disk that one or two finding edits turn into the pattern, with that edit.

    Columns of `load_rows`, then edits, edit, finding and direction as `Reach.films_of` gives them. One edit comes
    before two, a film whose label says that the first finding is absent before one that does not mention it; within
    each, one film of each patient first. Empty when no edit makes a film match.

    Raises: SettingError for an unknown attribute or value.
    """
    checked = check_pattern(pattern)
    frame = load_rows(workspace, "all")
    races = sorted({*frame["race"].unique(), *([checked["race"]] if "race" in checked else [])})
    check_concepts(checked, related_findings(workspace))
    reach = Reach(frame, attributes_of(checked, "all", races))
    films = reach.films_of(checked)
    if not len(films):
        return films
    code = pd.Series(
        [row[column] for column, row in zip(films["finding"].map(_column), films.to_dict("records"), strict=True)],
        index=films.index,
    )
    films = films.assign(certainty=code.map({1: 0, 0: 0, -2: 1}))
    films = films.sort_values(["edits", "certainty", "patient", "dicom_id"])
    films["turn"] = films.groupby(["edits", "certainty", "patient"]).cumcount()
    films = films.sort_values(["edits", "certainty", "turn", "patient"]).head(limit)
    return films.drop(columns=["certainty", "turn", "patient", "study"]).reset_index(drop=True)


def _column(finding: str) -> str:
    from ..schema import COLUMN_OF

    return COLUMN_OF[finding]
