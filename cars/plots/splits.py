"""t-way coverage of each split: how many of the possible combinations are there at all, or often enough."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .base import PALETTE, finish, plural, safe

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")


def tway_panels(
    table: pd.DataFrame, unit: str = "patient", source: str = "", side: str = "split", title: str = "",
    members: Mapping[str, int] | None = None,
) -> go.Figure:  # fmt: skip
    """Share of the possible combinations of t attribute values that at least m units of each split match.

    Args:
        table: t, m, covered, possible, share, and the column `side` (the splits, or the two workspaces compared).
        members: units of each split or side, for the legend.
    """
    ts = sorted(table["t"].unique())
    titles = []
    for t in ts:
        possible = sorted({int(p) for p in table.loc[table["t"] == t, "possible"]})
        words = f"{possible[0]:,}" if len(possible) == 1 else f"{possible[0]:,} to {possible[-1]:,}"
        titles.append(f"{t} value{'s' if t > 1 else ''}: of {words}")
    figure = make_subplots(cols=max(len(ts), 1), shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.03)
    sides = list(dict.fromkeys(table[side]))
    tip = "%{x:.1f}%, %{customdata[0]:,} of %{customdata[1]:,}<extra></extra>"
    for k, name in enumerate(sides):
        words = safe(name) + (f" (n {members[name]:,})" if members and name in members else "")
        colour, symbol = PALETTE[k % len(PALETTE)], SYMBOLS[k % len(SYMBOLS)]
        for column, t in enumerate(ts, 1):
            part = table[(table["t"] == t) & (table[side] == name)].sort_values("m")
            figure.add_trace(
                go.Scatter(
                    x=100 * part["share"], y=[f"{m:,} or more" for m in part["m"]], mode="lines+markers",
                    name=words, legendgroup=safe(name), showlegend=column == 1,
                    line={"color": colour, "width": 1}, marker={"size": 10, "symbol": symbol},
                    customdata=part[["covered", "possible"]],
                    hovertemplate=f"{safe(name)}: {tip}",
                ), 1, column,
            )  # fmt: skip
    figure = finish(
        figure, title or "Share of the possible combinations that each split covers",
        f"A combination is covered when so many {plural(unit, 2)} match it.{source and f' Source: {safe(source)}.'}",
        190 + 44 * table["m"].nunique(),
    )  # fmt: skip
    figure.update_xaxes(range=[-3, 103], ticksuffix="%", nticks=5)
    figure.update_yaxes(type="category", col=1, title=plural(unit, 2))
    figure.update_layout(legend={"y": -0.16, "yanchor": "top"})
    return figure
