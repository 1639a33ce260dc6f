"""Concepts read from reports (`cars concepts`) as attributes of films.

A concept belongs to a study, like a label. A study without a report has none, and a film that was edited keeps those of
its source's report, except where the edit touched what they speak of; both are `schema.NO_REPORT` and form no pattern.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import pandas as pd

from .. import schema
from ..errors import SettingError
from ..workspace import Workspace


def related_findings(workspace: Workspace) -> dict[str, tuple[str, ...]]:
    """The concepts of the published table, in its order, each with its related findings; {} where there is none."""
    if not workspace.has("concepts"):
        return {}
    path = workspace.path / "tables" / "concepts" / str(workspace.version("concepts")) / "note.json"
    about = json.loads(path.read_text(encoding="utf-8"))["concepts"]
    return {name: tuple(body["findings"]) for name, body in about.items()}


def check_concepts(names: Iterable[str], known: Iterable[str]) -> None:
    """Raises: SettingError when a name is a concept's attribute that the workspace has no column for."""
    known = tuple(known)
    for name in names:
        if name.startswith(schema.CONCEPT) and name.removeprefix(schema.CONCEPT) not in known:
            hint = "Run `cars concepts` first; it reads the reports."
            hint = f"The concepts are: {', '.join(known)}." if known else hint
            raise SettingError(f"This workspace has no {name!r}.", hint)


def concepts_in(frame: pd.DataFrame) -> tuple[str, ...]:
    """The concepts that a frame of films has a column for."""
    prefix = schema.concept_column("")
    return tuple(c.removeprefix(prefix).replace("_", " ") for c in frame.columns if c.startswith(prefix))


def with_concepts(frame: pd.DataFrame, workspace: Workspace, connection: object) -> pd.DataFrame:
    """The films with a column of int8 codes for each concept.

    frame: dicom_id, study_id and origin.
    """
    related = related_findings(workspace)
    if not related:
        return frame
    table = workspace.query("coverage/concepts", connection)
    at = pd.Index(table["study_id"]).get_indexer(pd.Index(frame["study_id"]))
    edits = np.flatnonzero(frame["origin"] != "real")
    changes: list[dict[str, str]] = []
    if len(edits):
        changed = workspace.query("coverage/edit_changes", connection).set_index("dicom_id")["findings"]
        changes = [json.loads(text) for text in changed.loc[frame["dicom_id"].iloc[edits]]]
    columns = {}
    for name, findings in related.items():
        column = schema.concept_column(name)
        codes = np.where(at >= 0, table[column].to_numpy()[at], schema.NO_REPORT).astype(np.int8)
        touched = [n for n, edit in zip(edits, changes, strict=True) if any(touches(f, findings) for f in edit)]
        codes[touched] = schema.NO_REPORT
        columns[column] = codes
    return frame.assign(**columns)


def touches(finding: str, related: tuple[str, ...]) -> bool:
    """Whether an edit of a finding leaves open what a concept with these related findings says."""
    return finding in related or "No Finding" in related
