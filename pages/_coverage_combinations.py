"""Coverage, combinations of findings: an UpSet plot; a bar becomes the chosen pattern and shows its films."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cars import coverage, plots
from cars.coverage.rules import rules_of
from cars.coverage.views import codes_of, members_of
from cars.workspace import Workspace
from pages import _state
from pages._common import film_grid, plain, source_name, stamp
from pages._coverage_filter import choose, films, key_of
from pages._coverage_pairs import counting
from pages._figure import figure, marks

COLOURS = {
    "count": "nothing", "verdict": "verdict", "train": "share in train", "validate": "share in validate",
    "test": "share in test",
}  # fmt: skip
MOST = ("15", "25", "40", "60")


@st.cache_data(max_entries=24, show_spinner="Counting combinations")
def combinations(
    key: tuple[str, ...], gaps: tuple[str, ...], where: str, unit: str, split: str, synthetic: bool
) -> tuple[pd.DataFrame, pd.Series, int]:
    workspace = Workspace(key[0])
    kept = films(workspace, split, synthetic)
    verdicts = {}
    if workspace.has("gaps"):
        table = coverage.gap_table(workspace)
        verdicts = dict(zip(table["pattern"], table["verdict"]))
    table = coverage.combinations_of(kept, unit, rules_of(workspace), verdicts)
    return table, coverage.finding_counts(kept, unit), kept.units(unit)


def _picked(workspace: Workspace) -> None:
    codes = marks("combination-figure")
    if codes:
        code = int(codes[0][0] if isinstance(codes[0], list) else codes[0])
        _state.write(combination=str(code))
        choose(workspace, dict.fromkeys(members_of(code), "present"))


def chosen_code() -> int | None:
    """The chosen combination in the URL; None when there is none or it is no number."""
    text = _state.read("combination")
    return int(text) if text.isdecimal() and int(text) < 2**14 else None


def show_combinations(workspace: Workspace) -> None:
    """The most frequent combinations of findings, exactly as they occur."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        unit, split, synthetic = counting()
        colour = _state.selectbox("Colour by", list(COLOURS), "bars", words=COLOURS.__getitem__)
        most = int(_state.selectbox("Bars", MOST, "most", default="25", width=100))
    key = key_of(workspace, synthetic)
    table, sizes, n = combinations(key, stamp(workspace, "gaps"), _state.read("where"), unit, split, synthetic)
    if not n:
        st.info("There is no film to count here.")
        return
    source, code = source_name(workspace), chosen_code()
    figure(
        plots.upset(table, sizes, n, unit, most, colour, code, source), "Combinations of findings", table,
        "combination-figure", n=n, unit=unit, source=source, on_select=lambda: _picked(workspace),
        selection_mode="points",
    )  # fmt: skip
    if unit == "patient":
        st.caption("A patient whose films differ counts for each of their combinations.")
    if colour == "verdict":
        st.caption("The colour is the verdict of the gap whose pattern is exactly these findings, if there is one.")
    if code is not None:
        kept = films(workspace, split, synthetic)
        exactly = codes_of(kept) == code
        names = members_of(code)
        st.subheader("Films with exactly " + (plain(", ".join(names)) if names else "none of the 14 findings present"))
        ids, count = kept.ids(exactly)
        st.caption(
            f"{count:,} real films. As a pattern, these findings also match films that show more; the heat map and the "
            "gaps count those too."
        )
        film_grid(workspace, ids)
