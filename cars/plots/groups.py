"""How common each finding is in each group: one small panel a finding, one row a group."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .base import BLUE, GREY, INK, finish, of_units, plural, safe

COLUMNS = 5


def group_panels(
    table: pd.DataFrame, by: str, n: int, unit: str = "patient", difference: bool = False, source: str = ""
) -> go.Figure:
    """The share of each group's units that show a finding, with its 95% interval and the share of all as a line.

    Args:
        table: as `coverage.prevalence` gives it. by: what the groups are, in words. n: how many units there are.
        difference: show each group's share minus that of all; its interval is the group's, with all taken as known.
    """
    findings = list(dict.fromkeys(table["finding"]))
    groups = [g for g in dict.fromkeys(table["group"]) if g != "all"]
    members = table.drop_duplicates("group").set_index("group")["n"]
    labels = [f"{safe(g)} (n {members[g]:,})" for g in groups]
    height = len(groups) or 1
    rows = -(-len(findings) // COLUMNS)
    figure = make_subplots(
        rows=rows, cols=COLUMNS, subplot_titles=findings, shared_yaxes=True, horizontal_spacing=0.025,
        vertical_spacing=58 / (rows * (58 + 22 * height)) if rows > 1 else 0,
    )  # fmt: skip
    shapes, traces = [], []
    for k, finding in enumerate(findings):
        axis = "" if k == 0 else str(k + 1)
        part = table[table["finding"] == finding].set_index("group")
        overall = float(part.loc["all", "share"])
        own = part.loc[groups]
        base = overall if difference else 0.0
        share, low, high = (100 * (own[c].to_numpy(dtype=float) - base) for c in ("share", "low", "high"))
        traces.append(
            {
                "type": "scatter", "x": share, "y": labels, "mode": "markers", "marker": {"color": BLUE, "size": 8},
                "showlegend": False, "cliponaxis": False, "xaxis": f"x{axis}", "yaxis": f"y{axis}",
                "error_x": {"type": "data", "symmetric": False, "array": high - share, "arrayminus": share - low,
                            "color": BLUE, "thickness": 1.5, "width": 3},
                "customdata": np.column_stack([own["count"], own["n"], low, high]),
                "hovertemplate": f"{finding}, %{{y}}<br>%{{x:.2f}}% (%{{customdata[2]:.2f}} to "
                "%{customdata[3]:.2f}); %{customdata[0]:,} of %{customdata[1]:,}<extra></extra>",
            }
        )  # fmt: skip
        line = 0.0 if difference else 100 * overall
        if np.isfinite(line):
            shapes.append(
                {"type": "line", "x0": line, "x1": line, "y0": 0, "y1": 1, "xref": f"x{axis}",
                 "yref": f"y{axis} domain", "line": {"color": INK if difference else GREY, "dash": "dot", "width": 1.5}}
            )  # fmt: skip
    # all at once: adding them one by one to 14 panels takes half a second
    figure = go.Figure({"data": traces, "layout": {**figure.layout.to_plotly_json(), "shapes": shapes}})
    what = "minus that of all" if difference else "and of all (dotted)"
    figure = finish(
        figure, f"Findings by {by}",
        f"% of the {plural(unit, 2)} of each group with the finding, {what}; 95% intervals; "
        f"{of_units(n, unit, source)}.", 130 + rows * (58 + 22 * height),
    )  # fmt: skip
    figure.update_xaxes(ticksuffix="%" if not difference else "", nticks=4, tickfont={"size": 10})
    if not difference:
        figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(range=[height - 0.4, -0.6], type="category", tickfont={"size": 11})
    for title in figure.layout.annotations:
        title.font = {"size": 12, "color": INK}
    return figure
