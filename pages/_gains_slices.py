"""Gains, rare combinations: scores on the test films around each gap that accepted edits filled."""

from __future__ import annotations

import streamlit as st

from cars import plots, results, schema
from cars.workspace import Workspace
from pages import _state
from pages._common import empty
from pages._gains_run import Run, backbone_choice, metric_choice, metrics_of, shown

#: Which test films speak of a gap → in words.
BASES = {"near": "at or next to a gap", "rest": "in the rest of its pattern"}

HELP = (
    "At or next to a gap: films that match it or lie one attribute away. In the rest of its pattern: films that match "
    "all of it but the finding that was edited."
)


def show_slices(workspace: Workspace, run: Run) -> None:
    if not len(run.slices):
        empty(
            "No gap was filled by an accepted edit when this run was scored, so there is no slice to look at.",
            "synthesise", "Fill gaps on the page Synthesise",
        )  # fmt: skip
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        backbone = backbone_choice(run)
        metric = metric_choice(metrics_of(run.slices), "slice")
        there = set(run.slices["finding"])
        findings = [f for f in ("macro", *schema.FINDINGS) if f in there]
        finding = _state.selectbox(
            "Finding", findings, "rare", words=lambda f: "mean over findings" if f == "macro" else f, width=200
        )
        bases = [b for b in BASES if b in set(run.slices["basis"])]
        basis = _state.selectbox("Test films", bases, "basis", words=BASES.get, width=210, help=HELP)
    slices = run.slices[(run.slices["finding"] == finding) & (run.slices["basis"] == basis)]
    rows = slices[(slices["backbone"] == backbone) & (slices["metric"] == metric)]
    if rows["value"].notna().any():
        forest = plots.slice_forest(slices, backbone, metric, source=run.source)
        shown(run, forest, "Gains on rare combinations", rows, "slices")
    else:
        st.info("Every slice is undefined in this metric: no test film in them is positive, or none is negative.")
    st.caption(
        "Slices are small and many, and nothing is adjusted for their number: they say where to look, not what is "
        "proven."
    )
    st.dataframe(results.words.slice_rows(rows, metric), hide_index=True)
