"""Figures: a table in, a plotly figure out. Each title says what is shown, of how many, and from which source.

Colours are Okabe and Ito's (2008), which colour-blind readers tell apart; no meaning rests on colour alone. Fonts are
the system's. Selectable marks carry what was selected in `customdata`: a gap's id, two attribute values, a film's id.
"""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .coverage import CoOccurrence
from .coverage.sentences import describe
from .metrics import METRICS
from .schema import FINDING_OF, FINDING_VALUES

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
#: More points than this make a browser without a GPU wait.
MOST_POINTS = 20_000


def _finish(figure: go.Figure, title: str, detail: str, height: int, width: int | None = None) -> go.Figure:
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


def short(text: str, length: int = 58) -> str:
    """Text cut at a word, with an ellipsis when something is missing."""
    return textwrap.shorten(text, length, placeholder=" …") if len(text) > length else text


def safe(text: object) -> str:
    """Text from data, which plotly must not read as markup."""
    return html.escape(str(text), quote=False)


def number(value: float | None, digits: int = 3) -> str:
    """A number for a label; "–" for one that is not there."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


# Coverage -----------------------------------------------------------------------------------------------------------


def cooccurrence(
    found: CoOccurrence, kind: str, unit: str = "patient", impossible: np.ndarray | None = None, source: str = ""
) -> go.Figure:
    """A heat map of how often two findings are present together.

    Args:
        found: as `coverage.cooccurrence` gives it.
        kind: "observed", "expected" or "ratio". A ratio of pairs that are neither seen nor expected once is left out.
        impossible: (k, k) bool, pairs that a rule forbids; they are crossed out and never coloured.

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
    units = _plural(unit, 2)
    label = {"observed": units, "expected": f"expected {units}", "ratio": "seen ÷ expected"}[kind]
    figure = _finish(
        figure, f"Findings {what}", f"{label}; {_of(n, unit, source)}. × impossible. Choose a cell to see films.",
        side + 250, side + 330,
    )  # fmt: skip
    figure.update_xaxes(tickangle=-45, showgrid=False, constrain="domain", type="category")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", scaleanchor="x")
    return figure.update_layout(clickmode="event+select", dragmode=False)


def film_map(frame: pd.DataFrame, colour: str = "view", total: int | None = None, source: str = "") -> go.Figure:
    """Films laid out so that films with similar features lie together (UMAP of the feature vectors).

    Args:
        frame: dicom_id, x, y, the column `colour`, and, where it has one, `origin`; at most MOST_POINTS are drawn.
        colour: the column that colours the points, a finding's too; its words are in the legend with their counts.
        total: how many films the map stands for, when `frame` is a sample.
    """
    frame = frame.head(MOST_POINTS)
    values = frame[colour].map(FINDING_VALUES) if colour in FINDING_OF else frame[colour].astype(str)
    name = FINDING_OF.get(colour, colour.replace("_", " "))
    counts = values.value_counts()
    figure = go.Figure()
    for n, (value, count) in enumerate(counts.items()):
        part = frame[values == value]
        synthetic = part["origin"] == "synthetic" if "origin" in part else np.zeros(len(part), dtype=bool)
        figure.add_trace(
            go.Scattergl(
                x=part["x"], y=part["y"], customdata=part["dicom_id"], mode="markers",
                name=f"{safe(value)} ({count:,})",
                marker={
                    "size": np.where(synthetic, 9, 5), "symbol": np.where(synthetic, "diamond", "circle"),
                    "color": PALETTE[n % len(PALETTE)], "opacity": 0.7,
                    "line": {"width": np.where(synthetic, 1, 0), "color": BLACK},
                },
                hovertemplate=f"{name}: {safe(value)}<extra></extra>",
            )
        )  # fmt: skip
    few = f"{len(frame):,} of {total:,}" if total and total > len(frame) else f"{len(frame):,}"
    drawn = " Diamonds are synthetic." if "origin" in frame and (frame["origin"] == "synthetic").any() else ""
    figure = _finish(
        figure,
        f"Films by similarity, coloured by {name}",
        f"{few} films{_from(source)}.{drawn} Draw a box or lasso to see films.",
        560,
    )
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False)
    figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False, scaleanchor="x")
    return figure.update_layout(dragmode="lasso", clickmode="event+select", legend={"itemsizing": "constant"})


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
    figure = _finish(
        figure, f"The {len(top)} gaps that rank first",
        f"{_plural(unit, 2)} that match, against the number expected; {len(gaps):,} gaps{_from(source)}.",
        170 + 30 * len(top),
    )  # fmt: skip
    figure.update_layout(clickmode="event+select", legend={"y": -0.04, "yanchor": "top"})
    span = float(np.nanmax([threshold, top["expected"].max(), 1.0])) if len(top) else 1.0
    figure.update_xaxes(range=[-0.09 * span, 1.08 * span], zeroline=True)
    figure.update_yaxes(categoryorder="array", categoryarray=y[::-1], type="category")
    return figure


