"""How unsure the models of a run are, from both sources side by side: training seeds, and passes with dropout."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import plotly.graph_objects as go

from .. import plots
from ..evaluate.scores import chosen_run
from ..workspace import Workspace
from . import words

#: Measure → words.
MEASURES = {
    "total": "Entropy, total",
    "expected": "Entropy, expected",
    "mutual": "Mutual information",
    "auroc_entropy": "Errors found by entropy, AUROC",
    "auroc_mutual": "Errors found by mutual information, AUROC",
    "aurc_entropy": "AURC by entropy",
    "aurc_mutual": "AURC by mutual information",
}
#: Source → the column of its numbers, and what a cell says that has none.
COLUMNS = {"seeds": ("Over seeds", "one seed"), "dropout": ("Over passes with dropout", "no dropout was trained")}


def rate(workspace: Workspace, run: str) -> float:
    """The dropout that a run was trained with."""
    return chosen_run(workspace, run)[1].dropout


def sentences(uncertain: pd.DataFrame, seeds: int, dropout: float) -> list[str]:
    """What the two sources of a run are, or why one is missing. uncertain: rows of `evaluate.uncertainty_table`."""
    over_seeds = (
        f"Over seeds: the {seeds} trainings of a backbone and arm, as an ensemble."
        if seeds > 1
        else "Over seeds: one was trained, so there is nothing to disagree about."
    )
    if not dropout:
        return [over_seeds, "Over passes with dropout: no dropout was trained, so there are none."]
    own = uncertain[uncertain["source"] == "dropout"] if len(uncertain) else uncertain
    if not len(own):
        return [over_seeds, "Over passes with dropout: this report was made before they were scored; score it again."]
    return [
        over_seeds,
        f"Over passes with dropout: each network predicts {int(own['members'].max())} times with {dropout:.0%} of the "
        f"features before its classifier left out{', and the mean over seeds is given' if seeds > 1 else ''}. It says "
        "nothing about the layers before the classifier.",
    ]


def rows(uncertain: pd.DataFrame, finding: str = "macro") -> pd.DataFrame:
    """Both sources as a printed table: one row a backbone, arm and measure; empty where nothing was measured.

    A table of an older version has no mean over findings; then nothing is printed of it.
    """
    printed: list[dict[str, str]] = []
    if not len(uncertain):
        return pd.DataFrame(printed)
    of_finding = uncertain[uncertain["finding"] == finding]
    for (backbone, arm), part in of_finding.groupby(["backbone", "arm"], sort=False):
        for measure, name in MEASURES.items():
            found = {r["source"]: r for r in part[part["measure"] == measure].to_dict("records")}
            if not found:
                continue
            some = next(iter(found.values()))
            numbers = {
                column: words.interval(found[source]) if source in found else lacking
                for source, (column, lacking) in COLUMNS.items()
            }
            printed.append(
                {"Backbone": str(backbone), "Arm": str(arm), "Measure": name, **numbers,
                 "n films": f"{int(some['n']):,}", "patients": f"{int(some['patients']):,}"}
            )  # fmt: skip
    return pd.DataFrame(printed)


def over(tables: Iterable[pd.DataFrame], seeds: int) -> str:
    """What the members of these tables are, as a figure's title says it: "20 passes with dropout, 3 seeds pooled"."""
    members = max((int(table["members"].max()) for table in tables if len(table)), default=0)
    return f"{members} passes with dropout{f', {seeds} seeds pooled' if seeds > 1 else ''}"


def of_backbone(
    bars: dict[str, pd.DataFrame], lines: dict[str, pd.DataFrame], backbone: str, seeds: int, source: str = "",
    measure: str = "entropy",
) -> tuple[go.Figure, go.Figure]:  # fmt: skip
    """(histograms, risk and coverage) over passes. bars, lines: arm → the tables of `evaluate.uncertainty.drawn`."""
    members = over(bars.values(), seeds)
    by = {arm: table[table["measure"] == measure] for arm, table in lines.items()}
    return (
        plots.uncertainty_histograms(bars, backbone, source, members),
        plots.risk_coverage(by, backbone, source, measure, members),
    )
