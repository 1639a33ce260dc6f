"""Figures of results in detail: findings × arms, precision-recall, uncertainty, risk-coverage, coverage gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..metrics import METRICS
from .base import BLUE, GREEN, GREY, INK, PALE, PALETTE, VERMILION, finish, from_source, safe, signed
from .gains import against

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
#: Worse, no difference, better; also told apart by the numbers in the cells.
DIVERGING = [[0.0, VERMILION], [0.5, "#FFFFFF"], [1.0, BLUE]]
MARKS = {"better": "▲", "worse": "▼"}


def finding_arm_heat(
    gains: pd.DataFrame, backbone: str, metric: str, calibrated: bool = False, source: str = "",
    findings: Sequence[str] = (),
) -> go.Figure:  # fmt: skip
    """What each arm changes against the reference, one row a finding and one column an arm, of one backbone.

    Blue is better and vermilion worse, whichever way the metric runs. A cell says its difference; a triangle stands on
    those that Holm's adjusted p finds evident, and an undefined one says so.

    Args:
        gains: rows of `evaluate.gain_table`. findings: the rows in order, the mean over findings first by default.
    """
    rows = _against_the_reference(gains, metric, calibrated)
    rows = rows[rows["backbone"] == backbone]
    order = list(findings) or ["macro", *[f for f in dict.fromkeys(rows["finding"]) if f != "macro"]]
    order = [f for f in order if f in set(rows["finding"])]
    first = rows.drop_duplicates("finding").set_index("finding")
    names = {
        f: f"mean over {int(first.loc[f, 'findings'])} findings" if f == "macro"
        else f"{f} ({int(first.loc[f, 'positives']):,} positive)"
        for f in order
    }  # fmt: skip
    title = f"{METRICS.get(metric).label} against {against(rows)}, by finding and arm"
    return _arm_heat(rows, "finding", names, metric, title, f"{safe(backbone)}; ", source)


def backbone_arm_heat(
    gains: pd.DataFrame, metric: str, finding: str = "macro", calibrated: bool = False, source: str = ""
) -> go.Figure:
    """What each arm changes against the reference, one row a backbone and one column an arm: a whole grid at a look.

    Args:
        gains: rows of `evaluate.gain_table`. metric, finding, calibrated: as for `score_dots`.
    """
    rows = _against_the_reference(gains, metric, calibrated)
    rows = rows[rows["finding"] == finding]
    names = {backbone: backbone for backbone in dict.fromkeys(rows["backbone"])}
    title = f"{METRICS.get(metric).label} against {against(rows)}, by backbone and arm"
    words = "mean over findings" if finding == "macro" else safe(finding)
    words = f"{words} after temperature scaling; " if calibrated else f"{words}; "
    return _arm_heat(rows, "backbone", names, metric, title, words, source)


def _against_the_reference(gains: pd.DataFrame, metric: str, calibrated: bool) -> pd.DataFrame:
    rows = gains[(gains["metric"] == metric) & (gains["calibrated"] == calibrated)]
    return rows[~rows["contrast"].astype(bool)]


def _arm_heat(
    rows: pd.DataFrame, column: str, names: Mapping[str, str], metric: str, title: str, detail: str, source: str
) -> go.Figure:
    """Differences, one row a value of `column` (its name in `names`, in order) and one column an arm."""
    arms = list(dict.fromkeys(rows["arm"]))
    cells = rows.set_index([column, "arm"])
    sign = -1.0 if METRICS.get(metric).direction == "lower" else 1.0
    z, texts, hover = [], [], []
    for one in names:
        found = {arm: cells.loc[(one, arm)] for arm in arms if (one, arm) in cells.index}
        known = [arm in found and found[arm]["value"] == found[arm]["value"] for arm in arms]
        z.append([sign * found[arm]["value"] if k else np.nan for arm, k in zip(arms, known)])
        texts.append(
            [
                f"{signed(found[arm]['value'])} {MARKS.get(found[arm]['verdict'], '')}".strip() if k else "undefined"
                for arm, k in zip(arms, known)
            ]
        )
        hover.append([_cell(one, arm, found[arm]) if arm in found else "not trained" for arm in arms])
    # no cell is so dark that its number cannot be read
    reach = 1.5 * float(np.nanmax(np.abs(np.array(z, dtype=float)), initial=0.0)) or 0.01
    labels = list(names.values())
    figure = go.Figure(
        go.Heatmap(
            z=z, x=arms, y=labels, text=texts, texttemplate="%{text}", hovertext=hover, hoverinfo="text", zmin=-reach,
            zmax=reach, colorscale=DIVERGING, showscale=False, xgap=2, ygap=2, textfont={"color": INK, "size": 11},
        )
    )  # fmt: skip
    figure.add_trace(_undefined_cells(z, arms, labels))
    ns = sorted({int(n) for n in rows["n"]})
    span = "no" if not ns else f"{ns[0]:,}" if len(ns) == 1 else f"{ns[0]:,} to {ns[-1]:,}"
    figure = finish(
        figure, title, f"{detail}blue is better; ▲ ▼ evident after Holm; {span} test films{from_source(source)}.",
        150 + 26 * len(names),
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category", gridcolor="white")
    figure.update_xaxes(side="top", type="category", gridcolor="white")
    return figure.update_layout(margin={"t": 108}, showlegend=False, plot_bgcolor="white")


def _cell(name: str, arm: str, cell: pd.Series) -> str:
    head = f"{safe(name)}, {safe(arm)}<br>"
    films = f"{int(cell['positives']):,} of {int(cell['n']):,} test films positive"
    if cell["value"] != cell["value"]:
        return f"{head}undefined: {safe(cell.get('reason') or 'no score in one of the arms')}<br>{films}"
    return (
        f"{head}{signed(cell['value'])} ({signed(cell['low'])} to {signed(cell['high'])})<br>Holm-adjusted p "
        f"{cell['p_holm']:.3f}: {cell['verdict']}<br>{films}"
    )


def _undefined_cells(z: list[list[float]], arms: Sequence[str], names: Sequence[str]) -> go.Scatter:
    """Words on the cells without a value; a heat map draws none there."""
    places = [(arms[c], names[r]) for r, row in enumerate(z) for c, value in enumerate(row) if value != value]
    return go.Scatter(
        x=[x for x, _ in places], y=[y for _, y in places], mode="text", text=["undefined"] * len(places),
        textfont={"color": "#52606D", "size": 11}, hoverinfo="skip",
    )  # fmt: skip


def precision_recall(curves: Mapping[str, pd.DataFrame], finding: str, backbone: str, source: str = "") -> go.Figure:
    """Precision against recall of one finding, one line an arm with a band; the grey line is chance.

    Args:
        curves: arm → as `evaluate.precision_recall` gives it.
    """
    figure = go.Figure()
    missing = []
    for k, (arm, table) in enumerate(curves.items()):
        if table["precision"].isna().all():
            missing.append(arm)
            continue
        _band(figure, table["recall"], table, "precision", arm, k)
    first = next(
        iter(curves.values()), pd.DataFrame({"n": [0], "positives": [0], "patients": [0], "prevalence": [np.nan]})
    )
    one = first.iloc[0]
    if one["prevalence"] == one["prevalence"]:
        figure.add_hline(y=float(one["prevalence"]), line={"color": GREY, "dash": "dash", "width": 1})
        figure.add_annotation(
            x=1, y=float(one["prevalence"]), text="chance", showarrow=False, xanchor="right", yshift=9,
            font={"size": 11, "color": "#52606D"},
        )  # fmt: skip
    words = f" Undefined for {', '.join(map(safe, missing))}." if missing else ""
    figure = finish(
        figure, f"Precision and recall: {safe(finding)}",
        f"{safe(backbone)}; mean over seeds, pointwise 95% bands by patients; {int(one['positives']):,} of "
        f"{int(one['n']):,} test films positive, {int(one['patients']):,} patients{from_source(source)}.{words}", 420,
    )  # fmt: skip
    figure.update_xaxes(title="recall", range=[0, 1.01])
    figure.update_yaxes(title="precision", range=[-0.02, 1.03])
    return _legend_below(figure)


def risk_coverage(
    curves: Mapping[str, pd.DataFrame], backbone: str, source: str = "", by: str = "entropy", members: str = "seeds"
) -> go.Figure:
    """Error rate among the cases that are answered when the least certain are left out, one line an arm with a band.

    Args:
        curves: arm → as `evaluate.risk_coverage` gives it. by: what certainty is measured by. members: what the mean
            prediction is taken over.
    """
    figure = go.Figure()
    missing = []
    for k, (arm, table) in enumerate(curves.items()):
        if table["risk"].isna().all():
            missing.append(arm)
            continue
        _band(figure, 100 * table["coverage"], table, "risk", arm, k, 100)
    cases = max((int(t["n"].iloc[0]) for t in curves.values()), default=0)
    patients = max((int(t["patients"].iloc[0]) for t in curves.values()), default=0)
    words = f" Undefined for {', '.join(map(safe, missing))}." if missing else ""
    figure = finish(
        figure, "Risk and coverage: what is gained by leaving out uncertain cases",
        f"{safe(backbone)}; by {by} of the mean over {members}, answer at 0.5; 95% bands by patients; {cases:,} cases "
        f"of {patients:,} patients{from_source(source)}.{words}", 420,
    )  # fmt: skip
    figure.update_xaxes(title="share of cases that are answered", ticksuffix="%", range=[0, 101])
    figure.update_yaxes(title="of these answers wrong", ticksuffix="%", rangemode="tozero")
    return _legend_below(figure)


def _band(
    figure: go.Figure, x: pd.Series, table: pd.DataFrame, name: str, arm: str, k: int, scale: float = 1
) -> None:  # fmt: skip
    """A line with its interval as a band of the same colour."""
    colour, dash = PALETTE[k % len(PALETTE)], DASHES[k % len(DASHES)]
    low, high = scale * table["low"], scale * table["high"]
    figure.add_trace(
        go.Scatter(
            x=[*x, *x[::-1]], y=[*high, *low[::-1]], fill="toself", fillcolor=_pale(colour), line={"width": 0},
            mode="lines", hoverinfo="skip", showlegend=False, legendgroup=arm,
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=x, y=scale * table[name], mode="lines", name=safe(arm), legendgroup=arm,
            line={"color": colour, "dash": dash, "width": 2}, customdata=np.stack([low, high], axis=1),
            hovertemplate=f"{safe(arm)}: %{{y:.3f}} (%{{customdata[0]:.3f}} to %{{customdata[1]:.3f}})<extra></extra>",
        )
    )  # fmt: skip


def _pale(colour: str) -> str:
    """The colour at a fifth of its strength."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.14)"


