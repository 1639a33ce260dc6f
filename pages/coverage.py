"""Coverage: the gaps with their evidence, the map, and views of the findings; a choice shows its films."""

from __future__ import annotations

import streamlit as st

from pages import _state
from pages._common import current, empty, reported, watch
from pages._coverage_combinations import show_combinations
from pages._coverage_compare import show_compare
from pages._coverage_filter import filter_bar
from pages._coverage_gaps import controls, show_gaps
from pages._coverage_groups import show_groups
from pages._coverage_map import show_map
from pages._coverage_pairs import show_pairs
from pages._coverage_space import show_space
from pages._coverage_splits import show_splits

#: The name in the URL → (the words on the page, what draws it); a section takes the workspace.
SECTIONS = {
    "gaps": ("Gaps", show_gaps),
    "map": ("Map", show_map),
    "pairs": ("Pairs of findings", show_pairs),
    "combinations": ("Combinations", show_combinations),
    "groups": ("Groups", show_groups),
    "splits": ("Splits", show_splits),
    "space": ("Feature space", show_space),
    "compare": ("Compare", show_compare),
}

workspace = current()
st.title("Coverage")
if not workspace.has("films"):
    empty("There are no films in this workspace yet.", "overview", "Read a data set on the page Overview")
else:
    st.write("Which combinations of findings, view, sex and age this data set lacks, and whether chance explains it.")
    watch(workspace, "gaps", "embed", "space")
    _state.place_for_notices()
    with reported():
        filter_bar(workspace)
    found = workspace.has("gaps")
    controls(workspace, found)
    section = _state.segmented("Show", {name: words for name, (words, _) in SECTIONS.items()}, "section", "gaps")
    with reported():
        if section == "gaps" and not found:
            st.info("No search has run yet. Press Find gaps; the defaults are sensible for most data sets.")
        else:
            SECTIONS[section][1](workspace)
