"""Which films an export holds, and what they are called in it.

A real film keeps its ids. An edit gets a subject, a study and a dicom id of its own, because readers of the MIMIC
layout join labels on subject and study, and many keep one film a subject; `source_subject_id` and `split_group` say
whose anatomy it shows, so that a new split can keep an edit with its source.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .. import schema
from ..errors import DataError, ResourceError, SettingError, WorkspaceError
from ..provenance import digest
from ..workspace import Workspace
from .settings import ExportSettings

LABELS = list(schema.COLUMN_OF.values())
COLUMNS = [
    "dicom_id", "subject_id", "study_id", "split", "view", "view_position", "sex", "age", "race", "rows", "columns",
    "study_date", *LABELS, "origin", "split_group", "source_dicom_id", "source_subject_id", "edit_id", "path",
]  # fmt: skip
#: An id that may be a part of a file name: no separator, no leading dot, nothing that a shell or Windows would mind.
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Listing:
    """films: COLUMNS, real ones first. edits: the accepted edits' own rows, same order as the synthetic films."""

    films: pd.DataFrame
    edits: pd.DataFrame
    gates: pd.DataFrame
    about: dict[str, Any]
    key: str

    @property
    def synthetic(self) -> pd.DataFrame:
        """The synthetic films."""
        return self.films[self.films["origin"] == "synthetic"]


def list_films(workspace: Workspace, settings: ExportSettings) -> Listing:
    """Everything that the export will hold.

    Raises: WorkspaceError without films, or when a film's file is gone or outside the workspace; DataError for ids that
        cannot be file names, labels that differ within a study, or an edit of a patient outside the train split;
        SettingError and ResourceError when the films are larger than allowed, or than the disk.
    """
    workspace.need("films", "ingest")
    with workspace.connect() as connection:
        real = workspace.query("export/films", connection, on_disk=settings.films == "all")
        everyone = workspace.query("export/films", connection, on_disk=False)
        edits = workspace.query("export/edits", connection) if workspace.has("edits") else pd.DataFrame()
        has_gates = workspace.has("edits") and workspace.has("gates")
        gates = workspace.query("export/gates", connection) if has_gates else pd.DataFrame(columns=["edit_id"])
    if len(edits):
        _refuse_held_out(edits)
    real = real.assign(
        origin="real", split_group=real["subject_id"], source_dicom_id="", source_subject_id="", edit_id=""
    )
    parts = [] if settings.films == "synthetic" else [real[COLUMNS]]
    if len(edits):
        parts.append(_synthetic(workspace, edits, everyone))
    films = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if not len(films):
        raise WorkspaceError(
            f"There is nothing to export with films = {settings.films!r}.",
            "Make and accept edits first (`cars plan`, `cars synth`), or export with films = all or none.",
        )
    _check_ids(films)
    _check_studies(films)
    if settings.films != "none":
        _check_files(workspace, films, settings)
    about = _about(workspace)
    return Listing(films, edits, gates, about, _key(settings, films, edits, gates, about))


def _refuse_held_out(edits: pd.DataFrame) -> None:
    """Raise DataError when an edit's source film is not of the train split today, or not of the patient it names."""
    wrong = (edits["source_split"] != "train") | (edits["source_patient"] != edits["source_subject_id"])
    if wrong.any():
        raise DataError(
            f"{int(wrong.sum())} accepted edits were not made from a train film of the patient that they name, "
            f"{edits.loc[wrong, 'edit_id'].iloc[0]!r} first.",
            "Reject these edits, or ingest and synthesise again.",
        )


def _synthetic(workspace: Workspace, edits: pd.DataFrame, everyone: pd.DataFrame) -> pd.DataFrame:
    """The rows of the edits under ids of their own."""
    subjects = new_ids(edits["edit_id"].tolist(), "subject", "9", set(everyone["subject_id"]))
    studies = new_ids(edits["edit_id"].tolist(), "study", "8", set(everyone["study_id"]))
    paths = [str(inside(workspace, path)) for path in edits["film_path"]]
    return edits.assign(
        dicom_id=[new_dicom_id(edit_id) for edit_id in edits["edit_id"]],
        subject_id=subjects, study_id=studies, split="train", path=paths, origin="synthetic",
        split_group=edits["source_subject_id"],
    )[COLUMNS]  # fmt: skip