def _legend_below(figure: go.Figure) -> go.Figure:
    figure.update_layout(legend={"y": -0.17, "yanchor": "top"}, margin={"b": 92})
    return figure


def uncertainty_histograms(
    tables: Mapping[str, pd.DataFrame], backbone: str, source: str = "", over: str = ""
) -> go.Figure:
    """How uncertain right and wrong answers are: one row of panels an arm, one column a measure.

    Args:
        tables: arm → rows of `evaluate.uncertainty_histogram`, both measures one under the other. over: what the mean
            prediction is taken over; by default so many seeds as the tables have members.
    """
    measures = list(dict.fromkeys(m for table in tables.values() for m in table["measure"]))
    members = max((int(t["members"].max()) for t in tables.values()), default=0)
    seeds = f"{members} seed{'s' if members != 1 else ''}"
    titles = [f"{safe(arm)}: {measure}" for arm in tables for measure in measures]
    figure = make_subplots(
        rows=max(len(tables), 1), cols=max(len(measures), 1), subplot_titles=titles or None, horizontal_spacing=0.08,
        vertical_spacing=min(0.3, 62 / (170 * max(len(tables), 1))),
    )  # fmt: skip
    cases = patients = 0
    for row, (_, table) in enumerate(tables.items(), start=1):
        for column, measure in enumerate(measures, start=1):
            part = table[table["measure"] == measure]
            counts = part.groupby("answer")["n"].first()
            cases = max(cases, int(counts.sum()))
            patients = max(patients, int(part["patients"].max()))
            lacking = [answer for answer, one in part.groupby("answer") if one["share"].isna().all()]
            for answer, colour, dash in (("right", BLUE, "solid"), ("wrong", VERMILION, "dash")):
                one = part[(part["answer"] == answer) & part["share"].notna()]
                if len(one):
                    _steps(figure, one, f"{answer} answers", colour, dash, row, column, row == column == 1)
            if lacking:
                why = "one training seed" if (part["members"] <= 1).all() and measure != "entropy" else "no such answer"
                figure.add_annotation(
                    text=f"{' and '.join(sorted(lacking))}: undefined ({why})", x=0.5, y=0.5, xref="x domain",
                    yref="y domain", row=row, col=column, showarrow=False, font={"color": "#52606D"},
                )  # fmt: skip
                if len(lacking) == 2:  # plotly draws no panel, and no note on it, without a trace
                    nothing = {"opacity": 0, "mode": "markers", "hoverinfo": "skip", "showlegend": False}
                    figure.add_trace(go.Scatter(x=[0.5], y=[0.5], **nothing), row, column)
                    figure.update_xaxes(showticklabels=False, row=row, col=column)
                    figure.update_yaxes(showticklabels=False, row=row, col=column)
    for note in figure.layout.annotations[: len(titles)]:
        note.update(font={"size": 12, "color": INK})
    figure = finish(
        figure, "How uncertain right and wrong answers are",
        f"{safe(backbone)}; nats; mean over {over or seeds}; share of the answers of that "
        f"kind with 95% intervals by patients; {cases:,} cases of {patients:,} patients{from_source(source)}.",
        150 + 190 * max(len(tables), 1),
    )  # fmt: skip
    figure.update_yaxes(ticksuffix="%", rangemode="tozero")
    return figure.update_layout(
        margin={"t": 116, "b": 70},
        legend={"y": 0, "yref": "container", "yanchor": "bottom", "x": 0},
    )


