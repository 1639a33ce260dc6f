"""Coverage, the gaps: what counts as one, the ranked list, and one gap's evidence and films."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from cars import coverage, plots, schema
from cars.coverage.sentences import describe
from cars.workspace import Workspace
from pages._common import (
    defaults,
    film_grid,
    multiple,
    plain,
    reported,
    setting_widgets,
    source_name,
    stamp,
    submit,
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


def controls(workspace: Workspace, found: bool) -> None:
    """What a gap is made of; one button runs the search."""
    start = defaults(workspace, "gaps", coverage.GapsSettings)
    if start is None:
        return
    with st.expander("What counts as a gap", expanded=not found):
        offered = [*ATTRIBUTES, *(["concepts"] if workspace.has("concepts") else [])]
        attributes = multiple("Attributes", offered, start.attributes, "gaps-attributes", "What patterns combine.")
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
        if any(name.startswith(schema.CONCEPT) for name in pattern):
            st.info("No edit can fill this gap: it names what a report says, and an edited film has none.")
        elif gap["editable"] and gap["reachable"]:
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