def new_ids(edit_ids: list[str], kind: str, first: str, taken: set[str]) -> list[str]:
    """An id of 8 digits for each edit, from its hash, starting with `first`; none is taken and no two are alike.

    MIMIC's own start with 1 (subjects) and 5 (studies). The same edits get the same ids in every export.
    """
    used = set(taken)
    found = {}
    for edit_id in sorted(edit_ids):
        number = int(hashlib.sha256(f"{kind} {edit_id}".encode()).hexdigest(), 16) % 10**7
        while f"{first}{number:07d}" in used:
            number = (number + 1) % 10**7
        found[edit_id] = f"{first}{number:07d}"
        used.add(found[edit_id])
    return [found[edit_id] for edit_id in edit_ids]


def new_dicom_id(edit_id: str) -> str:
    """Five groups of 8 hex digits, as MIMIC's, from the edit's id."""
    text = hashlib.sha256(f"dicom {edit_id}".encode()).hexdigest()
    return "-".join(text[start : start + 8] for start in range(0, 40, 8))


def inside(workspace: Workspace, path: str) -> Path:
    """A path relative to the workspace, made absolute. Raises: DataError when it leads out of the workspace."""
    found = (workspace.path / path).resolve()
    if not found.is_relative_to(workspace.path.resolve()):
        raise DataError(f"The file {path!r} is not inside the workspace.", "An edit's files lie in films/synthetic/.")
    return found


def film_name(subject_id: str, study_id: str, dicom_id: str) -> str:
    """The film's place in the zip, as MIMIC-CXR-JPG has it: files/p10/p10000032/s50414267/<dicom_id>.jpg."""
    return f"files/p{subject_id[:2]}/p{subject_id}/s{study_id}/{dicom_id}.jpg"


def _check_ids(films: pd.DataFrame) -> None:
    for column in ("subject_id", "study_id", "dicom_id"):
        for value in films[column]:
            if not SAFE_ID.fullmatch(value):
                raise DataError(
                    f"The {column} {value!r} cannot be a part of a file name.",
                    "Ids are letters, digits, dot, dash and underscore, 128 at most; mend it and ingest again.",
                )
    twice = films["dicom_id"][films["dicom_id"].str.lower().duplicated()]
    if len(twice):
        raise DataError(f"Two films are called {twice.iloc[0]!r}.", "Give each film an id of its own and ingest again.")


def _check_studies(films: pd.DataFrame) -> None:
    """MIMIC's table has one row of labels a study, so films of a study must agree."""
    rows = films[["subject_id", "study_id", *LABELS]].drop_duplicates()
    twice = rows[rows.duplicated(["subject_id", "study_id"])]
    if len(twice):
        raise DataError(
            f"The films of study {twice['study_id'].iloc[0]!r} have different labels.",
            "The MIMIC layout has one row of labels a study; give these films studies of their own and ingest again.",
        )


def _check_files(workspace: Workspace, films: pd.DataFrame, settings: ExportSettings) -> None:
    total = 0
    for path in films["path"]:
        try:
            total += Path(path).stat().st_size
        except OSError:
            raise WorkspaceError(
                f"The film {path} is no longer there.", "Put it back, or ingest again, and export once more."
            ) from None
    if total > settings.max_gib * 2**30:
        raise SettingError(
            f"The films take {total / 2**30:.1f} GiB, more than max_gib = {settings.max_gib:g}.",
            "Export with films = synthetic, or raise max_gib.",
        )
    free = workspace.free_bytes()
    if settings.out is None and total > free:
        raise ResourceError(
            f"The films take {total / 2**30:.1f} GiB; the workspace's disk has {free / 2**30:.1f} GiB free.",
            "Free some space, give an `out` on another disk, or export with films = synthetic.",
        )


def _about(workspace: Workspace) -> dict[str, Any]:
    """dataset.json: where the films come from and under which terms. Nothing known means: treat as patient-derived."""
    path = workspace.path / "dataset.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    unknown = {"adapter": "unknown", "licence": "unknown", "terms": "", "citation": "", "patient_derived": True}
    return {name: known.get(name, value) for name, value in unknown.items()}


def _key(settings: ExportSettings, films: pd.DataFrame, edits: pd.DataFrame, gates: pd.DataFrame, about: Any) -> str:
    """A hash of everything that the zip is made from."""
    states = []
    if settings.films != "none":
        states = [(stat.st_size, stat.st_mtime_ns) for stat in (Path(path).stat() for path in films["path"])]
    tables = [json.loads(frame.to_json(orient="split")) for frame in (films.drop(columns="path"), edits, gates)]
    wanted = (settings.films, settings.lossless, settings.suppress_below)
    return digest(wanted, states, tables, about)