def coverage_bars(change: Mapping[str, Any], source: str = "") -> go.Figure:
    """Coverage of the train split before and after the accepted edits.

    Args:
        change: as `coverage.before_after` gives it: unit, threshold, synthetic_films, and for before and after
            tway: least number of units → number of attributes → share of the possible combinations.
    """
    figure = go.Figure()
    before, after = change["before"]["tway"], change["after"]["tway"]
    unit = change["unit"]
    labels = []
    for least in before:
        for t in before[least]:
            labels.append((f"{t} value{'s' if t > 1 else ''}, {least:,} {_plural(unit, least)} or more", least, t))
    for name, side, colour in (("before", before, GREY), ("after", after, BLUE)):
        shares = [100 * side[least][t] for _, least, t in labels]
        figure.add_trace(
            go.Bar(
                x=shares, y=[label for label, _, _ in labels], orientation="h", name=name, marker={"color": colour},
                text=[f"{name} {share:.1f}%" for share in shares], textposition="auto", hoverinfo="skip",
            )
        )  # fmt: skip
    figure = _finish(
        figure, "Share of the possible combinations that are covered",
        f"{change['before']['films']:,} real train films{_from(source)}, and {change['synthetic_films']:,} accepted "
        f"synthetic ones of {change['synthetic_patients']:,} patients.", 130 + 56 * len(labels),
    )  # fmt: skip
    figure.update_xaxes(range=[0, 100], ticksuffix="%")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure.update_layout(barmode="group", showlegend=False)


# Gains --------------------------------------------------------------------------------------------------------------


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
    figure = _finish(
        figure, f"{label} on the untouched test patients",
        f"{_finding(finding)}; {better} is better; {_films(rows)}{_from(source)}.", 140 + 36 * len(rows),
    )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], type="category")
    return figure.update_layout(showlegend=False)


def gain_forest(
    gains: pd.DataFrame, metrics: Sequence[str], finding: str = "macro", calibrated: bool = False, source: str = ""
) -> go.Figure:
    """What each arm changes against `real`, one panel a metric, one row a backbone and arm.

    Args:
        gains: rows of `evaluate.gain_table`.
        metrics: the panels, in order. finding, calibrated: as for `score_dots`.
    """
    gains = gains[(gains["finding"] == finding) & (gains["calibrated"] == calibrated)].dropna(subset=["value"])
    shown = [m for m in metrics if (gains["metric"] == m).any()]
    sizes = [max(int((gains["metric"] == m).sum()), 1) for m in shown]
    figure = make_subplots(
        rows=max(len(shown), 1), cols=1, row_heights=[s + 1.0 for s in sizes] or None,
        subplot_titles=[f"{label} ({better} is better)" for label, better in map(_metric, shown)],
        vertical_spacing=min(0.16, 66 / (36 * sum(sizes) + 96 * len(shown) + 1)),
    )  # fmt: skip
    for row, metric in enumerate(shown, start=1):
        panel = gains[gains["metric"] == metric]
        names = [f"{b} · {a}" for b, a in zip(panel["backbone"], panel["arm"])]
        for verdict, part in panel.groupby("verdict", sort=False):
            colour, symbol = VERDICTS.get(str(verdict), (GREY, "circle"))
            y = [f"{b} · {a}" for b, a in zip(part["backbone"], part["arm"])]
            figure.add_trace(_interval(part, y, colour, symbol, str(verdict)), row=row, col=1)
            texts = [f"{v:+.3f} · {w} · n {int(n):,}" for v, w, n in zip(part["value"], part["verdict"], part["n"])]
            _label(figure, part, y, texts, row=row)
        reach = 1.15 * float(np.nanmax(np.abs(panel[["low", "high", "value"]].to_numpy(float)))) or 0.01
        figure.add_vline(x=0, line={"color": INK, "width": 1}, row=row, col=1)
        figure.update_xaxes(range=[-reach, reach], tickformat="+.3~f", row=row, col=1)
        figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], type="category", row=row, col=1)
    for note in figure.layout.annotations[: len(shown)]:  # make_subplots centres its titles
        note.update(x=0, xanchor="left", font={"size": 13, "color": INK})
    figure = _finish(
        figure, "What the added films change, against real films alone",
        f"{_finding(finding)}; paired by patient; {_films(gains)}{_from(source)}.",
        120 + 36 * sum(sizes) + 96 * max(len(shown), 1),
    )  # fmt: skip
    return figure.update_layout(showlegend=False, margin={"t": 108})


