"""Everything that is known of one run, in tables: what the documents and the CSV are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from .. import coverage, evaluate, schema, stages
from ..errors import CarsError
from ..evaluate import curves, uncertainty
from ..evaluate.scores import chosen_run
from ..generators import baselines
from ..progress import Progress, silent
from ..workspace import Workspace
from .origin import origin

#: Precision-recall curves are drawn of so many findings a backbone: those that were edited most, then the commonest.
CURVES = 3
#: Tables in the order in which the CSV holds them.
TABLES = (
    "gains", "scores", "slices", "model_uncertainty", "coverage", "units", "reliability", "precision_recall",
    "uncertainty", "risk_coverage", "dropout_uncertainty", "dropout_risk_coverage",
)  # fmt: skip


@dataclass(frozen=True)
class Results:
    """One scored run.

    source: the data set's name. arms, backbones: in the order of the units. seeds: the fewest of any arm. level: of the
    intervals. tables: by the names of TABLES, empty ones included. sentences: (arm, sentence), one a backbone and arm.
    cautions: what the figures cannot say. origin: settings, hashes and revisions, see origin.py. coverage_note: why the
    table `coverage` is empty, else "". dropout: what share of the features training dropped.
    """

    run: str
    source: str
    backbones: list[str]
    arms: list[str]
    seeds: int
    level: float
    tables: dict[str, pd.DataFrame]
    sentences: list[tuple[str, str]]
    cautions: list[str]
    origin: dict[str, Any]
    coverage_note: str = ""
    dropout: float = 0.0


def source_of(workspace: Workspace) -> str:
    """The data set's name for titles."""
    about = stages.about(workspace)
    return str(about.get("name") or about.get("adapter") or workspace.name)


def gather(workspace: Workspace, run: str | None = None, progress: Progress = silent) -> Results:
    """Read and compute all tables of a scored run (the latest).

    Raises: WorkspaceError where there is no run, it has not been scored, or its test films have changed.
    """
    scores = evaluate.score_table(workspace, run)
    view = curves.open_run(workspace, run)
    gains = evaluate.gain_table(workspace, view.run)
    units = view.units
    pairs = list(dict.fromkeys(zip(units["backbone"], units["arm"])))
    tables = {
        "gains": gains, "scores": scores, "slices": evaluate.slice_table(workspace, view.run),
        "model_uncertainty": evaluate.uncertainty_table(workspace, view.run),
        "units": units.drop(columns=["path"], errors="ignore"),
    }  # fmt: skip
    names = ("reliability", "precision_recall", "uncertainty", "risk_coverage")
    dropout = chosen_run(workspace, view.run)[1].dropout
    if dropout:
        names += ("dropout_uncertainty", "dropout_risk_coverage")
    drawn: dict[str, list[pd.DataFrame]] = {name: [] for name in names}
    findings = curve_findings(view)
    for done, (backbone, arm) in enumerate(pairs):
        progress(done, len(pairs), f"drawing {backbone}, {arm}")
        for name, table in _drawn(view, backbone, arm, findings, dropout).items():
            drawn[name].append(table.assign(backbone=backbone, arm=arm))
    tables |= {name: pd.concat(parts, ignore_index=True) for name, parts in drawn.items()}
    note = ""
    try:
        tables["coverage"] = coverage_table(workspace)
    except CarsError as error:
        tables["coverage"], note = pd.DataFrame(), error.message
    progress(len(pairs), len(pairs), "drawn")
    about = origin(workspace, view.run)
    seeds = int(units.groupby(["backbone", "arm"])["seed"].nunique().min())
    arms = list(dict.fromkeys(units["arm"]))
    level = float((about["report"] or {}).get("settings", {}).get("level", 0.95))
    said = [one for of_arms in evaluate.sentences(gains).values() for one in of_arms.items()]
    return Results(
        run=view.run, source=source_of(workspace), backbones=list(dict.fromkeys(units["backbone"])), arms=arms,
        seeds=seeds, level=level, tables=tables,
        sentences=said,
        cautions=cautions(arms, seeds), origin=about, coverage_note=note, dropout=dropout,
    )  # fmt: skip


def cautions(arms: list[str], seeds: int) -> list[str]:
    """What the figures of a run with these arms and so many seeds cannot say."""
    return evaluate.cannot_conclude(arms, seeds)


def coverage_table(workspace: Workspace) -> pd.DataFrame:
    """`coverage.coverage_gains` under the settings that the gaps were found with; empty before the first edit."""
    if not workspace.has("edits"):
        return pd.DataFrame()
    return coverage.coverage_gains(workspace, stages.gap_settings(workspace))


def curve_findings(view: curves.Tested, most: int = CURVES) -> list[str]:
    """The findings that have a curve: learned by every unit, the most edited and then the commonest first."""
    edited: dict[str, int] = {}
    if view.workspace.has("edits"):
        counts = view.workspace.query("results/accepted", baselines=baselines())["finding"].value_counts()
        edited = {str(finding): int(n) for finding, n in counts.items()}
    positives = {f: int((view.test.y[:, c] * view.test.known[:, c]).sum()) for c, f in enumerate(schema.FINDINGS)}
    known = [f for c, f in enumerate(schema.FINDINGS) if view.test.learned[c] and f != "No Finding" and positives[f]]
    return sorted(known, key=lambda f: (-edited.get(f, 0), f == "Support Devices", -positives[f]))[:most]


def _drawn(
    view: curves.Tested, backbone: str, arm: str, findings: list[str], dropout: float
) -> dict[str, pd.DataFrame]:
    """The curves of one backbone and arm. Uncertainty is of calibrated probabilities."""
    sides = [
        curves.reliability_of(view, backbone, arm, after).assign(calibrated=after, finding="all")
        for after in (False, True)
    ]
    of_findings = [curves.precision_recall(view, backbone, arm, f).assign(finding=f) for f in findings]
    bars, lines = uncertainty.drawn(curves.uncertainty(view, backbone, arm, True, None))
    found = {
        "reliability": pd.concat(sides, ignore_index=True),
        "precision_recall": pd.concat(of_findings, ignore_index=True) if of_findings else pd.DataFrame(),
        "uncertainty": bars,
        "risk_coverage": lines,
    }
    if dropout:
        bars, lines = uncertainty.drawn(uncertainty.dropout_cases(view, backbone, arm, True, None))
        found |= {"dropout_uncertainty": bars, "dropout_risk_coverage": lines}
    return found


def every_number(results: Results) -> pd.DataFrame:
    """All tables one under the other: `table`, then the union of their columns.

    A number that its own table has no value for is the word "undefined"; a column that a table does not have is empty.
    """
    parts = []
    for name in TABLES:
        table = results.tables.get(name)
        if table is None or not len(table):
            continue
        words = table.astype(object)
        for column in table.select_dtypes("number"):
            words[column] = words[column].where(table[column].notna(), "undefined")
        parts.append(words.assign(table=name))
    whole = pd.concat(parts, ignore_index=True)
    return whole[["table", *[c for c in whole.columns if c != "table"]]]
