"""Figures of gains: scores, differences between arms, rare combinations, and reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..metrics import METRICS
from .base import BLUE, GREY, INK, ORANGE, PALETTE, VERDICTS, finish, from_source, number, safe, short, signed


def score_dots(
    scores: pd.DataFrame, metric: str, finding: str = "macro", calibrated: bool = False, source: str = ""
) -> go.Figure:
    """One metric's scores with intervals, one row a backbone and arm: the mean over seeds.

    Args:
        scores: rows of `evaluate.score_table`.
        finding: one finding, or "macro" for the mean over findings.
        calibrated: after temperature scaling.
    """
    label, better = _metric(metric)
    rows = scores[
        (scores["metric"] == metric) & (scores["finding"] == finding) & (scores["calibrated"] == calibrated)
        & (scores["seed"] == -1)
    ].dropna(subset=["value"])  # fmt: skip
    arms = list(dict.fromkeys(rows["arm"]))
    figure = go.Figure()
    for n, arm in enumerate(arms):
        part = rows[rows["arm"] == arm]
        y = [f"{b} · {a}" for b, a in zip(part["backbone"], part["arm"])]
        figure.add_trace(_interval(part, y, PALETTE[n % len(PALETTE)], "circle", arm))
        _label(figure, part, y, [number(v) for v in part["value"]])
    order = [f"{b} · {a}" for b, a in zip(rows["backbone"], rows["arm"])]
    figure = finish(
        figure, f"{label} on the untouched test patients",
        f"{_finding(finding, calibrated)}; {better}; {_films(rows)}{from_source(source)}.", 140 + 36 * len(rows),
    )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], type="category")
    return figure.update_layout(showlegend=False)


def gain_forest(
    gains: pd.DataFrame, metrics: Sequence[str], finding: str = "macro", calibrated: bool = False, source: str = ""
) -> go.Figure:
    """What each arm changes against the reference, one panel a metric, one row a backbone and arm.

    Args:
        gains: rows of `evaluate.gain_table`; contrasts are left out.
        metrics: the panels, in order. finding, calibrated: as for `score_dots`.
    """
    gains = _compared(gains, finding, calibrated, contrast=False)
    panels = [
        (f"{label} ({better})", panel, [f"{b} · {a}" for b, a in zip(panel["backbone"], panel["arm"])])
        for metric in metrics
        if len(panel := gains[gains["metric"] == metric])
        for label, better in [_metric(metric)]
    ]
    return _forest(
        panels, f"What the added films change, against {against(gains)}",
        f"{_finding(finding, calibrated)}; paired by patient; p adjusted by Holm over backbones; {_films(gains)}"
        f"{from_source(source)}.",
    )  # fmt: skip


def contrast_forest(
    gains: pd.DataFrame, arm: str, metric: str, finding: str = "macro", calibrated: bool = False, source: str = ""
) -> go.Figure:
    """One arm against each other arm that its gain could be owed to: one panel a control, one row a backbone.

    Args:
        gains: rows of `evaluate.gain_table`. arm: one with accepted edits. metric, finding, calibrated: as for
            `score_dots`; contrasts have the mean over findings only.
    """
    label, better = _metric(metric)
    gains = _compared(gains, finding, calibrated)
    gains = gains[(gains["arm"] == arm) & (gains["metric"] == metric)]
    panels = [
        (f"against {safe(other)}", part, list(part["backbone"]))
        for other, part in gains.groupby("reference", sort=False)
    ]
    return _forest(
        panels, f"Is it the edits? {label} of {safe(arm)} against each other arm",
        f"{_finding(finding, calibrated)}; {better}; paired by patient; p adjusted by Holm over backbones; "
        f"{_films(gains)}{from_source(source)}.", one_scale=True,
    )  # fmt: skip


def _compared(
    gains: pd.DataFrame, finding: str, calibrated: bool, contrast: bool | None = None
) -> pd.DataFrame:  # fmt: skip
    """Rows with a value; contrast: only those that are, or are not, with another arm than the reference."""
    rows = gains[(gains["finding"] == finding) & (gains["calibrated"] == calibrated)].dropna(subset=["value"])
    return rows if contrast is None else rows[rows["contrast"].astype(bool) == contrast]


def _forest(
    panels: Sequence[tuple[str, pd.DataFrame, list[str]]], title: str, detail: str, one_scale: bool = False
) -> go.Figure:
    """Differences with intervals and verdicts. panels: (title, rows, a name for each row's place on the axis).

    one_scale: all panels have the same range, so that they compare.
    """
    reaches = [
        1.15 * float(np.nanmax(np.abs(part[["low", "high", "value"]].to_numpy(float)))) or 0.01 for _, part, _ in panels
    ]
    sizes = [len(part) for _, part, _ in panels]
    figure = make_subplots(
        rows=max(len(panels), 1), cols=1, row_heights=[s + 1.0 for s in sizes] or None,
        subplot_titles=[name for name, _, _ in panels],
        vertical_spacing=min(0.16, 66 / (36 * sum(sizes) + 96 * len(panels) + 1)),
    )  # fmt: skip
    for row, (_, panel, names) in enumerate(panels, start=1):
        panel = panel.assign(verdict=panel["verdict"].fillna("not judged"), place=names)
        for verdict, part in panel.groupby("verdict", sort=False):
            colour, symbol = VERDICTS.get(str(verdict), (GREY, "circle"))
            y = list(part["place"])
            figure.add_trace(_interval(part, y, colour, symbol, str(verdict)), row=row, col=1)
            _label(figure, part, y, [_judged(one) for one in part.to_dict("records")], row=row)
        reach = max(reaches) if one_scale else reaches[row - 1]
        figure.add_vline(x=0, line={"color": INK, "width": 1}, row=row, col=1)
        figure.update_xaxes(range=[-reach, reach], tickformat="+.3~f", row=row, col=1)
        figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], type="category", row=row, col=1)
    for note in figure.layout.annotations[: len(panels)]:  # make_subplots centres its titles
        note.update(x=0, xanchor="left", font={"size": 13, "color": INK})
    figure = finish(figure, title, detail, 120 + 36 * sum(sizes) + 96 * max(len(panels), 1))
    return figure.update_layout(showlegend=False, margin={"t": 108})


#: What the arms that others are compared with are called in titles.
REFERENCES = {"real": "real films alone", "real-equal-steps": "real films alone at equal steps"}


def against(rows: pd.DataFrame) -> str:
    """What rows of gains or slices are compared with, in words."""
    names = list(dict.fromkeys(rows["reference"])) if "reference" in rows else []
    return " and ".join(REFERENCES.get(name, safe(name)) for name in names) or REFERENCES["real"]


def slice_forest(
    slices: pd.DataFrame, backbone: str, metric: str, most: int = 12, source: str = "", calibrated: bool = False
) -> go.Figure:
    """What each arm changes on the rare combinations that edits filled, one row a combination and arm.

    Args:
        slices: rows of `evaluate.slice_table`. most: rows shown, those with the most edits first.
    """
    label, better = _metric(metric)
    rows = slices[(slices["backbone"] == backbone) & (slices["metric"] == metric)].dropna(subset=["value"])
    if "calibrated" in rows:
        rows = rows[rows["calibrated"].astype(bool) == calibrated]
    rows = rows.sort_values("edits", ascending=False, kind="stable").head(most)  # the union over gaps has most
    names = [f"{n}. {_slice_name(row)}" for n, row in enumerate(rows.to_dict("records"), start=1)]
    there = "basis" in rows and (rows["basis"] == "near").any()
    near = " Near: films that match a gap or lie one attribute away." if there else ""
    figure = go.Figure(_interval(rows, names, BLUE, "circle", "difference"))
    texts = [
        f"{signed(v)} · {int(p)} of {int(n)} positive" for v, p, n in zip(rows["value"], rows["positives"], rows["n"])
    ]
    _label(figure, rows, names, texts)
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    figure = finish(
        figure, f"{label} on the combinations that edits filled, against {against(rows)}",
        f"{safe(backbone)}; {better}; intervals not adjusted for many rows; {_films(rows)}{from_source(source)}.{near}",
        150 + 40 * len(rows),
    )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], type="category")
    return figure.update_layout(showlegend=False)


def reliability(tables: Mapping[str, Mapping[str, pd.DataFrame]], backbone: str, source: str = "") -> go.Figure:
    """Stated probability against how often the finding was there; on the diagonal, a probability means what it says.

    One panel an arm, before and after temperature scaling.

    Args:
        tables: arm → "before" and "after" → mean_probability, observed, low, high, n, patients, one row a bin.
    """
    columns = min(max(len(tables), 1), 4)
    rows = -(-max(len(tables), 1) // columns)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=[safe(arm) for arm in tables] or None, shared_yaxes=True,
        horizontal_spacing=0.03, vertical_spacing=0.12,
    )  # fmt: skip
    for k, sides in enumerate(tables.values()):
        place = {"row": k // columns + 1, "col": k % columns + 1}
        figure.add_trace(
            go.Scatter(
                x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dash", "width": 1}, hoverinfo="skip",
                showlegend=False,
            ), **place,
        )  # fmt: skip
        for side, colour, symbol in (("before", ORANGE, "circle-open"), ("after", BLUE, "diamond")):
            table = sides[side]
            figure.add_trace(
                go.Scatter(
                    x=table["mean_probability"], y=table["observed"], mode="lines+markers",
                    name=f"{side} temperature scaling", legendgroup=side, showlegend=k == 0,
                    line={"color": colour, "width": 1}, marker={"size": 8, "color": colour, "symbol": symbol},
                    error_y={
                        "type": "data", "symmetric": False, "thickness": 1.2, "width": 3, "color": colour,
                        "array": (table["high"] - table["observed"]).clip(lower=0),
                        "arrayminus": (table["observed"] - table["low"]).clip(lower=0),
                    },
                    customdata=table[["n", "patients"]],
                    hovertemplate="said %{x:.2f}, seen %{y:.2f}<br>%{customdata[0]:,} cases of %{customdata[1]:,} "
                    f"patients<extra>{side}</extra>",
                ), **place,
            )  # fmt: skip
    for note in figure.layout.annotations[: len(tables)]:
        note.update(font={"size": 13, "color": INK})
    cases = max((int(sides["before"]["n"].sum()) for sides in tables.values()), default=0)
    figure = finish(
        figure, "Do the probabilities mean what they say?",
        f"{safe(backbone)}; 95% intervals by patients; {cases:,} cases (film × finding × seed) an arm"
        f"{from_source(source)}.", 180 + 290 * rows,
    )  # fmt: skip
    figure.update_xaxes(range=[-0.03, 1.03])
    figure.update_yaxes(range=[-0.03, 1.03])
    figure.update_xaxes(title="stated probability", row=rows)
    figure.update_yaxes(title="share with the finding", col=1)
    return figure.update_layout(margin={"t": 108, "b": 84}, legend={"y": 0, "yref": "container", "yanchor": "bottom"})


def _interval(part: pd.DataFrame, y: list[str], colour: str, symbol: str, name: str) -> go.Scatter:
    """Points with their intervals."""
    return go.Scatter(
        x=part["value"], y=y, mode="markers", name=name, marker={"size": 10, "color": colour, "symbol": symbol},
        error_x={
            "type": "data", "symmetric": False, "color": colour, "thickness": 2, "width": 5,
            "array": (part["high"] - part["value"]).fillna(0).clip(lower=0),
            "arrayminus": (part["value"] - part["low"]).fillna(0).clip(lower=0),
        },
        customdata=part[["low", "high", "n"]],
        hovertemplate="%{y}<br>%{x:.4f} (%{customdata[0]:.4f} to %{customdata[1]:.4f}), n %{customdata[2]:,}"
        "<extra></extra>",
    )  # fmt: skip


def _label(figure: go.Figure, part: pd.DataFrame, y: list[str], texts: list[str], row: int | None = None) -> None:
    """Text above each point, so that no legend or axis has to be read back."""
    trace = go.Scatter(
        x=part["value"], y=y, mode="markers+text", text=texts, textposition="top center", hoverinfo="skip",
        showlegend=False, textfont={"size": 11, "color": "#3E4C59"}, cliponaxis=False,
        marker={"size": 16, "opacity": 0},  # unseen; it lifts the text above the point
    )  # fmt: skip
    figure.add_trace(trace, **({"row": row, "col": 1} if row else {}))


def _metric(name: str) -> tuple[str, str]:
    """(the metric as pages write it, which way is better in words)."""
    metric = METRICS.get(name)
    return metric.label, getattr(metric, "better", f"{metric.direction} is better")


def _slice_name(row: Mapping[str, Any]) -> str:
    """A slice and arm for an axis, in two lines: which finding and arm, and among which films."""
    finding = "mean over findings" if row["finding"] == "macro" else row["finding"]
    near = " (near)" if row.get("basis") == "near" else ""
    return f"{safe(finding)} · {safe(row['arm'])}<br>among {safe(short(str(row['slice']), 36))}{near}"


def _judged(row: Mapping[str, Any]) -> str:
    """A difference, what it amounts to, and n, for a label."""
    p = row.get("p_holm")
    adjusted = f" (p {p:.3f})" if p is not None and p == p else ""
    return f"{signed(row['value'])} · {row['verdict']}{adjusted} · n {int(row['n']):,}"


def _finding(finding: str, calibrated: bool) -> str:
    words = "mean over findings" if finding == "macro" else safe(finding)
    return f"{words} after temperature scaling" if calibrated else words


def _films(rows: pd.DataFrame) -> str:
    ns = sorted({int(n) for n in rows["n"]})
    if not ns:
        return "no test films"
    return f"{ns[0]:,} test films" if len(ns) == 1 else f"{ns[0]:,} to {ns[-1]:,} test films"
