"""The verb `report`: score a run, and write its documents where they are asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import evaluate
from ..config import as_dict
from ..errors import WorkspaceError
from ..evaluate.settings import ReportSettings as ScoreSettings
from ..progress import Progress, part_of, silent
from ..provenance import file_digest
from ..workspace import Workspace, atomic_write
from .compose import compose
from .gather import Results, every_number, gather
from .html import html_of
from .pdf import pdf_of
from .settings import ReportSettings

DOCUMENTS = ("html", "pdf", "csv")


def report(workspace: Workspace, settings: ReportSettings, progress: Progress = silent) -> dict[str, Any]:
    """`evaluate.report`, and then the documents.

    Returns: what `evaluate.report` returns, and documents: kind (html, pdf, csv) → {path, bytes, sha256}.

    Raises: WorkspaceError where there is no run, or a document cannot be written; MissingDependency for a PDF without
        the packages that print it.
    """
    wanted = [kind for kind in DOCUMENTS if getattr(settings, kind)]
    for kind in wanted:  # said before a minute of scoring rather than after
        folder = Path(getattr(settings, kind)).resolve().parent
        if not folder.is_dir():
            raise WorkspaceError(f"{kind} = {getattr(settings, kind)!r} lies in no folder.", f"Make {folder} first.")
    share = 0.6 if wanted else 1.0
    own = {f.name: getattr(settings, f.name) for f in dataclasses.fields(ScoreSettings)}
    result = evaluate.report(workspace, ScoreSettings(**own), part_of(progress, 0.0, share))
    result |= {"settings": as_dict(settings), "documents": {}}
    if wanted:
        results = gather(workspace, result["run"], part_of(progress, 0.6, 0.8))
        for n, kind in enumerate(wanted):
            steps = part_of(progress, 0.8 + 0.2 * n / len(wanted), 0.8 + 0.2 * (n + 1) / len(wanted))
            path = Path(getattr(settings, kind))
            with atomic_write(path) as stream:
                stream.write(document(results, kind, steps))
            result["documents"][kind] = {
                "path": str(path.resolve()), "bytes": path.stat().st_size, "sha256": file_digest(path),
            }  # fmt: skip
    return result


def outdated(workspace: Workspace, run: str, documents: Sequence[Path]) -> bool:
    """Whether the run was scored after one of these files was written."""
    scored = workspace.path / "runs" / run / "report.json"
    return scored.exists() and any(path.stat().st_mtime < scored.stat().st_mtime for path in documents)


def document(results: Results, kind: str, progress: Progress = silent) -> bytes:
    """One document of a gathered run; kind: html, pdf or csv."""
    if kind == "csv":
        # Excel takes a file without the mark for its own code page
        return every_number(results).to_csv(index=False).encode("utf-8-sig")
    sections = compose(results)
    if kind == "html":
        return html_of(results, sections).encode("utf-8")
    return pdf_of(results, sections, progress)
