"""Gains, coverage: gaps, combinations and test films within reach, before and after the accepted edits."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cars import coverage, plots, results
from cars.workspace import Workspace
from pages._common import empty, plain, source_name, stamp, submit
from pages._figure import figure


@st.cache_data(max_entries=4, show_spinner="Counting coverage before and after")
def coverage_table(key: tuple[str, ...], decisions: str) -> pd.DataFrame:
    return results.coverage_table(Workspace(key[0]))


def show_coverage(workspace: Workspace) -> None:
    st.subheader("Coverage before and after")
    if not workspace.has("edits"):
        empty(
            "No synthetic film has been made, so coverage has not changed.", "synthesise",
            "Plan and make some on the page Synthesise",
        )  # fmt: skip
        return
    decisions = workspace.records.latest_decisions().to_json()
    table = coverage_table(stamp(workspace, "films", "edits", "gaps", "space_films"), decisions)
    source = source_name(workspace)
    st.write(plain(coverage.gained_sentence(table)))
    figure(
        plots.caution(plots.coverage_dumbbells(table, source), []),
        "Coverage before and after",
        table,
        "coverage",
        source=source,
    )
    st.caption(
        "Accepted edits only; films of the baseline generators never count. A synthetic film counts under its source's "
        "patient, so patients only grow where other patients' films were edited into a gap. In feature space the radii "
        "are those of the real train films, frozen."
    )
    reach = table[table["measure"] == "test films within reach"]
    if reach["note"].astype(bool).any() and st.button("Measure feature space"):
        submit(workspace, "space", {})
        st.rerun()
    with st.expander("The numbers"):
        st.dataframe(results.words.coverage_rows(table), hide_index=True)
