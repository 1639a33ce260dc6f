"""Coverage, a comparison: this workspace against another, or with and without its synthetic films."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from cars import coverage, plots, stages
from cars.coverage import versus
from cars.workspace import Workspace
from pages import _state
from pages._common import plain, source_name
from pages._coverage_filter import key_of
from pages._coverage_pairs import UNITS
from pages._coverage_splits import key_with_decisions, settings_now
from pages._figure import figure

OWN = "with its synthetic films"
WORDS = {"patient": "patients", "study": "studies", "film": "films"}
Key = tuple[str, ...]


@st.cache_data(max_entries=8, show_spinner="Searching both sides")
def gaps(first: Key, second: Key, made: tuple[bool, bool], settings: coverage.GapsSettings) -> tuple[pd.DataFrame, str]:
    sides = [(Workspace(key[0]), synthetic) for key, synthetic in zip((first, second), made)]
    return versus.gap_changes(sides[0], sides[1], settings)


@st.cache_data(max_entries=8, show_spinner="Counting both sides")
def counts(first: Key, second: Key, made: tuple[bool, bool], where: str, unit: str, split: str) -> pd.DataFrame:
    sides = [
        coverage.film_codes(Workspace(key[0]), synthetic).where(coverage.filters.parse(where), split)
        for key, synthetic in zip((first, second), made)
    ]
    return versus.count_changes(sides[0], sides[1], unit)


@st.cache_data(max_entries=8, show_spinner="Counting combinations on both sides")
def tway(
    first: Key, second: Key, made: tuple[bool, bool], settings: coverage.GapsSettings, names: tuple[str, str]
) -> pd.DataFrame:
    sides = [(Workspace(key[0]), synthetic) for key, synthetic in zip((first, second), made)]
    return versus.tway_changes(sides[0], sides[1], settings, names)


def other_side(workspace: Workspace) -> tuple[Workspace, bool] | None:
    """What to compare with: chosen beside this workspace, or typed."""
    home = Path(workspace.path)
    beside = {path.name: path for path in stages.near(home) if path != home and Workspace(path).has("films")}
    options = [OWN, *beside] if workspace.has("edits") else list(beside)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = _state.selectbox("Compare with", options, "with", width=280) if options else None
        typed = st.text_input("or the folder of another workspace", key="compare-path", width=320)
    if typed:
        return Workspace.open(typed), False
    if name is None:
        st.info("There is no other workspace beside this one. Type the folder of one.")
        return None
    return (workspace, True) if name == OWN else (Workspace.open(beside[name]), False)


def show_compare(workspace: Workspace) -> None:
    """Gaps, counts and t-way coverage of this workspace and another."""
    other = other_side(workspace)
    if other is None:
        return
    second, synthetic = other
    second.need("films", "ingest ADAPTER SOURCE")
    own = second.path == workspace.path
    names = ("real films", "with synthetic films") if own else (workspace.name, second.name)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        unit = _state.selectbox("Count", UNITS, "unit", default="film" if own else None, words=WORDS.__getitem__)
    settings = settings_now(workspace, unit, False)
    made = (False, synthetic)
    keys = [key_with_decisions(side, flag) for side, flag in zip((workspace, second), made)]
    table, stopped = gaps(keys[0], keys[1], made, settings)
    if stopped:
        st.warning(plain(stopped))
    if own and unit == "patient":
        st.caption("A synthetic film counts under its source's patient, so films show more of the change.")
    source = f"{names[0]} and {names[1]}" if not own else source_name(workspace)
    figure(
        plots.gap_changes(table, names, unit), "Gaps on both sides", table, "compare-gaps", unit=unit,
        source=source,
    )  # fmt: skip
    st.dataframe(
        table[["gap", "level", "state", "first", "second"]]
        .assign(state=plots.state_words(table["state"], names))
        .head(2000), hide_index=True, height=240,
        column_config={"gap": st.column_config.TextColumn("Gap", width="large"), "level": "Values", "state": "A gap",
                       "first": names[0], "second": names[1]},
    )  # fmt: skip
    where = coverage.filters.text_of(_state.where())
    found = counts(key_of(workspace), key_of(second, synthetic), made, where, unit, settings.split)
    figure(
        plots.share_pairs(found, names, unit), "Values on both sides", found, "compare-values", unit=unit, source=source
    )
    members = {name: int(found[f"n_{side}"].max()) for name, side in zip(names, ("first", "second"))}
    ways = tway(keys[0], keys[1], made, settings, names)
    figure(
        plots.tway_panels(ways, unit, source, "side", "Share of the possible combinations that each side covers",
                          members),
        "t-way coverage on both sides", ways, "compare-tway", unit=unit, source=source,
    )  # fmt: skip
    st.caption(
        f"The {settings.split} split of both; the settings of the last search for gaps in {plain(workspace.name)}. "
        "Race groups that only one side names are possible combinations on that side only."
    )
