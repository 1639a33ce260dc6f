"""Coverage, the views: pairs of findings as a heat map."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from cars import coverage, plots, schema
from cars.coverage.rules import rules_of, why_impossible
from cars.workspace import Workspace
from pages._common import film_grid, source_name, stamp


@st.cache_data(max_entries=8, show_spinner="Counting pairs of findings")
def pairs(key: tuple[str, ...], unit: str, split: str, synthetic: bool) -> Any:
    return coverage.cooccurrence(Workspace(key[0]), unit, split, synthetic)


def forbidden(workspace: Workspace) -> np.ndarray:
    """(14, 14) bool: pairs of findings that the workspace's rules forbid."""
    rules, names = rules_of(workspace), schema.FINDINGS
    return np.array([[bool(why_impossible({a: "present", b: "present"}, rules)) for b in names] for a in names])


def show_pairs(workspace: Workspace) -> None:
    """Pairs of findings as a heat map; a cell shows its films."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.selectbox("Show", ["ratio", "observed", "expected"], key="pair-kind", width=160)
        unit = st.selectbox("Count", ["patient", "study", "film"], key="pair-unit", width=160)
        split = st.selectbox("Split", ["all", "train", "validate", "test"], key="pair-split", width=160)
        synthetic = st.toggle("Count accepted synthetic films", key="pair-synthetic")
    found = pairs(stamp(workspace, "films", "edits"), unit, split, synthetic)
    figure = plots.cooccurrence(found, kind, unit, forbidden(workspace), source_name(workspace))
    drawn = st.plotly_chart(
        figure, key="pair-figure", on_select="rerun", selection_mode="points", width="content", theme=None
    )
    cells = [point["customdata"] for point in drawn["selection"]["points"] if point.get("customdata")]
    if cells:
        first, second = cells[0]
        films = coverage.films_of_pattern(workspace, {first: "present", second: "present"}, split=split)
        st.subheader(f"{first} with {second}")
        st.caption(f"{len(films):,}{' or more' if len(films) == 200 else ''} films")
        film_grid(workspace, list(films["dicom_id"]))
