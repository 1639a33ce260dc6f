"""Feature space: how far films are from the nearest train film, and which share train films reach."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from .base import BLUE, GREEN, GREY, INK, VERMILION, finish, safe

#: (films, measure) → words, colour, dash
LINES = {
    ("train", "distance"): ("train film to another patient's", BLUE, "solid"),
    ("test", "distance"): ("test film to the nearest train film", VERMILION, "solid"),
    ("synthetic", "distance"): ("synthetic film to the nearest train film", GREEN, "dash"),
    ("test", "radius"): ("radius of that train film", GREY, "dot"),
}
GROUPS = {
    "train": ("train, by other patients", BLUE, "circle"),
    "validate": ("validate", BLUE, "square"),
    "test": ("test", VERMILION, "circle"),
    "test and synthetic": ("test, with synthetic films", GREEN, "diamond"),
}


def space_distances(curves: pd.DataFrame, source: str = "") -> go.Figure:
    """Cumulative share of films by distance. curves: as `coverage.space.curves` gives them."""
    figure = go.Figure()
    for (films, measure), (words, colour, dash) in LINES.items():
        part = curves[(curves["films"] == films) & (curves["measure"] == measure)]
        if len(part):
            figure.add_trace(
                go.Scatter(
                    x=part["value"], y=100 * part["share"], mode="lines", name=f"{words} (n {part['n'].iloc[0]:,})",
                    line={"color": colour, "dash": dash, "width": 2},
                    hovertemplate=f"{words}<br>%{{y:.0f}}% of films within %{{x:.3f}}<extra></extra>",
                )
            )  # fmt: skip
    figure = finish(
        figure, "How far films are from the nearest train film",
        f"Share of films by distance, of vectors at length 1.{f' Source: {safe(source)}.' if source else ''}", 380,
    )  # fmt: skip
    figure.update_xaxes(title="distance")
    figure.update_yaxes(title="films", ticksuffix="%", range=[0, 101])
    return figure.update_layout(legend={"y": -0.22, "yanchor": "top"}, margin={"b": 110})


def space_shares(shares: pd.DataFrame, source: str = "") -> go.Figure:
    """The covered share of each group with its 95% interval; the dotted line is what to expect of films like train's.

    shares: as `coverage.space.shares` gives them.
    """
    figure = go.Figure()
    labels = []
    for row in shares.to_dict("records"):
        words, colour, symbol = GROUPS[row["films"]]
        labels.append(f"{words} (n {row['n_films']:,}, {row['n_patients']:,} patients)")
        value, low, high = (100 * row[c] for c in ("value", "low", "high"))
        figure.add_trace(
            go.Scatter(
                x=[value], y=labels[-1:], mode="markers", marker={"color": colour, "size": 11, "symbol": symbol},
                error_x={"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low],
                         "color": colour, "thickness": 1.5, "width": 4}, showlegend=False,
                hovertemplate=f"{words}: {value:.1f}% ({low:.1f} to {high:.1f})<extra></extra>",
            )
        )  # fmt: skip
    train = shares[shares["films"] == "train"]
    if len(train):
        figure.add_vline(x=100 * float(train["value"].iloc[0]), line={"color": INK, "dash": "dot", "width": 1.5})
    figure = finish(
        figure, "Films within reach of a train film",
        f"95% intervals that take a patient's films for one.{f' Source: {safe(source)}.' if source else ''}",
        150 + 34 * max(len(labels), 1),
    )  # fmt: skip
    figure.update_xaxes(ticksuffix="%", range=[0, 101])
    return figure.update_yaxes(type="category", autorange="reversed")
