"""Figures of coverage: pairs of findings, the map of films, the gaps, and coverage before and after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..coverage import CoOccurrence
from ..coverage.sentences import describe
from .base import (
    GREY,
    INK,
    VERDICTS,
    finish,
    from_source,
    of_units,
    plural,
    safe,
    short,
)


def cooccurrence(
    found: CoOccurrence, kind: str, unit: str = "patient", impossible: np.ndarray | None = None, source: str = "",
    focus: Mapping[str, str] | None = None,
) -> go.Figure:  # fmt: skip
    """A heat map of how often two findings are present together.

    Args:
        found: as `coverage.cooccurrence` gives it.
        kind: "observed", "expected" or "ratio". A ratio of pairs that are neither seen nor expected once is left out.
        impossible: (k, k) bool, pairs that a rule forbids; they are crossed out and never coloured.
        focus: the chosen pattern; the cells of each two findings that are present in it are outlined.

    A cell is selected through a nearly transparent square on it, since plotly reports no click on a heat map; its
    customdata is (row name, column name).
    """
    names, n = found.names, found.n
    values = np.array(getattr(found, kind), dtype=float)
    forbidden = np.zeros(values.shape, dtype=bool) if impossible is None else impossible & (found.observed == 0)
    if kind == "ratio":
        values[(found.expected < 1) & (found.observed < 1)] = np.nan
    values[forbidden] = np.nan
    k = len(names)
    np.fill_diagonal(values, np.nan)
    cell = int(np.clip(620 / max(k, 1), 15, 44))
    side = cell * k
    if kind == "ratio":
        # halving and doubling look equally strong; 0 gets the lowest colour
        colours = np.log2(np.clip(values, 1 / 8, 8))
        scale: Any = [(0.0, "#B34700"), (0.25, "#F3B48B"), (0.5, "#F7F7F7"), (0.75, "#8FBFDD"), (1.0, "#00507D")]
        words = ["⅛ or less", "¼", "½", "as expected", "2×", "4×", "8× or more"]
        bar = {"tickvals": [-3, -2, -1, 0, 1, 2, 3], "ticktext": words}
        limits = (-3.0, 3.0)
        what = "together, relative to chance"
    else:
        colours = np.log10(values + 1)
        scale = [(0.0, "#FFFFFF"), (1.0, "#00507D")]
        top = max(float(np.nanmax(colours)) if np.isfinite(colours).any() else 1.0, 0.5)
        ticks = [t for t in (0, 1, 10, 100, 1_000, 10_000, 100_000) if np.log10(t + 1) <= top]
        bar = {"tickvals": [float(np.log10(t + 1)) for t in ticks], "ticktext": [f"{t:,}" for t in ticks]}
        limits = (0.0, top)
        what = "seen together" if kind == "observed" else "expected together by chance"
    heat = go.Heatmap(
        z=colours, x=list(names), y=list(names), zmin=limits[0], zmax=limits[1], colorscale=scale, xgap=1, ygap=1,
        hoverinfo="skip", colorbar={**bar, "thickness": 12, "outlinewidth": 0, "len": min(1.0, 260 / side)},
    )  # fmt: skip
    rows, columns = np.nonzero(np.isfinite(values))
    shown = [f"{values[r, c]:.2f}×" if kind == "ratio" else f"{values[r, c]:,.0f}" for r, c in zip(rows, columns)]
    pairs = [(names[r], names[c]) for r, c in zip(rows, columns)]
    marks = go.Scatter(
        x=[pair[1] for pair in pairs], y=[pair[0] for pair in pairs], customdata=pairs, mode="markers",
        marker={"symbol": "square", "size": cell - 2, "color": "rgba(0,0,0,0.004)", "line": {"width": 0}},
        selected={"marker": {"opacity": 1, "color": "rgba(0,0,0,0.35)"}}, unselected={"marker": {"opacity": 1}},
        text=[f"{a} with {b}: {value}" for (a, b), value in zip(pairs, shown)], hoverinfo="text", showlegend=False,
    )  # fmt: skip
    crossed = [(names[r], names[c]) for r, c in zip(*np.nonzero(forbidden))]
    crosses = go.Scatter(
        x=[pair[1] for pair in crossed], y=[pair[0] for pair in crossed], mode="markers", showlegend=False,
        marker={"symbol": "x-thin", "size": cell * 0.35, "line": {"width": 1, "color": "#B8BEC7"}},
        text=[f"{a} with {b}: impossible by a rule" for a, b in crossed], hoverinfo="text",
    )  # fmt: skip
    figure = go.Figure([heat, crosses, marks])
    at = [k for k, name in enumerate(names) if (focus or {}).get(name) == "present"]
    for row, column in ((r, c) for r in at for c in at if r != c):
        figure.add_shape(
            type="rect", x0=column - 0.5, x1=column + 0.5, y0=row - 0.5, y1=row + 0.5,
            line={"color": INK, "width": 2.5},
        )  # fmt: skip
    units = plural(unit, 2)
    label = {"observed": units, "expected": f"expected {units}", "ratio": "seen ÷ expected"}[kind]
    figure = finish(
        figure, f"Findings {what}", f"{label}; {of_units(n, unit, source)}. × impossible. Choose a cell to see films.",
        side + 250, side + 330,
    )  # fmt: skip
    figure.update_xaxes(tickangle=-45, showgrid=False, constrain="domain", type="category")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", scaleanchor="x")
    return figure.update_layout(clickmode="event+select", dragmode=False)


def gap_bars(gaps: pd.DataFrame, most: int = 15, source: str = "") -> go.Figure:
    """The top gaps: how many there are, how many were expected, and the threshold.

    Args:
        gaps: rows of the table `gaps`, best rank first. customdata of a mark is the gap_id.
    """
    top = gaps.head(most)
    unit = str(top["unit"].iloc[0]) if len(top) else "patient"
    threshold = float(top["threshold"].iloc[0]) if len(top) else 0.0
    y = [f"{rank}. {safe(short(describe(json.loads(pattern))))}" for rank, pattern in zip(top["rank"], top["pattern"])]
    figure = go.Figure()
    lines_x: list[float | None] = []
    lines_y: list[str | None] = []
    for label, count, expected in zip(y, top["count"], top["expected"]):
        lines_x += [count, expected, None]
        lines_y += [label, label, None]
    figure.add_trace(
        go.Scatter(
            x=lines_x, y=lines_y, mode="lines", line={"color": GREY, "width": 2}, hoverinfo="skip", showlegend=False
        )
    )
    figure.add_trace(
        go.Scatter(
            x=top["expected"], y=y, mode="markers", name="expected", hoverinfo="skip",
            marker={"symbol": "line-ns-open", "size": 14, "color": INK, "line": {"width": 2}},
        )
    )  # fmt: skip
    for verdict, part in top.groupby("verdict", sort=False):
        colour, symbol = VERDICTS.get(str(verdict), (GREY, "circle"))
        figure.add_trace(
            go.Scatter(
                x=part["count"], y=[y[i] for i in np.flatnonzero((top["verdict"] == verdict).to_numpy())],
                customdata=part["gap_id"], mode="markers+text", name=f"seen: {verdict}", text=part["count"],
                textposition="middle left", marker={"size": 12, "color": colour, "symbol": symbol},
                hovertext=part["sentence"].map(safe), hovertemplate="%{hovertext}<extra></extra>",
            )
        )  # fmt: skip
    figure.add_vline(x=threshold, line={"color": GREY, "dash": "dot"})
    figure.add_annotation(
        x=threshold, y=1, yref="paper", yanchor="bottom", text=f"threshold {threshold:g}", showarrow=False,
        font={"size": 11, "color": "#52606D"},
    )  # fmt: skip
    figure = finish(
        figure, f"The {len(top)} gaps that rank first",
        f"{plural(unit, 2)} that match, against the number expected; {len(gaps):,} gaps{from_source(source)}.",
        170 + 30 * len(top),
    )  # fmt: skip
    figure.update_layout(clickmode="event+select", legend={"y": -0.04, "yanchor": "top"})
    span = float(np.nanmax([threshold, top["expected"].max(), 1.0])) if len(top) else 1.0
    figure.update_xaxes(range=[-0.09 * span, 1.08 * span], zeroline=True)
    figure.update_yaxes(categoryorder="array", categoryarray=y[::-1], type="category")
    return figure
