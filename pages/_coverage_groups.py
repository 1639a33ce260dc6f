"""Coverage, findings by group: how common each finding is by view, sex, age and race."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cars import coverage, plots
from cars.workspace import Workspace
from pages import _state
from pages._common import source_name
from pages._coverage_filter import films, key_of
from pages._coverage_pairs import counting
from pages._figure import figure

BY = {"view": "view", "sex": "sex", "age_band": "age", "race": "race"}
SHOWN = {"share": "share of the group", "difference": "difference to all"}


@st.cache_data(max_entries=32, show_spinner="Counting findings by group")
def prevalence(
    key: tuple[str, ...], where: str, by: str, unit: str, split: str, synthetic: bool
) -> tuple[pd.DataFrame, int]:
    kept = films(Workspace(key[0]), split, synthetic)
    return coverage.prevalence(kept, by, unit), kept.units(unit)


def panels(workspace: Workspace, by: str, words: str, unit: str, split: str, synthetic: bool, shown: str) -> None:
    """One small panel a finding, with what the intervals mean."""
    table, n = prevalence(key_of(workspace, synthetic), _state.read("where"), by, unit, split, synthetic)
    if not n:
        st.info("There is no film to count here.")
        return
    source = source_name(workspace)
    figure(
        plots.group_panels(table, words, n, unit, shown == "difference", source), f"Findings by {words}", table,
        f"group-figure-{by}", unit=unit, source=source,
    )  # fmt: skip
    notes = []
    if by == "view":
        notes.append("A group counts its own films, and a patient may belong to several; so each may lie below all.")
    if unit != "patient":
        notes.append("Films of a patient are alike, so these intervals are narrower than they should be.")
    if notes:
        st.caption(" ".join(notes))


def show_groups(workspace: Workspace) -> None:
    """Each finding's share by group, unknown shown as a group of its own."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = _state.selectbox("Groups", list(BY), "by", words=BY.__getitem__)
        shown = _state.selectbox("Show", list(SHOWN), "groups", words=SHOWN.__getitem__, width=220)
        unit, split, synthetic = counting()
    panels(workspace, by, BY[by], unit, split, synthetic, shown)
