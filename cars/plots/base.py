"""The look that all figures share: colours, fonts, the title with n and source, and words for labels."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, YELLOW, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000",
)  # fmt: skip
GREY, PALE, INK = "#8A8F98", "#E4E7EB", "#1F2933"
PALETTE: tuple[str, ...] = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY, BLACK, "#B8A500")
#: A verdict's colour and mark.
VERDICTS: dict[str, tuple[str, str]] = {
    "rarer than expected": (VERMILION, "circle"),
    "rare as expected": (BLUE, "square"),
    "impossible": (GREY, "x"),
    "better": (BLUE, "circle"),
    "worse": (VERMILION, "diamond"),
    "no evidence": (GREY, "square"),
    "undefined": (GREY, "x"),
}


def finish(figure: go.Figure, title: str, detail: str, height: int, width: int | None = None) -> go.Figure:
    """The look that all figures share. `detail`: n and source, the line under the title."""
    figure.update_layout(
        title={
            "text": f"<b>{title}</b>", "subtitle": {"text": detail, "font": {"size": 12, "color": "#52606D"}},
            "font": {"size": 15, "color": INK}, "x": 0.0, "xref": "container", "xanchor": "left",
            "pad": {"l": 8, "t": 10}, "y": 1.0, "yref": "container", "yanchor": "top",
        },
        font={"family": FONT, "size": 12, "color": INK}, template="plotly_white", height=height, width=width,
        margin={"l": 10, "r": 16, "t": 84, "b": 44}, paper_bgcolor="white", plot_bgcolor="white",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "title": {"text": ""}},
        hoverlabel={"bgcolor": "white", "font": {"family": FONT, "color": INK}},
    )  # fmt: skip
    figure.update_xaxes(automargin=True, gridcolor=PALE, zerolinecolor=GREY)
    figure.update_yaxes(automargin=True, gridcolor=PALE, zerolinecolor=GREY)
    return figure


def caution(figure: go.Figure, sentences: Sequence[str], width: int = 110) -> go.Figure:
    """Say on a figure what it cannot show, so that a picture of it says so too. Call it once, last.

    Args:
        sentences: plain text. width: characters of a line; the line with n and source is wrapped as well.
    """
    detail = textwrap.wrap(figure.layout.title.subtitle.text, width)
    lines = textwrap.wrap(" ".join(safe(text) for text in sentences), width)
    room = 16 * (len(detail) - 1 + len(lines))
    words = [f'<span style="color:{VERMILION}">{line}</span>' for line in lines]
    figure.layout.title.subtitle.text = "<br>".join([*detail, *words])
    top, height = figure.layout.margin.t or 84, figure.layout.height or 450
    return figure.update_layout(margin={"t": top + room}, height=height + room)


def short(text: str, length: int = 58) -> str:
    """Text cut at a word, with an ellipsis when something is missing."""
    return textwrap.shorten(text, length, placeholder=" …") if len(text) > length else text


def safe(text: object) -> str:
    """Text from data, which plotly must not read as markup."""
    return html.escape(str(text), quote=False)


def number(value: float | None, digits: int = 3) -> str:
    """A number for a label; "–" for one that is not there."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """A difference for a label, with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def of_units(n: int, unit: str, source: str) -> str:
    return f"{n:,} {plural(unit, n)}{from_source(source)}"


def plural(unit: str, n: int) -> str:
    return unit if n == 1 else {"study": "studies"}.get(unit, f"{unit}s")


def from_source(source: str) -> str:
    return f" from {safe(source)}" if source else ""


def figure_table(table: pd.DataFrame, n: int | None, unit: str, source: str) -> pd.DataFrame:
    """A figure's numbers with the columns n, unit and source where the table lacks them and they are known."""
    extra = {"n": n, "unit": unit or None, "source": source or None}
    return table.assign(**{k: v for k, v in extra.items() if v is not None and k not in table})
