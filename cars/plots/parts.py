"""Why a gap is where it is: the weighted parts of its score, one bar."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from .base import BLUE, GREEN, INK, ORANGE, PALE, PURPLE, VERMILION, finish, from_source

#: Part by part, in the order of the table.
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE)


def score_bar(parts: pd.DataFrame, rank: int, of: int, source: str = "") -> go.Figure:
    """The parts of one gap's score as a stacked bar that ends at the score.

    Args:
        parts: part, value, weight, adds, note; a part whose `adds` is NaN is not known and has no bar.
        rank, of: the gap's place, and among how many.
    """
    figure = go.Figure()
    score = float(parts["adds"].sum())
    for row, colour in zip(parts.itertuples(), COLOURS, strict=True):
        known = row.adds == row.adds
        figure.add_trace(
            go.Bar(
                x=[row.adds if known else 0], y=[""], orientation="h", marker={"color": colour},
                name=row.part if known else f"{row.part} (not known)",
                text=[f"{row.adds:.2f}" if known and row.adds >= 0.04 else ""], textposition="inside",
                insidetextanchor="middle", textangle=0, hovertemplate=f"{row.part}: {row.note}<extra></extra>",
            )
        )  # fmt: skip
    figure.add_annotation(
        x=score, y="", text=f" <b>{score:.2f}</b>", showarrow=False, xanchor="left", font={"color": INK, "size": 13}
    )
    finish(figure, "Why it ranks here", f"Weighted parts of the score, 0 to 1; place {rank:,} of {of:,} gaps"
           f"{from_source(source)}.", 250)  # fmt: skip
    figure.update_layout(barmode="stack", legend={"y": -0.32, "yanchor": "top", "traceorder": "normal"}, bargap=0.2)
    figure.update_xaxes(range=[0, 1], gridcolor=PALE, dtick=0.2)
    return figure
