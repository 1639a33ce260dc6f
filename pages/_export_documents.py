"""Export, documents: the reports of runs that lie in the workspace, to be downloaded."""

from __future__ import annotations

import streamlit as st

from cars import evaluate, results
from cars.workspace import Workspace
from pages._common import empty, plain
from pages._gains_report import downloads, write
from pages._gains_run import run_words


def show_documents(workspace: Workspace) -> None:
    st.subheader("Reports")
    if not workspace.has("scores"):
        empty("No run has been scored, so there is no report.", "gains", "Train and compare on the page Gains")
        return
    known = evaluate.runs(workspace)
    there = results.documents(workspace)
    words = run_words(known)
    for run in dict.fromkeys(there["run"]):
        rows = there[there["run"] == run]
        st.markdown(f"**{plain(words[run])}**")
        downloads(rows)
        if rows["outdated"].any():
            left, right = st.columns([3, 1], vertical_alignment="center")
            left.warning("This run was scored again after these files were written.")
            if right.button("Write again", key=f"again-{run}", width="stretch"):
                write(workspace, run)
    if not len(there):
        empty("No report has been written yet.", "gains", "Write one on the page Gains, section Report")