def _steps(
    figure: go.Figure, one: pd.DataFrame, name: str, colour: str, dash: str, row: int, column: int, legend: bool
) -> None:  # fmt: skip
    middle = (one["bin_low"] + one["bin_high"]) / 2
    figure.add_trace(
        go.Scatter(
            x=middle, y=100 * one["share"], mode="lines+markers", name=name, legendgroup=name, showlegend=legend,
            line={"color": colour, "dash": dash, "width": 1.5, "shape": "hvh"}, marker={"size": 4, "color": colour},
            error_y={
                "type": "data", "symmetric": False, "thickness": 1, "width": 0, "color": colour,
                "array": 100 * (one["high"] - one["share"]).clip(lower=0),
                "arrayminus": 100 * (one["share"] - one["low"]).clip(lower=0),
            },
            customdata=one[["cases", "n"]],
            hovertemplate=f"{name}: %{{y:.1f}}% at %{{x:.3f}}, %{{customdata[0]:,}} of %{{customdata[1]:,}} cases"
            "<extra></extra>",
        ), row, column,
    )  # fmt: skip


def coverage_dumbbells(table: pd.DataFrame, source: str = "") -> go.Figure:
    """Coverage before and after the accepted edits: a panel of counts of gaps, and one of shares.

    Args:
        table: as `coverage.coverage_gains` gives it.
    """
    counts = table[table["measure"] == "gaps"]
    shares = table[(table["measure"] != "gaps") & table["before"].notna()]
    panels = [part for part in (counts, shares) if len(part)]
    titles = [t for part, t in ((counts, "Gaps of the train split"), (shares, "Share that is covered")) if len(part)]
    sizes = [len(part) + 0.6 for part in panels] or [1]
    figure = make_subplots(
        rows=max(len(panels), 1), cols=1, row_heights=sizes, subplot_titles=titles or None,
        vertical_spacing=min(0.3, 70 / (34 * sum(sizes) + 90)),
    )  # fmt: skip
    for row, part in enumerate(panels, start=1):
        scale = 1.0 if part is counts else 100.0
        names = [_coverage_label(one) for one in part.to_dict("records")]
        for x0, x1, y in zip(scale * part["before"], scale * part["after"], names):
            figure.add_trace(
                go.Scatter(x=[x0, x1], y=[y, y], mode="lines", line={"color": PALE, "width": 5}, hoverinfo="skip",
                           showlegend=False), row, 1,
            )  # fmt: skip
        for side, colour, symbol, shift in (("before", GREY, "circle-open", -12), ("after", BLUE, "diamond", 12)):
            _side(figure, part, names, side, colour, symbol, scale, row, row == 1)
            for x, y in zip(scale * part[side], names):
                figure.add_annotation(
                    x=x, y=y, text=f"{x:,.0f}" if scale == 1 else f"{x:.1f}%", showarrow=False, yshift=shift,
                    font={"size": 10, "color": "#52606D" if side == "before" else BLUE}, row=row, col=1,
                )  # fmt: skip
        figure.update_yaxes(autorange="reversed", type="category", row=row, col=1)
        if scale == 100:
            figure.update_xaxes(ticksuffix="%", range=[-4, 104], row=row, col=1)
        else:
            top = float(np.nanmax(part[["before", "after"]].to_numpy(), initial=1.0))
            figure.update_xaxes(range=[-0.04 * top, 1.08 * top], row=row, col=1)
    for note in figure.layout.annotations[: len(titles)]:
        note.update(x=0, xanchor="left", font={"size": 13, "color": INK})
    census = table[table["measure"] == "gaps"]
    n = f"{int(census['n'].iloc[0]):,} {census['unit'].iloc[0]}" if len(census) else "no train film"
    figure = finish(
        figure, "Coverage before and after the accepted edits",
        f"{n}{from_source(source)}; gaps and combinations are counted, test films have 95% intervals by patients.",
        150 + int(40 * sum(sizes)) + 60 * (len(panels) - 1),
    )  # fmt: skip
    return figure.update_layout(margin={"t": 112, "b": 70}, legend={"y": 0, "yref": "container", "yanchor": "bottom"})


def _coverage_label(row: Mapping[str, object]) -> str:
    if row["measure"] == "combinations":
        return f"combinations of {row['detail']}"
    if row["measure"] == "gaps":
        return str(row["detail"])
    return f"test films near a train film (n {row['n']:,}, {row['patients']:,} patients)"


def _side(
    figure: go.Figure, part: pd.DataFrame, names: list[str], side: str, colour: str, symbol: str, scale: float,
    row: int, legend: bool,
) -> None:  # fmt: skip
    value, low, high = (scale * part[name] for name in (side, f"{side}_low", f"{side}_high"))
    figure.add_trace(
        go.Scatter(
            x=value, y=names, mode="markers", name=side, legendgroup=side, showlegend=legend,
            marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 2}},
            error_x={
                "type": "data", "symmetric": False, "color": colour if side == "before" else GREEN, "thickness": 1.5,
                "width": 4, "array": (high - value).fillna(0), "arrayminus": (value - low).fillna(0),
            },
            hovertemplate=f"%{{y}}<br>{side} %{{x:.2f}}<extra></extra>",
        ), row, 1,
    )  # fmt: skip
