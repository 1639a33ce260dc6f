"""Coverage: the gaps with their evidence, pairs of findings, and the map; a choice shows its films."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from cars import coverage, plots, schema
from cars.coverage.rules import rules_of, why_impossible
from cars.coverage.sentences import describe
from cars.workspace import Workspace
from pages._common import (
    current,
    defaults,
    empty,
    film_grid,
    multiple,
    plain,
    reported,
    setting_widgets,
    source_name,
    stamp,
    submit,
    watch,
)

ATTRIBUTES = ["sex", "age_band", "view", "race", "findings"]
COLUMNS = {
    "rank": st.column_config.NumberColumn("Rank", width="small"),
    "gap": st.column_config.TextColumn("Gap", width="large"),
    "verdict": "Verdict",
    "count": st.column_config.NumberColumn("Seen", help="How many match, in the unit of the threshold."),
    "expected": st.column_config.NumberColumn("Expected", format="%.1f", help="From the counts of its parts."),
    "ratio": st.column_config.NumberColumn("Seen ÷ expected", format="%.2f", help="Shrunk towards 1 at low counts."),
    "low": st.column_config.NumberColumn("from", format="%.2f", help="5% bound of seen ÷ expected."),
    "high": st.column_config.NumberColumn("to", format="%.2f", help="95% bound: below 1 means rarer than expected."),
    "deficit": st.column_config.NumberColumn("Lacking", help="How many are missing to the threshold."),
    "test_films": st.column_config.NumberColumn("Test films", help="Test films that match: where a model is judged."),
    "reachable": st.column_config.NumberColumn("Sources", help="Train films that one finding edit turns into a match."),
}


@st.cache_data(max_entries=8, show_spinner="Reading the gaps")
def gap_table(key: tuple[str, ...]) -> pd.DataFrame:
    table = coverage.gap_table(Workspace(key[0]))
    return table.assign(gap=[describe(json.loads(pattern)) for pattern in table["pattern"]])


@st.cache_data(max_entries=8, show_spinner="Counting pairs of findings")
def pairs(key: tuple[str, ...], unit: str, split: str, synthetic: bool) -> Any:
    return coverage.cooccurrence(Workspace(key[0]), unit, split, synthetic)


def forbidden(workspace: Workspace) -> np.ndarray:
    """(14, 14) bool: pairs of findings that the workspace's rules forbid."""
    rules, names = rules_of(workspace), schema.FINDINGS
    return np.array([[bool(why_impossible({a: "present", b: "present"}, rules)) for b in names] for a in names])


@st.cache_data(max_entries=4, show_spinner="Reading the map")
def points(key: tuple[str, ...]) -> pd.DataFrame:
    from cars import embed

    return embed.map_points(Workspace(key[0]), plots.MOST_POINTS)


def controls(workspace: Workspace, found: bool) -> None:
    """What a gap is made of; one button runs the search."""
    start = defaults(workspace, "gaps", coverage.GapsSettings)
    if start is None:
        return
    with st.expander("What counts as a gap", expanded=not found):
        attributes = multiple("Attributes", ATTRIBUTES, start.attributes, "gaps-attributes", "What patterns combine.")
        left, middle, right = st.columns(3)
        with left:
            chosen = setting_widgets("gaps", start, ["threshold", "unit"])
        with middle:
            chosen |= setting_widgets("gaps", start, ["max_order", "values"])
        with right:
            chosen |= setting_widgets("gaps", start, ["split", "include_synthetic"])
        if st.button("Find gaps", type="secondary" if found else "primary", disabled=not attributes):
            submit(workspace, "gaps", {"attributes": attributes, **chosen})
            st.rerun()


def chosen_row(table: pd.DataFrame, picked: Any, drawn: Any) -> pd.Series | None:
    """The gap picked last, in the list or in the figure."""
    rows = picked["selection"]["rows"]
    marks = [p["customdata"] for p in drawn["selection"]["points"] if p.get("customdata")]
    now = (rows, marks)
    before = st.session_state.get("gap-picks", ([], []))
    if rows and rows != before[0]:
        st.session_state["gap"] = table.iloc[rows[0]]["gap_id"]
    elif marks and marks != before[1]:
        mark = marks[0]
        st.session_state["gap"] = mark[0] if isinstance(mark, list) else mark
    st.session_state["gap-picks"] = now
    match = table[table["gap_id"] == st.session_state.get("gap")]
    return match.iloc[0] if len(match) else None


