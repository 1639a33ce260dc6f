"""Figures of the map: density by cell for many films, a mark a film for few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..coverage.filmmap import Density, Window
from .base import BLACK, GREY, INK, PALETTE, VERMILION, finish, from_source, safe

#: From few to many, light to dark; readable in grey and by colour-blind readers.
COUNTS = [(0.0, "#DCE9F2"), (0.35, "#7FB2D6"), (0.7, "#0072B2"), (1.0, "#08304B")]
SHARES = [(0.0, "#EEF1F4"), (0.15, "#F6D9B8"), (0.5, "#E08A2E"), (1.0, "#8A2D00")]
TICKS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)


def density_map(
    found: Density, words: str, window: Window, values: Sequence[str] = (), marks: pd.DataFrame | None = None,
    focus: pd.DataFrame | None = None, region: tuple[str, np.ndarray] | None = None, total: int = 0, source: str = "",
    tool: str = "select",
) -> go.Figure:  # fmt: skip
    """Cells of the map, coloured by how many films they hold, by a share of them, or by their commonest value.

    Args:
        found: as `filmmap.density` gives it. words: what the colour says. values: the words of a group's values, where
            `found.commonest` is drawn.
        marks: x, y, row of a sample of films, to be clicked; customdata of a mark is its row. focus: the same of films
            that match the chosen pattern, in `PATTERN_COLOUR`.
        region: kind and corners of a drawn region. total: how many films are counted.
        tool: what dragging does, plotly's select, lasso or pan.
    """
    figure = go.Figure()
    empty = found.count == 0
    bar: dict[str, Any] = {"thickness": 12, "outlinewidth": 0, "len": 0.6, "x": 1.0}
    if found.commonest is not None:
        z = np.where(empty, np.nan, found.commonest).astype(np.float32)
        steps = max(len(values), 1)
        scale = [(k / steps, PALETTE[i % len(PALETTE)]) for i in range(steps) for k in (i, i + 1)]
        limits = (-0.5, steps - 0.5)
        bar |= {"tickvals": list(range(steps)), "ticktext": [safe(v) for v in values]}
    elif found.hits is not None:
        z = np.where(empty, np.nan, found.share).astype(np.float32)
        top = float(np.nanquantile(z, 0.99)) if np.isfinite(z).any() else 1.0
        scale, limits = SHARES, (0.0, max(top, 0.01))
        bar |= {"tickformat": ".0%" if limits[1] >= 0.1 else ".1%"}
    else:
        z = np.where(empty, np.nan, np.log10(np.maximum(found.count, 1))).astype(np.float32)
        top = float(np.nanmax(z)) if np.isfinite(z).any() else 1.0
        scale, limits = COUNTS, (0.0, max(top, 0.5))
        ticks = [t for t in TICKS if np.log10(t) <= limits[1]]
        bar |= {"tickvals": [float(np.log10(t)) for t in ticks], "ticktext": [f"{t:,}" for t in ticks]}
    figure.add_trace(
        go.Heatmap(
            z=z, x=found.x.astype(np.float32), y=found.y.astype(np.float32), colorscale=scale, zmin=limits[0],
            zmax=limits[1], hoverinfo="skip", colorbar={**bar, "title": {"text": _in_a_cell(found), "side": "right"}},
        )
    )  # fmt: skip
    dots = ""
    if marks is not None and len(marks):
        dots = f" Dots are {len(marks):,} of them, to click."
        figure.add_trace(_marks(marks, INK, 5, 0.35, "film, to click"))
    _focus(figure, focus)
    detail = f"{total:,} films{from_source(source)}; a cell's colour: {safe(_small(words))}.{dots}"
    return _dress(figure, words, detail, window, region, tool)


def point_map(
    frame: pd.DataFrame, words: str, window: Window, order: Sequence[str] = (), focus: pd.DataFrame | None = None,
    region: tuple[str, np.ndarray] | None = None, total: int = 0, source: str = "", tool: str = "select",
) -> go.Figure:  # fmt: skip
    """A mark a film.

    Args:
        frame: x, y, row, value (what colours it) and synthetic (bool). order: the values in the order of their colours;
            those that do not occur are left out of the legend. The rest as for `density_map`.
    """
    figure = go.Figure()
    for n, value in enumerate(order or list(dict.fromkeys(frame["value"]))):
        part = frame[frame["value"] == value]
        if len(part):
            synthetic = part["synthetic"].to_numpy(dtype=bool)
            trace = _marks(part, PALETTE[n % len(PALETTE)], 6, 0.75, f"{safe(value)} ({len(part):,})")
            trace.marker.size = np.where(synthetic, 10, 6)
            trace.marker.symbol = np.where(synthetic, "diamond", "circle")
            trace.marker.line = {"width": np.where(synthetic, 1, 0), "color": BLACK}
            trace.showlegend = True
            figure.add_trace(trace)
    _focus(figure, focus)
    drawn = " Diamonds are synthetic." if frame["synthetic"].any() else ""
    return _dress(figure, words, f"{total:,} films{from_source(source)}, a mark each.{drawn}", window, region, tool)


def _marks(frame: pd.DataFrame, colour: str, size: int, opacity: float, name: str) -> go.Scatter:
    return go.Scatter(
        x=frame["x"].to_numpy(np.float32), y=frame["y"].to_numpy(np.float32),
        customdata=frame["row"].to_numpy(np.int32), mode="markers", name=name, showlegend=False,
        hoverinfo="none",  # nothing is shown, but a click is told; "skip" would swallow it
        marker={"size": size, "color": colour, "opacity": opacity},
        selected={"marker": {"opacity": opacity}}, unselected={"marker": {"opacity": opacity}},
    )  # fmt: skip


def _focus(figure: go.Figure, focus: pd.DataFrame | None) -> None:
    """Rings around the films of the chosen pattern."""
    if focus is None or not len(focus):
        return
    trace = _marks(focus, VERMILION, 8, 0.9, f"chosen pattern ({len(focus):,} shown)")
    trace.marker.symbol = "circle-open"
    trace.marker.line = {"width": 1.5}
    trace.showlegend = True
    figure.add_trace(trace)


def _in_a_cell(found: Density) -> str:
    """What the colour bar says, whatever the title's words."""
    if found.commonest is not None:
        return "commonest in a cell"
    return "films in a cell" if found.hits is None else "share of a cell's films"


def _small(words: str) -> str:
    return words[:1].lower() + words[1:]


def _dress(
    figure: go.Figure, words: str, detail: str, window: Window, region: tuple[str, np.ndarray] | None, tool: str
) -> go.Figure:
    figure = finish(figure, f"Films by similarity: {safe(_small(words))}", detail, 620)
    hidden = {"showticklabels": False, "showgrid": False, "zeroline": False, "fixedrange": True}
    figure.update_xaxes(range=list(window[:2]), **hidden)
    figure.update_yaxes(range=list(window[2:]), **hidden)
    if region is not None:
        kind, shape = region
        line = {"color": BLACK, "width": 2, "dash": "dot"}
        if kind == "box":
            (x0, x1), (y0, y1) = shape
            figure.add_shape(type="rect", x0=x0, x1=x1, y0=y0, y1=y1, line=line)
        else:
            path = "M" + "L".join(f"{x:.4f},{y:.4f}" for x, y in shape) + "Z"
            figure.add_shape(type="path", path=path, line=line)
    return figure.update_layout(
        dragmode=tool, clickmode="event+select", legend={"itemsizing": "constant"}, plot_bgcolor="#FBFCFD",
        margin={"b": 10},
        selectionrevision=str(window), newselection={"line": {"color": GREY}},
    )  # fmt: skip
