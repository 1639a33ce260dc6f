"""Where a workspace stands: each stage of the path, whether it is made, and the one thing to do next."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import jobs
from .config import resolve
from .coverage import GapsSettings
from .workspace import MARKER, Workspace


@dataclass(frozen=True)
class Stage:
    """One stage. state: made, running, queued, failed, open (can be run now), waiting (needs an earlier one)."""

    verb: str
    title: str
    state: str
    detail: str
    page: str


#: verb → (what it gives, the page where it is run, the verb that it needs).
PATH: dict[str, tuple[str, str, str | None]] = {
    "ingest": ("Films and labels", "overview", None),
    "embed": ("Map and nearest films", "overview", "ingest"),
    "gaps": ("Gaps", "coverage", "ingest"),
    "plan": ("Plan", "synthesise", "gaps"),
    "synth": ("Synthetic films", "synthesise", "plan"),
    "finetune": ("Trained backbones", "gains", "ingest"),
    "report": ("Scores and gains", "gains", "finetune"),
    "export": ("Export", "export", "ingest"),
}


def made(workspace: Workspace) -> dict[str, bool]:
    """verb → whether its output is there."""
    return {
        "ingest": workspace.has("films"),
        "embed": workspace.has("map"),
        "gaps": workspace.has("gaps"),
        "plan": (workspace.path / "records.sqlite").exists() and not workspace.records.plans().empty,
        "synth": workspace.has("edits"),
        "finetune": workspace.has("units"),
        "report": workspace.has("scores"),
        "export": any((workspace.path / "exports").glob("*.zip")),
    }


def stages(workspace: Workspace) -> list[Stage]:
    """Every stage in order, with how its newest job stands."""
    there = made(workspace)
    newest: dict[str, jobs.Job] = {}
    if (workspace.path / "records.sqlite").exists():
        for row in jobs.history(workspace):
            newest.setdefault(row.verb, row)
    result = []
    for verb, (title, page, needs) in PATH.items():
        job = newest.get(verb)
        if job is not None and job.state in ("running", "queued"):
            state, detail = job.state, job.message
        elif job is not None and job.state in ("failed", "blocked") and not there[verb]:
            state, detail = "failed", job.error or ""
        elif there[verb]:
            state, detail = "made", ""
        elif needs and not there[needs]:
            state, detail = "waiting", f"needs {PATH[needs][0].lower()}"
        else:
            state, detail = "open", ""
        result.append(Stage(verb, title, state, detail, page))
    return result


def next_stage(found: list[Stage]) -> Stage | None:
    """The first stage that can be run now, or that failed; None while a job is at work and when all is made."""
    if any(stage.state in ("running", "queued") for stage in found):
        return None
    return next((stage for stage in found if stage.state in ("open", "failed")), None)


def gap_settings(workspace: Workspace) -> GapsSettings | None:
    """The settings that the gaps of this workspace were found with, or None before that."""
    version = workspace.version("gaps")
    if version is None:
        return None
    try:
        path = workspace.path / "tables" / "gaps" / version / "note.json"
        settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return None
    return resolve(GapsSettings, "gaps", settings)


def near(folder: Path) -> list[Path]:
    """The workspaces in the folder that holds this one, itself first when it is one."""
    try:
        beside = sorted(path.parent for path in folder.parent.glob(f"*/{MARKER}"))
    except OSError:
        beside = []
    return [*([folder] if folder in beside else []), *(path for path in beside if path != folder)]


def about(workspace: Workspace) -> dict[str, Any]:
    """dataset.json: name, licence, terms, counts and provenance of what was ingested; {} before that."""
    try:
        return json.loads((workspace.path / "dataset.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
