"""Where a run's numbers come from: hashes of tables, revisions of models, settings and versions of code."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import stages
from ..generators import baselines
from ..provenance import code_version, digest, file_digest
from ..workspace import Workspace

#: Libraries whose version can move a number.
LIBRARIES = ("torch", "timm", "numpy", "scipy", "pandas", "duckdb", "faiss-cpu")
#: Columns of edits that name a model or a setting.
OF_EDITS = ("generator", "generator_revision", "segmenter", "judge", "gating", "code_version", "generator_licence")


def table_hash(workspace: Workspace, table: str) -> str | None:
    """A hash over the published parts of a table, by name and content; None where there is none."""
    if not workspace.has(table):
        return None
    return digest(*[(part.name, file_digest(part)) for part in sorted(workspace.parts(table))])


def origin(workspace: Workspace, run: str) -> dict[str, Any]:
    """What the run and its report were made from.

    Returns: dataset (name, licence, terms, source, patient_derived, provenance), tables (name → hash), edits (accepted
        ones that count: films, a hash of their ids, and the distinct values of OF_EDITS), run (run.json: settings,
        code_version, completed), report (report.json: settings, code_version, made; None where it was never written),
        units (unit → weights_sha256), code_version and libraries of now.
    """
    folder = workspace.path / "runs" / run
    units = workspace.query("evaluate/units", run=run)
    return {
        "dataset": stages.about(workspace),
        "tables": {name: table_hash(workspace, name) for name in ("films", "gaps", "edits", "gates")},
        "edits": _edits(workspace),
        "run": _read(folder / "run.json"),
        "report": _read(folder / "report.json"),
        "units": dict(zip(units["unit"], units.get("weights_sha256", units["unit"]))),
        "starting_weights": sorted(set(units["weights"])) if "weights" in units else [],
        "code_version": code_version(),
        "libraries": _libraries(),
    }


def _edits(workspace: Workspace) -> dict[str, Any]:
    if not workspace.has("edits"):
        return {"films": 0}
    frame = workspace.query("results/accepted", baselines=baselines())
    values = {name: sorted({str(v) for v in frame[name].dropna()}) for name in OF_EDITS if name in frame}
    return {"films": len(frame), "ids": digest(*sorted(frame["edit_id"])), **values}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
