"""One edit, made now and kept nowhere: what a page shows before a plan is run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import DataError
from ..imaging import decode
from ..provenance import digest
from ..schema import after_edit
from ..workspace import Workspace
from .data import refuse_other_splits
from .editing import check_changes, edit_films
from .run import source_of, workspace_models
from .settings import SynthSettings


def preview(
    workspace: Workspace,
    dicom_id: str,
    findings: dict[str, str],
    seed: int = 0,
    guidance: float = 3.0,
    settings: SynthSettings | None = None,
) -> dict[str, Any]:
    """Edit one train film and gate it, without writing anything.

    Args:
        findings: finding → "insert" or "delete".
        settings: generator, segmenter, judge, mode, steps and device (default: the verb's); `guidance` here counts.

    Returns: "source", "edited", "sham" uint8 (H, W); "difference" int16 (H, W), edited − source; "roi" bool (H, W);
    "masks" bool (3, 128, 128) on the padded square; "gates" (list of gates.Measure); "uncertainty" (rows of
    uncertainty.uncertainty_rows); "passed"; "mode"; "labels" after the edit; "error" (text or None: then only source,
    masks and error are there).
    Raises: DataError for an unknown film or one that may not be edited, SettingError for an edit that does not fit it.
    """

    settings = replace(settings or SynthSettings(), guidance=guidance)
    films = workspace.read("films")
    match = films[films["dicom_id"] == dicom_id]
    if match.empty:
        raise DataError(f"There is no film {dicom_id!r} in this workspace.", "Choose one of the table films.")
    row = match.iloc[0]
    if row["split"] != "train" or row["origin"] != "real" or not row["on_disk"]:
        raise DataError(
            f"This film is not edited: split {row['split']!r}, {'on disk' if row['on_disk'] else 'not on disk'}.",
            "Choose a real film of the train split that is on disk.",
        )
    refuse_other_splits(workspace, [row["subject_id"]])
    source = source_of(decode(row["path"]), row, dict(findings), int(digest(dicom_id, seed, length=7), 16))
    check_changes(source.labels, source.changes)
    [outcome] = edit_films([source], workspace_models(workspace, settings), settings)
    shown: dict[str, Any] = {"source": source.film, "masks": outcome.masks, "error": outcome.error}
    if outcome.edited is not None:
        shown |= {
            "edited": outcome.edited,
            "sham": outcome.sham,
            "difference": outcome.edited.astype(np.int16) - source.film.astype(np.int16),
            "roi": outcome.roi,
            "gates": outcome.gates,
            "uncertainty": outcome.uncertainty,
            "passed": outcome.passed,
            "mode": outcome.mode,
            "labels": after_edit(source.labels, source.changes),
        }
    return shown
