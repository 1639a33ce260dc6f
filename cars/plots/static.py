"""A figure as a picture without a browser, for documents: what plotly drew, drawn once more by matplotlib.

Only what the figures of results are made of is understood: lines, markers, bands, intervals, heat maps, straight lines
and notes. Anything else raises, so that a figure is never printed with a part missing. Text is in DejaVu Sans, which
matplotlib carries, so every machine prints the same.
"""

from __future__ import annotations

import io
import re
import textwrap
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ..errors import DataError
from .base import INK, PALE

#: Pixels of the figure's layout to an inch, and of a note's size to a point.
PER_INCH, POINT = 100.0, 0.72
WIDTH = 760
SYMBOLS = {
    "circle": ("o", True), "circle-open": ("o", False), "square": ("s", True), "diamond": ("D", True), "x": ("X", True),
    "triangle-up": ("^", True), "triangle-down": ("v", True), "cross": ("P", True),
}  # fmt: skip
DASHES = {
    None: "-", "solid": "-", "dash": "--", "dot": ":", "dashdot": "-.", "longdash": (0, (9, 3)),
    "longdashdot": (0, (9, 3, 2, 3)),
}  # fmt: skip


def png(figure: go.Figure, width: int = WIDTH, dpi: int = 200) -> bytes:
    """The figure as a PNG, `width` layout pixels wide (1/100 inch each) at `dpi` dots an inch.

    Raises: DataError for a kind of trace that is not understood.
    """
    import matplotlib

    with matplotlib.rc_context({"font.family": "DejaVu Sans", "axes.unicode_minus": True}):
        drawn = _Drawing(figure, width)
        stream = io.BytesIO()
        drawn.canvas.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
        return stream.getvalue()


class _Axis:
    """One axis of a panel: its place, its order of categories, and its range."""

    def __init__(self, layout: Any, letter: str, number: str) -> None:
        self.spec = layout[f"{letter}axis{number}"]
        self.letter, self.id = letter, f"{letter}{number}"
        self.domain = tuple(self.spec.domain or (0, 1))
        self.categories: list[str] = list(self.spec.categoryarray) if self.spec.categoryarray is not None else []
        self.categorical = self.spec.type == "category"

    def place(self, values: Any) -> np.ndarray:
        """Numbers for values; a category's is its position, and one not seen before is the next."""
        given = list(values) if values is not None else []
        if not self.categorical and any(isinstance(v, str) for v in given):
            self.categorical = True
        if not self.categorical:
            return np.array([np.nan if v is None else v for v in given], dtype=float)
        for value in given:
            if value not in self.categories:
                self.categories.append(value)
        return np.array([self.categories.index(v) for v in given], dtype=float)


