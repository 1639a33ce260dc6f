"""Coverage by split: t-way coverage, findings by split, and what only the test films have."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import streamlit as st

from cars import coverage, plots, stages
from cars.workspace import Workspace
from pages import _state
from pages._common import plain, source_name, stamp
from pages._coverage_filter import choose, films, focus_films
from pages._coverage_groups import SHOWN, panels
from pages._coverage_pairs import counting
from pages._figure import downloads, figure

ORDERS = {"1": "1 value", "2": "2 values", "3": "3 values", "4": "4 values"}


@st.cache_data(max_entries=12, show_spinner="Counting combinations in each split")
def tway(key: tuple[str, ...], settings: coverage.GapsSettings) -> pd.DataFrame:
    return coverage.tway(Workspace(key[0]), settings)


@st.cache_data(max_entries=12, show_spinner="Looking for combinations that train lacks")
def unseen(key: tuple[str, ...], settings: coverage.GapsSettings, t: int) -> pd.DataFrame:
    return coverage.unseen_in_train(Workspace(key[0]), settings, t)


def settings_now(workspace: Workspace, unit: str, synthetic: bool) -> coverage.GapsSettings:
    """The settings of the last search (or the defaults) with this page's unit and filter."""
    start = stages.gap_settings(workspace) or coverage.GapsSettings()
    where = coverage.filters.text_of(_state.where())
    return dataclasses.replace(start, unit=unit, include_synthetic=synthetic, where=where)


def key_with_decisions(workspace: Workspace, synthetic: bool) -> tuple[str, ...]:
    key = stamp(workspace, "films", *(("edits",) if synthetic else ()))
    rules = json.dumps(workspace.file_settings.get("coverage", {}), sort_keys=True, default=str)
    return (*key, rules, *((workspace.records.latest_decisions().to_json(),) if synthetic else ()))


def show_splits(workspace: Workspace) -> None:
    """How well each split covers the combinations, and what the test films ask that no train film shows."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        unit, _, synthetic = counting(split=False)
        t = int(_state.selectbox("Only in test: of", list(ORDERS), "t", default="2", words=ORDERS.__getitem__))
        shown = _state.selectbox("Findings by split", list(SHOWN), "groups", words=SHOWN.__getitem__, width=220)
    settings, source = settings_now(workspace, unit, synthetic), source_name(workspace)
    key = key_with_decisions(workspace, synthetic)
    table = tway(key, settings)
    members = {split: films(workspace, split, synthetic).units(unit) for split in ("train", "validate", "test", "all")}
    figure(
        plots.tway_panels(table, unit, source, members=members), "t-way coverage by split", table, "tway-figure",
        unit=unit, source=source,
    )  # fmt: skip
    st.caption(
        f"Attributes: {plain(settings.attributes)}; finding values: {plain(settings.values)}; as in the last search. "
        "Combinations that a rule forbids are left out. A larger split covers more for its size alone."
    )
    show_unseen(workspace, unseen(key, settings, t), settings, t, source)
    st.subheader("Findings by split")
    panels(workspace, "split", "split", unit, "all", synthetic, shown)


def show_unseen(
    workspace: Workspace, table: pd.DataFrame, settings: coverage.GapsSettings, t: int, source: str
) -> None:
    """Combinations of test films that no train unit has; a chosen one shows its films."""
    words = {"patient": "patient", "study": "study", "film": "film"}[settings.unit]
    st.subheader(f"In test and in no train {words}: combinations of {ORDERS[str(t)]}")
    if table.empty:
        st.success("There is none: each such combination of the test films occurs in train.")
        return
    new = int(table["new"].sum())
    st.caption(f"{len(table):,} combinations; {new:,} of them are not explained by a smaller one that train lacks.")
    columns = {
        "sentence": st.column_config.TextColumn("Combination", width="large"),
        "test_patients": "Test patients", "test_studies": "Test studies", "test_films": "Test films",
        "train": "Train", "new": st.column_config.CheckboxColumn("New", help="No smaller combination explains it."),
    }  # fmt: skip
    picked = st.dataframe(
        table[list(columns)].head(2000), hide_index=True, height=260, column_config=columns, on_select="rerun",
        selection_mode="single-row", key="unseen-list",
    )  # fmt: skip
    downloads("Combinations that train lacks", table, "unseen-list", unit=settings.unit, source=source)
    rows = picked["selection"]["rows"]
    if rows and rows[0] < len(table):
        pattern = json.loads(table["pattern"].iloc[rows[0]])
        if pattern != _state.focus() and st.session_state.get("unseen-seen") != (t, rows[0]):
            st.session_state["unseen-seen"] = (t, rows[0])
            choose(workspace, pattern)
            st.rerun()
    focus_films(workspace)