def slice_forest(slices: pd.DataFrame, backbone: str, metric: str, most: int = 12, source: str = "") -> go.Figure:
    """What each arm changes on the rare combinations that edits filled, one row a combination and arm.

    Args:
        slices: rows of `evaluate.slice_table`. most: combinations shown, those with the most edits first.
    """
    label, better = _metric(metric)
    rows = slices[(slices["backbone"] == backbone) & (slices["metric"] == metric)].dropna(subset=["value"])
    rows = rows.sort_values("edits", ascending=False, kind="stable").head(most)
    names = [
        f"{n}. {safe(finding)} among {safe(short(part, 44))} · {arm}"
        for n, (finding, part, arm) in enumerate(zip(rows["finding"], rows["slice"], rows["arm"]), start=1)
    ]
    figure = go.Figure(_interval(rows, names, BLUE, "circle", "difference"))
    texts = [
        f"{v:+.3f} · {int(p)} of {int(n)} test films positive"
        for v, p, n in zip(rows["value"], rows["positives"], rows["n"])
    ]
    _label(figure, rows, names, texts)
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    figure = _finish(
        figure, f"{label} on the combinations that edits filled, against real films alone",
        f"{backbone}; {better} is better; intervals not adjusted for many rows; {_films(rows)}{_from(source)}.",
        150 + 40 * len(rows),
    )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], type="category")
    return figure.update_layout(showlegend=False)


def reliability(tables: Mapping[str, pd.DataFrame], source: str = "") -> go.Figure:
    """Stated probability against how often the finding was there; on the diagonal, a probability means what it says.

    Args:
        tables: name (an arm) → mean_probability, observed, low, high, n, patients, one row a bin.
    """
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dash"}, hoverinfo="skip", showlegend=False
        )
    )
    symbols = ("circle", "diamond", "square", "triangle-up", "cross", "x")
    for n, (name, table) in enumerate(tables.items()):
        colour = PALETTE[n % len(PALETTE)]
        figure.add_trace(
            go.Scatter(
                x=table["mean_probability"], y=table["observed"], mode="lines+markers", name=name,
                line={"color": colour, "width": 1}, marker={"size": 9, "color": colour, "symbol": symbols[n % 6]},
                error_y={
                    "type": "data", "symmetric": False, "thickness": 1.2, "width": 3, "color": colour,
                    "array": (table["high"] - table["observed"]).clip(lower=0),
                    "arrayminus": (table["observed"] - table["low"]).clip(lower=0),
                },
                customdata=table[["n", "patients"]],
                hovertemplate="said %{x:.2f}, seen %{y:.2f}<br>%{customdata[0]:,} cases of %{customdata[1]:,} patients"
                f"<extra>{name}</extra>",
            )
        )  # fmt: skip
        if len(table):
            last = table.iloc[-1]
            figure.add_annotation(
                x=last["mean_probability"],
                y=last["observed"],
                text=name,
                showarrow=False,
                xanchor="left",
                xshift=8,
                yshift=-15 * n,
                font={"color": colour},
            )
    cases = max((int(t["n"].sum()) for t in tables.values()), default=0)
    figure = _finish(
        figure, "Do the probabilities mean what they say?",
        f"95% intervals by patients; {cases:,} cases (film × finding × seed) an arm{_from(source)}.", 480,
    )  # fmt: skip
    figure.add_annotation(
        x=0.5, y=0.5, text="perfectly calibrated", showarrow=False, xanchor="left", xshift=10, yshift=-10,
        font={"size": 11, "color": "#52606D"},
    )  # fmt: skip
    figure.update_xaxes(title="stated probability", range=[0, 1.12])
    figure.update_yaxes(title="share in which the finding was there", range=[-0.02, 1.02])
    return figure


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
    place = {"row": row, "col": 1} if row else {}
    for x, name, text in zip(part["value"], y, texts):
        figure.add_annotation(
            x=x,
            y=name,
            text=text,
            showarrow=False,
            yshift=14,
            font={"size": 11, "color": "#3E4C59"},
            bgcolor="rgba(255,255,255,0.85)",
            borderpad=0,
            **place,
        )


def _metric(name: str) -> tuple[str, str]:
    """(the metric as pages write it, "higher" or "lower")."""
    metric = METRICS.get(name)
    return metric.label, metric.direction


def _finding(finding: str) -> str:
    return "mean over findings" if finding == "macro" else finding


def _films(rows: pd.DataFrame) -> str:
    ns = sorted({int(n) for n in rows["n"]})
    if not ns:
        return "no test films"
    return f"{ns[0]:,} test films" if len(ns) == 1 else f"{ns[0]:,} to {ns[-1]:,} test films"


def _of(n: int, unit: str, source: str) -> str:
    return f"{n:,} {_plural(unit, n)}{_from(source)}"


def _plural(unit: str, n: int) -> str:
    return unit if n == 1 else {"study": "studies"}.get(unit, f"{unit}s")


def _from(source: str) -> str:
    return f" from {safe(source)}" if source else ""
