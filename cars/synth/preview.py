"""One edit, made now and kept nowhere: what a page shows before a plan is run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import DataError, SettingError
from ..imaging import decode, square
from ..schema import after_edit
from ..workspace import Workspace
from .data import SEGMENT_SIZE, refuse_other_splits
from .editing import Models, check_changes, edit_films
from .run import source_of, workspace_models
from .settings import SynthSettings


def outlines(segmenter: Any, film: np.ndarray) -> np.ndarray:
    """Lungs and heart of a uint8 film (H, W) as a loaded segmenter sees them: bool (3, 128, 128), padded square."""
    return segmenter.masks(square(film, SEGMENT_SIZE)[None]).masks[0]


def preview(
    workspace: Workspace,
    dicom_id: str,
    findings: dict[str, str],
    seed: int = 0,
    guidance: float | None = None,
    settings: SynthSettings | None = None,
    models: Models | None = None,
) -> dict[str, Any]:
    """Edit one train film and gate it, without writing anything.

    With the seed of a plan's item, and the same settings, it is the film that `synth` would make of that item.

    Args:
        findings: finding → "insert" or "delete".
        seed: an integer of at least 0.
        settings: generator, segmenter, judge, mode, steps and device (default: the verb's); `guidance`,
            where given, counts.
        models: those of `run.workspace_models`, loaded before; default: loaded here.

    Returns: "source", "edited", "sham" uint8 (H, W); "difference" int16 (H, W), edited − source; "roi" bool (H, W);
    "masks", "masks_after" bool (3, 128, 128), outlines before and after on the padded square; "gates" (list of
    gates.Measure); "uncertainty" (rows of uncertainty.uncertainty_rows); "passed"; "mode"; "labels" after the edit;
    "error" (text or None: then only source, masks and error are there).
    Raises: DataError for an unknown film or one that may not be edited, SettingError for an edit that does not fit it.
    """
    if seed < 0:
        raise SettingError(f"{seed} is no seed.", "Use an integer of at least 0.")
    settings = settings or SynthSettings()
    settings = settings if guidance is None else replace(settings, guidance=guidance)
    match = workspace.query("synth/one_film", dicom_id=dicom_id)
    if match.empty:
        raise DataError(f"There is no film {dicom_id!r} in this workspace.", "Choose one of the table films.")
    row = match.iloc[0]
    if row["split"] != "train" or row["origin"] != "real" or not row["on_disk"]:
        raise DataError(
            f"This film is not edited: split {row['split']!r}, {'on disk' if row['on_disk'] else 'not on disk'}.",
            "Choose a real film of the train split that is on disk.",
        )
    refuse_other_splits(workspace, [row["subject_id"]])
    source = source_of(decode(row["path"]), row, dict(findings), seed)
    check_changes(source.labels, source.changes)
    models = models or workspace_models(workspace, settings)
    [outcome] = edit_films([source], models, settings)
    shown: dict[str, Any] = {"source": source.film, "masks": outcome.masks, "error": outcome.error}
    if outcome.edited is not None:
        shown |= {
            "edited": outcome.edited,
            "sham": outcome.sham,
            "masks_after": outlines(models.segmenter, outcome.edited),
            "difference": outcome.edited.astype(np.int16) - source.film.astype(np.int16),
            "roi": outcome.roi,
            "gates": outcome.gates,
            "uncertainty": outcome.uncertainty,
            "passed": outcome.passed,
            "mode": outcome.mode,
            "labels": after_edit(source.labels, source.changes),
        }
    return shown