class _Drawing:
    """A plotly figure on a matplotlib canvas."""

    def __init__(self, figure: go.Figure, width: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.layout, self.width = figure.layout, width
        margin = figure.layout.margin
        self.title = _lines(figure.layout.title.text or "", 95)
        self.subtitle = _lines(figure.layout.title.subtitle.text or "", 112)
        spare = 16 * max(0, len(self.subtitle) - (figure.layout.title.subtitle.text or "").count("<br>") - 1)
        self.top, self.bottom, self.right = (margin.t or 84) + spare, margin.b or 44, 18.0
        self.height = (figure.layout.height or 450) + spare
        self.canvas = Figure(figsize=(width / PER_INCH, self.height / PER_INCH), facecolor="white")
        FigureCanvasAgg(self.canvas)
        self.legend: dict[str, Any] = {}
        self.panels: dict[tuple[str, str], tuple[Any, _Axis, _Axis]] = {}
        for name in figure.layout:  # a panel may hold a note only
            if name.startswith("xaxis"):
                self._panel(name.replace("axis", ""), figure.layout[name].anchor or "y")
        for trace in figure.data:
            self._trace(trace)
        for axes, x, y in self.panels.values():
            self._finish(axes, x, y)
        self._shapes()
        self._arrange()
        self._notes()
        self._words()

    def _panel(self, x: str, y: str) -> tuple[Any, _Axis, _Axis]:
        if (x, y) not in self.panels:
            axes = self.canvas.add_axes((0.1, 0.1, 0.8, 0.8))
            self.panels[x, y] = (axes, _Axis(self.layout, "x", x[1:]), _Axis(self.layout, "y", y[1:]))
        return self.panels[x, y]

    # Traces ---------------------------------------------------------------------------------------------------------

    def _trace(self, trace: Any) -> None:
        if trace.type not in ("scatter", "heatmap"):
            raise DataError(f"A {trace.type} cannot be printed.", "Add it to cars/plots/static.py.")
        axes, x_axis, y_axis = self._panel(trace.xaxis or "x", trace.yaxis or "y")
        if trace.type == "heatmap":
            return self._heatmap(axes, x_axis, y_axis, trace)
        x, y = x_axis.place(trace.x), y_axis.place(trace.y)
        mode, colour = trace.mode or "lines", trace.line.color or trace.marker.color or INK
        handle = None
        if trace.fill == "toself":
            axes.fill(x, y, color=_colour(trace.fillcolor), linewidth=0, zorder=1)
            return None
        if "text" in mode:
            lift = 10 if str(trace.textposition or "").startswith("top") else 0
            for place, text in zip(zip(x, y), trace.text):
                axes.annotate(
                    _plain(text), place, (0, POINT * lift), textcoords="offset points", ha="center", va="center",
                    fontsize=POINT * (trace.textfont.size or 11), color=_colour(trace.textfont.color or INK), zorder=4,
                )  # fmt: skip
            return None
        if "lines" in mode:
            (handle,) = axes.plot(
                x, y, color=_colour(colour), linestyle=DASHES[trace.line.dash], zorder=2,
                linewidth=POINT * (2 if trace.line.width is None else trace.line.width),
                drawstyle="steps-mid" if trace.line.shape == "hvh" else "default",
            )  # fmt: skip
        self._errors(axes, x, y, trace, colour)
        if "markers" in mode and trace.opacity != 0:
            symbol, filled = SYMBOLS[trace.marker.symbol or "circle"]
            own = _colour(trace.marker.color or colour)
            (marks,) = axes.plot(
                x, y, linestyle="none", marker=symbol, markersize=POINT * (trace.marker.size or 8), color=own, zorder=4,
                markerfacecolor=own if filled else "white", markeredgewidth=0.5 if filled else 1.4,
            )  # fmt: skip
            handle = (handle, marks) if handle is not None else marks
        if handle is not None and trace.showlegend is not False and trace.name:
            self.legend.setdefault(_plain(trace.name), handle)
        return None

    @staticmethod
    def _errors(axes: Any, x: np.ndarray, y: np.ndarray, trace: Any, colour: str) -> None:
        for name, error in (("xerr", trace.error_x), ("yerr", trace.error_y)):
            if error.array is not None:
                ends = np.array([error.arrayminus, error.array], dtype=float)
                axes.errorbar(
                    x, y, **{name: np.nan_to_num(ends)}, linestyle="none", ecolor=_colour(error.color or colour),
                    elinewidth=POINT * (error.thickness or 1.5), capsize=POINT * (error.width or 0) / 2, zorder=3,
                )  # fmt: skip

    @staticmethod
    def _heatmap(axes: Any, x_axis: _Axis, y_axis: _Axis, trace: Any) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        x_axis.categorical = y_axis.categorical = True
        xs, ys = x_axis.place(trace.x), y_axis.place(trace.y)
        colours = LinearSegmentedColormap.from_list("scale", [(at, colour) for at, colour in trace.colorscale])
        z = np.array([[np.nan if v is None else v for v in row] for row in trace.z], dtype=float)
        edges = [np.append(v, v[-1] + 1) - 0.5 for v in (xs, ys)]
        axes.pcolormesh(*edges, np.ma.masked_invalid(z), cmap=colours, vmin=trace.zmin, vmax=trace.zmax,
                        edgecolors="white", linewidth=1.5)  # fmt: skip
        for r, row in enumerate(trace.text if trace.text is not None else []):
            for c, text in enumerate(row):
                if not np.isnan(z[r, c]):
                    axes.text(xs[c], ys[r], text, ha="center", va="center", fontsize=POINT * 11, color=INK)

    # Axes, lines and notes --------------------------------------------------------------------------------------------

    def _finish(self, axes: Any, x: _Axis, y: _Axis) -> None:
        for side in ("top", "right", "left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=POINT * 11, colors=INK)
        for axis in (x, y):
            of_axes = axes.xaxis if axis is x else axes.yaxis
            limits = axes.set_xlim if axis is x else axes.set_ylim
            if axis.spec.gridcolor != "white":
                of_axes.grid(True, color=PALE, linewidth=0.6)
            if axis.categorical:
                of_axes.set_ticks(range(len(axis.categories)), [_plain(c) for c in axis.categories])
                order = (-0.6, len(axis.categories) - 0.4)
                limits(*(order[::-1] if axis.spec.autorange == "reversed" else order))
            elif axis.spec.range is not None:
                limits(*axis.spec.range)
            elif axis.spec.rangemode == "tozero":
                limits(0, None)
            if axis.spec.ticksuffix and not axis.categorical:
                of_axes.set_major_formatter(lambda v, _, end=axis.spec.ticksuffix: f"{v:g}{end}")
            elif axis.spec.tickformat and axis.spec.tickformat.startswith("+"):
                of_axes.set_major_formatter(lambda v, _: "0" if abs(v) < 1e-12 else f"{v:+.3g}".replace("-", "−"))
            if axis.spec.title.text:
                label = axes.set_xlabel if axis is x else axes.set_ylabel
                label(_plain(axis.spec.title.text), fontsize=POINT * 12, color=INK)
            if axis.spec.showticklabels is False or (axis is y and axis.spec.matches and y.domain and x.domain[0] > 0):
                of_axes.set_ticklabels([])
        if x.spec.side == "top":
            axes.xaxis.tick_top()

    def _shapes(self) -> None:
        for shape in self.layout.shapes:
            if shape.type != "line":
                raise DataError(f"A {shape.type} cannot be printed.", "Add it to cars/plots/static.py.")
            axes = self._of(shape.xref, shape.yref)
            style = {"color": _colour(shape.line.color or INK), "linewidth": POINT * (shape.line.width or 1),
                     "linestyle": DASHES[shape.line.dash], "zorder": 1.5}  # fmt: skip
            if shape.yref.endswith("domain"):
                axes.axvline(shape.x0, **style)
            elif shape.xref.endswith("domain"):
                axes.axhline(shape.y0, **style)
            else:
                axes.plot([shape.x0, shape.x1], [shape.y0, shape.y1], **style)

    def _of(self, xref: str, yref: str) -> Any:
        """The axes that references such as "x2" and "y2 domain" mean."""
        x, y = xref.split()[0], yref.split()[0]
        return next(axes for (one, other), (axes, _, _) in self.panels.items() if x == one or y == other)

    def _arrange(self) -> None:
        """Place the panels, as far to the left as their labels allow."""
        left, renderer = 10.0, self.canvas.canvas.get_renderer()
        scale = PER_INCH / self.canvas.dpi
        for _ in range(2):  # the second time with the width that the first left
            self._place(left)
            reach = [
                axes.get_tightbbox(renderer).x0 * scale for axes, x, _ in self.panels.values() if x.domain[0] < 0.01
            ]
            left += 10.0 - min(reach, default=10.0)
        self.left = left
        self._place(left)

    def _place(self, left: float) -> None:
        wide, high = self.width - left - self.right, self.height - self.top - self.bottom
        for axes, x, y in self.panels.values():
            axes.set_position(
                (
                    (left + x.domain[0] * wide) / self.width, (self.bottom + y.domain[0] * high) / self.height,
                    (x.domain[1] - x.domain[0]) * wide / self.width, (y.domain[1] - y.domain[0]) * high / self.height,
                )
            )  # fmt: skip

    def _notes(self) -> None:
        from matplotlib.transforms import ScaledTranslation

        wide, high = self.width - self.left - self.right, self.height - self.top - self.bottom
        for note in self.layout.annotations:
            shift = ScaledTranslation(
                (note.xshift or 0) / PER_INCH, (note.yshift or 0) / PER_INCH, self.canvas.dpi_scale_trans
            )
            anchors = {"left": "left", "right": "right", "top": "top", "bottom": "bottom"}
            style = {
                "fontsize": POINT * (note.font.size or 12), "color": _colour(note.font.color or INK), "zorder": 6,
                "ha": anchors.get(note.xanchor, "center"), "va": anchors.get(note.yanchor, "center"),
            }  # fmt: skip
            if note.bgcolor:
                style["bbox"] = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 0.5}
            xref, yref = note.xref or "x", note.yref or "y"
            if (xref, yref) == ("paper", "paper"):
                at = (self.left + note.x * wide) / self.width, (self.bottom + note.y * high) / self.height
                self.canvas.text(*at, _plain(note.text), transform=self.canvas.transFigure + shift, **style)
                continue
            axes, x_axis, y_axis = next(
                panel for ids, panel in self.panels.items()
                if (xref.split()[0], yref.split()[0]) == ids
            )  # fmt: skip
            inside = xref.endswith("domain")
            x = note.x if inside else x_axis.place([note.x])[0]
            y = note.y if inside else y_axis.place([note.y])[0]
            base = axes.transAxes if inside else axes.transData
            axes.text(x, y, _plain(note.text), transform=base + shift, **style)

    def _words(self) -> None:
        y = self.height - 12
        for text, _ in self.title:
            place = (8 / self.width, y / self.height)
            self.canvas.text(*place, text, fontsize=POINT * 15, weight="bold", color=INK, va="top")
            y -= 21
        for text, colour in self.subtitle:
            self.canvas.text(8 / self.width, y / self.height, text, fontsize=POINT * 11.5, color=colour, va="top")
            y -= 16
        if self.legend and self.layout.showlegend is not False:
            below = (self.layout.legend.y or 0) <= 0
            self.canvas.legend(
                self.legend.values(), self.legend.keys(), loc="lower left", ncol=5, frameon=False,
                fontsize=POINT * 11.5, bbox_to_anchor=(0.0, 4 / self.height if below else 1 - self.top / self.height),
            )  # fmt: skip


def _lines(text: str, width: int) -> list[tuple[str, str]]:
    """(line, colour) of a text with <br> and coloured spans, wrapped."""
    found = []
    for part in text.split("<br>"):
        colour = re.search(r"color:\s*(#\w+)", part)
        found += [(line, colour[1] if colour else "#52606D") for line in textwrap.wrap(_plain(part), width)]
    return found


def _plain(text: str) -> str:
    """Text without markup, as matplotlib shows it letter by letter."""
    import html

    bare = re.sub(r"</?(b|i|span|sub|sup)\b[^>]*>", "", re.sub(r"<br\s*/?>", "\n", str(text)))
    return html.unescape(bare).replace("$", r"\$")


def _colour(text: str | None) -> Any:
    """A colour as matplotlib takes it: #rrggbb, or (r, g, b, a) of rgba()."""
    found = re.fullmatch(r"rgba\(([\d.]+),\s*([\d.]+),\s*([\d.]+),\s*([\d.]+)\)", str(text or INK))
    if found:
        red, green, blue, alpha = (float(part) for part in found.groups())
        return (red / 255, green / 255, blue / 255, alpha)
    return text or INK
