"""Two workspaces, or one with and without its synthetic films, side by side."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ..coverage.versus import BOTH, CLOSED, OPENED
from ..schema import FINDINGS
from .base import BLUE, GREY, ORANGE, finish, plural, safe, short

#: The sides' colours and marks.
SIDES = ((BLUE, "circle", "first"), (ORANGE, "diamond", "second"))


def share_pairs(table: pd.DataFrame, names: tuple[str, str], unit: str = "patient") -> go.Figure:
    """The share of each side's units with each value, with 95% intervals.

    Args:
        table: as `coverage.count_changes` gives it. names: of the first and the second side.
    """
    findings = table["attribute"].isin(FINDINGS)
    words = [
        f"{row.attribute}" if there else f"{row.attribute.replace('_', ' ')}: {safe(row.value)}"
        for row, there in zip(table.itertuples(), findings)
    ]
    figure = go.Figure()
    for (colour, symbol, side), name in zip(SIDES, names, strict=True):
        share, low, high = (100 * table[f"{c}_{side}"] for c in ("share", "low", "high"))
        n = int(table[f"n_{side}"].max()) if len(table) else 0
        figure.add_trace(
            go.Scatter(
                x=share, y=words, mode="markers", name=f"{safe(name)} (n {n:,})",
                marker={"size": 9, "color": colour, "symbol": symbol, "opacity": 0.85},
                error_x={"type": "data", "symmetric": False, "array": high - share, "arrayminus": share - low,
                         "color": colour, "thickness": 1.5, "width": 3},
                customdata=table[[f"count_{side}", f"n_{side}"]],
                hovertemplate="%{y}<br>%{x:.2f}%: %{customdata[0]:,} of %{customdata[1]:,}<extra>"
                f"{safe(name)}</extra>",
            )
        )  # fmt: skip
    figure = finish(
        figure, "Values and findings on both sides", f"% of the {plural(unit, 2)} of each side; 95% intervals.",
        150 + 24 * len(table),
    )  # fmt: skip
    figure.update_xaxes(ticksuffix="%", rangemode="tozero")
    figure.update_yaxes(range=[len(table) - 0.4, -0.6], type="category")
    return figure


def state_words(states: pd.Series, names: tuple[str, str]) -> pd.Series:
    """The states of `coverage.gap_changes` with the sides' names in place of first and second."""
    return states.map({CLOSED: f"only in {safe(names[0])}", OPENED: f"only in {safe(names[1])}", BOTH: BOTH})


def gap_changes(table: pd.DataFrame, names: tuple[str, str], unit: str = "patient", most: int = 25) -> go.Figure:
    """The gaps whose counts differ most: how many match on each side, and the threshold.

    Args:
        table: as `coverage.gap_changes` gives it; rows whose counts are equal are left out.
    """
    moved = table[table["first"] != table["second"]]
    top = moved.head(most)
    y = [f"{k}. {safe(short(gap, 64))}" for k, gap in enumerate(top["gap"], 1)]
    figure = go.Figure()
    lines_x: list[float | None] = []
    lines_y: list[str | None] = []
    for label, first, second in zip(y, top["first"], top["second"]):
        lines_x += [first, second, None]
        lines_y += [label, label, None]
    figure.add_trace(
        go.Scatter(
            x=lines_x, y=lines_y, mode="lines", line={"color": GREY, "width": 2}, hoverinfo="skip", showlegend=False
        )
    )
    carried = list(zip(top["pattern"], state_words(top["state"], names)))
    for (colour, symbol, side), name in zip(SIDES, names, strict=True):
        figure.add_trace(
            go.Scatter(
                x=top[side], y=y, mode="markers", name=safe(name), customdata=carried,
                marker={"size": 11, "color": colour, "symbol": symbol},
                hovertemplate="%{x:,}; a gap %{customdata[1]}<extra>" + safe(name) + "</extra>",
            )
        )  # fmt: skip
    for threshold in sorted({*table["threshold_first"], *table["threshold_second"]}):
        figure.add_vline(x=threshold, line={"color": GREY, "dash": "dot"})
    counts = state_words(table["state"], names).value_counts()
    detail = "; ".join(f"{n:,} {state}" for state, n in counts.items()) or "no gap on either side"
    figure = finish(
        figure, f"The {len(top):,} gaps whose counts differ most",
        f"{plural(unit, 2)} that match; the dotted line is the threshold. Of {len(table):,} gaps: {detail}.",
        170 + 26 * max(len(top), 1),
    )  # fmt: skip
    figure.update_yaxes(range=[max(len(top), 1) - 0.4, -0.6], type="category")
    return figure.update_layout(clickmode="event+select")
