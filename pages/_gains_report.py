"""Gains, report: the run as HTML, PDF and CSV, written by a job and downloaded here and on the page Export."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
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


def show_report(workspace: Workspace, run: Run) -> None:
    st.write(
        "The run as a document: the sentences, every figure with what it cannot say, method, limits, settings, and the "
        "hashes of what it was made from."
    )
    there = results.documents(workspace)
    there = there[there["run"] == run.name]
    label = "Write the report again" if len(there) else "Write the report"
    if st.button(label, type="secondary" if len(there) else "primary"):
        write(workspace, run.name)
    if not len(there):
        st.info("It has not been written yet. Press Write the report; a large run takes some minutes.")
        return
    if there["outdated"].any():
        st.warning("The run was scored again after these files were written. Write the report again.")
    downloads(there)


def write(workspace: Workspace, run: str) -> None:
    """Queue the job that scores a run and writes its documents."""
    workspace.folder("exports")
    paths = {kind: str(path) for kind, path in results.document_paths(workspace, run).items()}
    submit(workspace, "report", {"run": run, **paths})
    st.rerun()


def downloads(there: pd.DataFrame) -> None:
    """A button for each document. there: rows of `results.documents`."""
    for one in there.to_dict("records"):
        name, mime, words = KINDS[one["kind"]]
        path = Path(one["path"])
        left, right = st.columns([1, 3], vertical_alignment="center")
        left.download_button(
            f"Download {name}", lambda path=path: path.open("rb"), path.name, mime, on_click="ignore", width="stretch",
            key=f"document-{one['run']}-{one['kind']}",
        )  # fmt: skip
        right.caption(f"{words} {one['bytes'] / 2**20:,.1f} MiB, {moment(one['written'])}.")


def moment(seconds: float) -> str:
    """A time of day with its date."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