def show_gaps(workspace: Workspace) -> None:
    """The ranked list, the first of them as a figure, and the films of the chosen one."""
    table = gap_table(stamp(workspace, "gaps"))
    if table.empty:
        st.success("No combination has fewer than the threshold. Raise the threshold or name more attributes.")
        return
    verdicts = st.pills(
        "Verdict", list(dict.fromkeys(table["verdict"])), selection_mode="multi", key="gap-verdicts",
        help="Rarer than expected: fewer than its parts would give by chance. Rare as expected: its parts are rare.",
    )  # fmt: skip
    if verdicts:
        table = table[table["verdict"].isin(verdicts)]
    st.caption(f"{len(table):,} gaps, best first. Choose one in the list or in the figure to see its films.")
    picked = st.dataframe(
        table[list(COLUMNS)], hide_index=True, height=318, column_config=COLUMNS, on_select="rerun",
        selection_mode="single-row", key="gap-list",
    )  # fmt: skip
    place = st.container()
    figure = plots.gap_bars(table, source=source_name(workspace))
    drawn = st.plotly_chart(figure, key="gap-figure", on_select="rerun", selection_mode="points", theme=None)
    gap = chosen_row(table, picked, drawn)
    with place:
        if gap is not None:
            one_gap(workspace, gap)


def one_gap(workspace: Workspace, gap: pd.Series) -> None:
    """A gap's evidence, its films, and the films an edit could start from."""
    pattern = json.loads(gap["pattern"])
    with st.container(border=True):
        st.subheader(plain(gap["sentence"]))
        st.write(
            f"{gap['patients']:,} patients, {gap['studies']:,} studies and {gap['films']:,} films match; "
            f"{plots.number(gap['expected'], 1)} expected by chance; verdict: **{gap['verdict']}**. "
            f"{gap['test_films']:,} test films match, so that many judge a model on it. "
            f"{gap['reachable']:,} train films are one finding edit away."
        )
        if gap["editable"] and gap["reachable"]:
            if st.button("Plan edits for this gap", type="primary", key="plan-this"):
                st.session_state["chosen-gaps"] = [gap["gap_id"]]
                st.switch_page("pages/synthesise.py")
        else:
            st.info("No edit can fill this gap: none of its findings can be edited, or no train film is one edit away.")
        with reported():
            same = coverage.films_of_pattern(workspace, pattern, limit=200)
            st.markdown(f"**Films that match** ({len(same):,}{' or more' if len(same) == 200 else ''}, of every split)")
            film_grid(workspace, list(same["dicom_id"]), 12)
            near = coverage.nearest_source_films(workspace, pattern, limit=12)
            if len(near):
                edits = ", ".join(dict.fromkeys(near["direction"] + " " + near["finding"].str.lower()))
                st.markdown(f"**Nearest train films**, one edit away: {edits}")
                film_grid(workspace, list(near["dicom_id"]), 12)


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


def show_map(workspace: Workspace) -> None:
    """The map of films; a box, a lasso or a click shows films and those nearest to them."""
    if not workspace.has("map"):
        st.info("There is no map yet: the films have not been embedded.")
        if st.button("Embed the films", type="primary"):
            submit(workspace, "embed", {})
            st.rerun()
        return
    frame = points(stamp(workspace, "map", "films", "edits"))
    names = ("view", "sex", "age_band", "race", "split", "origin", *schema.FINDING_OF)
    choices = {name: schema.FINDING_OF.get(name, name.replace("_", " ")) for name in names if name in frame}
    colour = st.selectbox("Colour by", list(choices), format_func=choices.get, key="map-colour", width=260)
    figure = plots.film_map(frame, colour, source=source_name(workspace))
    drawn = st.plotly_chart(figure, key="map-figure", on_select="rerun", theme=None)
    ids = [point["customdata"] for point in drawn["selection"]["points"] if point.get("customdata")]
    ids = [value[0] if isinstance(value, list) else value for value in ids]
    if not ids:
        st.caption("Draw around some points, or click one, to see their films.")
        return
    st.markdown(f"**{len(ids):,} chosen films**")
    film_grid(workspace, ids)
    with reported():
        from cars import index

        near = index.nearest(workspace, ids[:20], 12).sort_values("similarity", ascending=False)
        others = near[~near["dicom_id"].isin(ids)]["dicom_id"].drop_duplicates()
        st.markdown("**Nearest other films**")
        film_grid(workspace, list(others.head(12)))


workspace = current()
st.title("Coverage")
if not workspace.has("films"):
    empty("There are no films in this workspace yet.", "overview", "Read a data set on the page Overview")
else:
    st.write("Which combinations of findings, view, sex and age this data set lacks, and whether chance explains it.")
    watch(workspace, "gaps", "embed")
    found = workspace.has("gaps")
    controls(workspace, found)
    shown = st.segmented_control(
        "Show", ["Gaps", "Pairs of findings", "Map"], default="Gaps", required=True, label_visibility="collapsed"
    )
    with reported():
        if shown == "Map":
            show_map(workspace)
        elif shown == "Pairs of findings":
            show_pairs(workspace)
        elif found:
            show_gaps(workspace)
        else:
            st.info("No search has run yet. Press Find gaps; the defaults are sensible for most data sets.")
