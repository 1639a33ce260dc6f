"""Combinations of findings as an UpSet plot: bars for how often, dots for which findings, sizes at the left.

After "UpSet: Visualization of Intersecting Sets" (Lex et al., IEEE TVCG 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .base import BLUE, GREY, INK, PALE, VERDICTS, finish, of_units, plural

NOTHING = "none of the 14"
SHARE_SCALE = [(0.0, "#D6E4EF"), (1.0, "#B34700")]


def upset(
    table: pd.DataFrame, sizes: pd.Series, n: int, unit: str = "patient", most: int = 25, colour: str = "count",
    chosen: int | None = None, source: str = "",
) -> go.Figure:  # fmt: skip
    """The most frequent combinations of findings, each exactly as it occurs.

    Args:
        table: as `coverage.combinations_of` gives it. sizes: finding → units that show it (`finding_counts`).
        n: how many units there are. most: how many combinations are drawn.
        colour: "count" (one colour), "verdict", or a split's name (its share of the combination's films).
        chosen: the code of a combination that is outlined.

    A bar is chosen through a nearly transparent one of full height; its customdata is the combination's code.
    """
    top = table.head(most)
    x = np.arange(len(top))
    order = list(sizes.sort_values(kind="stable", ascending=False).index)
    place = {finding: row for row, finding in enumerate(order)}
    members = [[place[f] for f in text.split("; ") if f] for text in top["findings"]]
    wide = colour in top and colour not in ("count", "verdict")  # a colour bar takes room from the names
    figure = make_subplots(
        rows=2, cols=2, shared_xaxes="columns", shared_yaxes="rows", column_widths=[0.17, 0.83],
        row_heights=[0.42, 0.58], horizontal_spacing=0.25 if wide else 0.21, vertical_spacing=0.02,
    )  # fmt: skip
    for trace in _bars(top, x, colour):
        figure.add_trace(trace, 1, 2)
    tall = float(top["count"].max()) if len(top) else 1.0
    words = [
        f"{text.replace('; ', ', ') or NOTHING}: {count:,} {plural(unit, count)}, {films:,} films; {verdict}"
        for text, count, films, verdict in zip(top["findings"], top["count"], top["films"], top["verdict"])
    ]
    figure.add_trace(
        go.Bar(
            x=x, y=np.full(len(top), tall * 1.12), customdata=top["code"], hovertext=words,
            hovertemplate="%{hovertext}<extra></extra>", marker={"color": "rgba(0,0,0,0.004)"}, showlegend=False,
            selected={"marker": {"color": "rgba(0,0,0,0.08)"}}, unselected={"marker": {"opacity": 1}},
        ), 1, 2,
    )  # fmt: skip
    for row in range(0, len(order), 2):
        figure.add_hrect(row - 0.5, row + 0.5, fillcolor="#F5F7FA", line_width=0, layer="below", row=2, col="all")
    grid_x, grid_y = np.meshgrid(x, np.arange(len(order)))
    dots = {"mode": "markers", "hoverinfo": "skip", "showlegend": False}
    figure.add_trace(go.Scatter(x=grid_x.ravel(), y=grid_y.ravel(), marker={"size": 7, "color": PALE}, **dots), 2, 2)
    lines_x: list[float | None] = []
    lines_y: list[float | None] = []
    for k, rows in enumerate(members):
        if len(rows) > 1:
            lines_x += [k, k, None]
            lines_y += [min(rows), max(rows), None]
    line = {"color": INK, "width": 2}
    figure.add_trace(
        go.Scatter(x=lines_x, y=lines_y, mode="lines", line=line, hoverinfo="skip", showlegend=False), 2, 2
    )
    filled = [(k, row) for k, rows in enumerate(members) for row in rows]
    figure.add_trace(
        go.Scatter(x=[k for k, _ in filled], y=[r for _, r in filled], marker={"size": 10, "color": INK}, **dots), 2, 2
    )
    figure.add_trace(
        go.Bar(
            x=[sizes[f] for f in order], y=np.arange(len(order)), orientation="h", marker={"color": GREY},
            text=[f"{sizes[f]:,}" for f in order], textposition="outside", cliponaxis=False, hoverinfo="skip",
            showlegend=False, textfont={"size": 11},
        ), 2, 1,
    )  # fmt: skip
    for k in np.flatnonzero(top["code"] == chosen) if chosen is not None else ():
        for row in (1, 2):
            figure.add_vrect(k - 0.5, k + 0.5, line={"color": INK, "width": 2}, row=row, col=2)
    figure = finish(
        figure, "Combinations of findings, exactly as they occur on a film",
        f"{len(top):,} of {len(table):,} combinations; {of_units(n, unit, source)}. Choose a bar to see its films.",
        690, None,
    )  # fmt: skip
    biggest = float(sizes.max()) if len(sizes) else 1.0
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False)
    figure.update_xaxes(range=[max(biggest, 1) * 1.5, 0], row=2, col=1)
    figure.update_xaxes(range=[-0.6, max(len(top), 1) - 0.4], col=2)
    figure.update_yaxes(range=[0, tall * 1.12], title=plural(unit, 2), showticklabels=True, row=1, col=2)
    figure.update_yaxes(range=[len(order) - 0.5, -0.5], showgrid=False, zeroline=False, row=2)
    figure.update_yaxes(
        tickvals=list(range(len(order))), ticktext=order, showticklabels=True, row=2, col=2, side="left"
    )
    figure.update_yaxes(showticklabels=False, row=2, col=1)
    figure.update_yaxes(visible=False, row=1, col=1)
    figure.update_xaxes(visible=False, row=1, col=1)
    return figure.update_layout(barmode="overlay", clickmode="event+select", dragmode=False, bargap=0.25)


def _bars(top: pd.DataFrame, x: np.ndarray, colour: str) -> list[go.Bar]:
    """The visible bars: one trace, or one a verdict."""
    # thousands as 8.6k, so that neighbours' numbers do not touch; the exact ones are in the hover text and the CSV
    text = [f"{count:,}" if count < 1000 else f"{count / 1000:.1f}k" for count in top["count"]]
    common: dict[str, Any] = {"textposition": "outside", "cliponaxis": False, "hoverinfo": "skip"}
    common["constraintext"] = "none"
    common["textangle"] = -90 if len(top) > 20 and top["count"].max() >= 1000 else 0
    common["textfont"] = {"size": 10}
    if colour == "verdict":
        traces = []
        for verdict in dict.fromkeys(top["verdict"]):
            at = np.flatnonzero(top["verdict"] == verdict)
            shade = VERDICTS.get(verdict, ("#3E7CB1", ""))[0] if verdict != "no gap" else "#A9C6DC"
            traces.append(
                go.Bar(x=x[at], y=top["count"].iloc[at], text=[text[k] for k in at], name=verdict,
                       marker={"color": shade}, **common)
            )  # fmt: skip
        return traces
    if colour in top and colour != "count":
        share = 100 * top[colour] / top["films"]
        bar = {"title": {"text": f"% in {colour}"}, "thickness": 10, "len": 0.38, "y": 0.8, "outlinewidth": 0}
        marker: dict[str, Any] = {"color": share, "colorscale": SHARE_SCALE, "colorbar": bar, "cmin": 0}
        marker["cmax"] = max(float(share.max()), 1.0) if len(share) else 1.0
        return [go.Bar(x=x, y=top["count"], text=text, marker=marker, showlegend=False, **common)]
    return [go.Bar(x=x, y=top["count"], text=text, marker={"color": BLUE}, showlegend=False, **common)]
