"""Coverage, feature space: which test films no train film is near, and what that means for each gap."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from cars import coverage, index, plots
from cars.coverage import space
from cars.coverage.sentences import describe
from cars.errors import WorkspaceError
from cars.workspace import Workspace
from pages import _state
from pages._common import defaults, film_grid, plain, setting_widgets, source_name, stamp, submit
from pages._figure import downloads, figure

GAP_COLUMNS = {
    "rank": st.column_config.NumberColumn("Rank", width="small"),
    "gap": st.column_config.TextColumn("Gap", width=300),
    "basis": st.column_config.TextColumn(
        "Judged by test films that", help="match, or where none does, meet all conditions but one."
    ),
    "n_films": "Test films",
    "n_patients": "Patients",
    "covered": st.column_config.NumberColumn("Within reach", format="%.0f%%", help="Of these test films."),
    "low": st.column_config.NumberColumn("from", format="%.0f%%", help="95% interval; a patient's films as one."),
    "high": st.column_config.NumberColumn("to", format="%.0f%%"),
    "covered_after": st.column_config.NumberColumn(
        "With synthetic", format="%.0f%%", help="With the accepted synthetic films; radii stay those of real films."
    ),
    "mean_distance": st.column_config.NumberColumn("Mean distance", format="%.3f", help="To the nearest train film."),
    "train_films": st.column_config.NumberColumn("Train films", help="That match the gap itself."),
    "vendi": st.column_config.NumberColumn(
        "Their Vendi score", format="%.2f", help="How many clearly different films they amount to."
    ),
    "vendi_random": st.column_config.NumberColumn(
        "Of random films", format="%.2f", help="The Vendi score of as many train films at random."
    ),
}


@st.cache_data(max_entries=2, show_spinner="Reading feature space")
def film_frame(key: tuple[str, ...]) -> pd.DataFrame:
    return space.film_frame(Workspace(key[0]))


@st.cache_data(max_entries=4, show_spinner=False)
def gap_rows(key: tuple[str, ...]) -> pd.DataFrame:
    table = space.listed_gaps(Workspace(key[0]))
    return table.assign(gap=[describe(json.loads(pattern)) for pattern in table["pattern"]])


def percent(table: pd.DataFrame) -> pd.DataFrame:
    """Shares as percentages, for columns that show them so."""
    names = [n for n in ("covered", "low", "high", "covered_after") if n in table]
    return table.assign(**{n: 100 * table[n] for n in names})


def measure_again(workspace: Workspace, start: Any, kind: str) -> None:
    """The settings, and the one button."""
    left, middle, right = st.columns(3)
    with left:
        chosen = setting_widgets("space", start, ["k"])
    with middle:
        chosen |= setting_widgets("space", start, ["neighbours"])
    with right:
        chosen |= setting_widgets("space", start, ["search", "synthetic"])
    if st.button("Measure feature space", type=kind):
        submit(workspace, "space", chosen)
        st.rerun()


def show_space(workspace: Workspace) -> None:
    """Distances, the share within reach, each gap, and the test films that no train film is near."""
    try:
        index.current(workspace)
    except WorkspaceError:
        st.info("The films have no vectors yet. Embed them first; then they can be compared.")
        if st.button("Embed the films", type="primary"):
            submit(workspace, "embed", {})
            st.rerun()
        return
    start = defaults(workspace, "space", space.SpaceSettings)
    if start is None:
        return
    result = space.measured(workspace)
    if result is None:
        st.info(
            "Labels say which combinations are rare; vectors say which test films look like no train film. "
            "Nothing has been measured yet."
        )
        measure_again(workspace, start, "primary")
        return
    if result["stale"]:
        st.warning(f"Since this was measured {result['stale']}. Measure feature space again.")
    frame = film_frame(stamp(workspace, "space_films", "films"))
    frame = frame[coverage.filters.mask(frame, _state.where())] if _state.where() else frame
    source = source_name(workspace)
    shares = space.shares(frame)
    said = space.sentences(shares)
    if not said:
        st.info("There is no test film to judge here.")
    else:
        st.markdown(f"**{plain(said[0])}** {plain(' '.join(said[1:]))}")
    who = "of other patients" if result["neighbours"] == "other-patients" else "of any patient"
    st.caption(
        f"A train film reaches as far as the nearest {result['k']} train films {who}. Films near each "
        f"other look alike to {plain(result['encoder'])}, which is not to say that they show the same disease."
    )
    with st.expander("Measure again", expanded=bool(result["stale"])):
        measure_again(workspace, start, "primary" if result["stale"] else "secondary")
    if len(frame):
        curves = space.curves(frame)
        figure(plots.space_distances(curves, source), "Distances in feature space", curves, "space-distances",
               source=source)  # fmt: skip
        figure(plots.space_shares(shares, source), "Films within reach", shares, "space-shares", source=source)
    show_misses(workspace, frame, source)
    show_gap_rows(workspace, source)
    with st.expander("All figures: precision, recall, density, coverage, Vendi scores"):
        table = workspace.read("space_summary")
        st.dataframe(table, hide_index=True)
        st.caption(
            "Against the train films (Naeem et al. 2020). Expected: of films of the same distribution, or for Vendi "
            "scores of as many random train films. They count all films, whatever the filter."
        )
        downloads("Feature space", table, "space-summary", source=source)


def show_misses(workspace: Workspace, frame: pd.DataFrame, source: str) -> None:
    """Test films out of reach of every train film, the farthest first; a chosen one beside its nearest train film."""
    st.subheader("Test films that no train film is near")
    focus = _state.focus()
    part = frame[coverage.filters.mask(frame, {n: (v,) for n, v in focus.items()})] if focus else frame
    missed = space.near_misses(part)
    among = "; only films of the chosen pattern" if focus else ""
    if missed.empty:
        st.success("There is none." if not focus else f"There is none among {plain(describe(focus))}.")
        return
    patients = missed["subject_id"].nunique()
    st.caption(
        f"{len(missed):,} films of {patients:,} patients, the farthest first{among}. Films of a patient are alike: "
        "count patients. A film may be far for its position, exposure or a device as well as for its disease."
    )
    film_grid(workspace, list(missed["dicom_id"]), 18)
    columns = {
        "dicom_id": "Film", "subject_id": "Patient",
        "distance": st.column_config.NumberColumn("Distance", format="%.3f", help="To the nearest train film."),
        "times": st.column_config.NumberColumn("× radius", format="%.2f", help="Distance ÷ that train film's radius."),
        "nearest_dicom_id": "Nearest train film",
        "covered_after": st.column_config.CheckboxColumn("With synthetic", help="Within reach of a synthetic film."),
    }  # fmt: skip
    with st.expander("As a list, each beside its nearest train film"):
        picked = st.dataframe(
            missed[list(columns)].head(2000), hide_index=True, height=240, column_config=columns, on_select="rerun",
            selection_mode="single-row", key="space-misses",
        )  # fmt: skip
        downloads("Test films out of reach", missed, "space-misses", source=source)
        rows = picked["selection"]["rows"]
        if rows and rows[0] < len(missed):
            row = missed.iloc[rows[0]]
            film_grid(workspace, [row["dicom_id"], row["nearest_dicom_id"]])


def show_gap_rows(workspace: Workspace, source: str) -> None:
    """One row a gap; choosing one makes it the focus."""
    if not workspace.has("space_gaps") or not workspace.has("gaps"):
        st.caption("No gaps were measured: find gaps first, then measure again.")
        return
    st.subheader("Each gap in feature space")
    table = gap_rows(stamp(workspace, "space_gaps", "gaps"))
    shown = {n: c for n, c in GAP_COLUMNS.items() if n != "covered_after" or table["covered_after"].notna().any()}
    st.caption(
        f"{len(table):,} gaps in the order of their rank, whatever the filter. Few test films match one, so intervals "
        "are wide; empty means undefined."
    )
    picked = st.dataframe(
        percent(table[list(shown)].head(5000)), hide_index=True, height=318, column_config=shown, on_select="rerun",
        selection_mode="single-row", key="space-gaps",
    )  # fmt: skip
    downloads("Gaps in feature space", table, "space-gaps", source=source)
    rows = picked["selection"]["rows"]
    if rows and rows[0] < len(table) and st.session_state.get("space-gap-seen") != rows[0]:
        st.session_state["space-gap-seen"] = rows[0]
        chosen = table.iloc[rows[0]]
        _state.set_focus(json.loads(chosen["pattern"]), chosen["gap_id"])
        st.rerun()
