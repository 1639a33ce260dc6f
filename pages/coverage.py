"""Coverage: the gaps with their evidence, pairs of findings, and the map; a choice shows its films."""

from __future__ import annotations

import streamlit as st

from pages._common import current, empty, reported, watch
from pages._coverage_gaps import controls, show_gaps
from pages._coverage_map import show_map
from pages._coverage_views import show_pairs

#: The name in the URL → (the words on the page, what draws it); a section takes the workspace.
SECTIONS = {
    "gaps": ("Gaps", show_gaps),
    "map": ("Map", show_map),
    "pairs": ("Pairs of findings", show_pairs),
}

workspace = current()
st.title("Coverage")
if not workspace.has("films"):
    empty("There are no films in this workspace yet.", "overview", "Read a data set on the page Overview")
else:
    st.write("Which combinations of findings, view, sex and age this data set lacks, and whether chance explains it.")
    watch(workspace, "gaps", "embed")
    found = workspace.has("gaps")
    controls(workspace, found)
    section = st.segmented_control(
        "Show", list(SECTIONS), format_func=lambda name: SECTIONS[name][0], default="gaps", required=True,
        label_visibility="collapsed", key="section", bind="query-params",
    )  # fmt: skip
    with reported():
        if section == "gaps" and not found:
            st.info("No search has run yet. Press Find gaps; the defaults are sensible for most data sets.")
        else:
            SECTIONS[section][1](workspace)
