"""Gains, report: the run as HTML, PDF and CSV, written by a job and downloaded here."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from cars import results
from cars.workspace import Workspace
from pages._common import submit
from pages._gains_run import Run

KINDS = {
    "html": ("HTML", "text/html", "One file with live figures; it loads nothing, so it can be read offline."),
    "pdf": ("PDF", "application/pdf", "The same to print."),
    "csv": ("CSV", "text/csv", "Every number, one row a number with its interval and n."),
}


def paths(workspace: Workspace, run: str) -> dict[str, Path]:
    """Where a run's documents lie."""
    return {kind: workspace.path / "exports" / f"gains-{run}.{kind}" for kind in KINDS}


def show_report(workspace: Workspace, run: Run) -> None:
    st.write(
        "The run as a document: the sentences, every figure with what it cannot say, method, limits, settings, and the "
        "hashes of what it was made from."
    )
    where = paths(workspace, run.name)
    there = {kind: path for kind, path in where.items() if path.exists()}
    label = "Write the report again" if there else "Write the report"
    if st.button(label, type="secondary" if there else "primary"):
        workspace.folder("exports")
        submit(workspace, "report", {"run": run.name, **{kind: str(path) for kind, path in where.items()}})
        st.rerun()
    if not there:
        st.info("It has not been written yet. Press Write the report; a large run takes some minutes.")
        return
    if results.outdated(workspace, run.name, list(there.values())):
        st.warning("The run was scored again after these files were written. Write the report again.")
    downloads(there)


def downloads(there: dict[str, Path]) -> None:
    """A button for each document."""
    for kind, path in there.items():
        name, mime, words = KINDS[kind]
        left, right = st.columns([1, 3], vertical_alignment="center")
        left.download_button(
            f"Download {name}", lambda path=path: path.open("rb"), path.name, mime, key=f"document-{kind}",
            on_click="ignore", width="stretch",
        )  # fmt: skip
        right.caption(f"{words} {path.stat().st_size / 2**20:,.1f} MiB.")
