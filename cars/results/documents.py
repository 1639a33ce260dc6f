"""The documents that a run's report left in the workspace: where they lie, how old they are, if they are stale."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .. import evaluate
from ..workspace import Workspace
from .verb import DOCUMENTS, outdated


def document_paths(workspace: Workspace, run: str) -> dict[str, Path]:
    """Kind (html, pdf, csv) → where the pages have a run's document written."""
    return {kind: workspace.path / "exports" / f"gains-{run}.{kind}" for kind in DOCUMENTS}


def documents(workspace: Workspace) -> pd.DataFrame:
    """The documents in exports/ of completed runs, the newest run first.

    Returns: run kind path bytes written (seconds since 1970) outdated (the run was scored again after it).
    """
    found = []
    for run in evaluate.runs(workspace)["run"]:
        for kind, path in document_paths(workspace, run).items():
            if path.exists():
                about = path.stat()
                found.append(
                    {
                        "run": run, "kind": kind, "path": str(path), "bytes": about.st_size,
                        "written": about.st_mtime, "outdated": outdated(workspace, run, [path]),
                    }
                )  # fmt: skip
    return pd.DataFrame(found, columns=["run", "kind", "path", "bytes", "written", "outdated"])
