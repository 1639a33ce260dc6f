"""Gains: one run's tables, what its figures cannot say, and the choices that several sections share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from cars import evaluate, plots, results, schema
from cars.evaluate import curves
from cars.metrics import METRICS
from cars.workspace import Workspace
from pages import _state
from pages._common import plain, source_name
from pages._figure import figure

#: Metrics that are shown first, as far as they were scored.
FIRST = ("auprc", "auroc", "ece", "brier")


@dataclass(frozen=True)
class Run:
    """A scored run's tables. key: the stamp of the tables, for caches."""

    key: tuple[str, ...]
    name: str
    source: str
    backbones: list[str]
    arms: list[str]
    scores: pd.DataFrame
    gains: pd.DataFrame
    slices: pd.DataFrame
    uncertain: pd.DataFrame
    units: pd.DataFrame
    cautions: list[str]


def run_words(known: pd.DataFrame) -> dict[str, str]:
    """Run → its name (where it has one), when it was completed, and the start of its hash. known: `evaluate.runs`."""
    words = {}
    for run, completed, settings in zip(known["run"], known["completed"], known["settings"]):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(completed))
        words[run] = " · ".join(filter(None, [settings.get("name"), when, run[:8]]))
    return words


@st.cache_data(max_entries=4, show_spinner="Reading the scores")
def read_run(key: tuple[str, ...], name: str) -> Run:
    workspace = Workspace(key[0])
    units = in_order(evaluate.units_of(workspace, name))
    arms = list(dict.fromkeys(units["arm"]))
    seeds = int(units.groupby(["backbone", "arm"])["seed"].nunique().min())
    return Run(
        key, name, source_name(workspace), list(dict.fromkeys(units["backbone"])), arms,
        in_order(evaluate.score_table(workspace, name)), in_order(evaluate.gain_table(workspace, name)),
        in_order(evaluate.slice_table(workspace, name)), in_order(evaluate.uncertainty_table(workspace, name)), units,
        results.cautions(arms, seeds),
    )  # fmt: skip


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with the arms in the order of the experiment, by backbone; else as they were."""
    if not len(table) or "arm" not in table:
        return table
    place = {arm: n for n, arm in enumerate(evaluate.ARMS)}
    return table.sort_values(
        ["backbone", "arm"], key=lambda c: c.map(lambda arm: place.get(arm, len(place))) if c.name == "arm" else c,
        kind="stable", ignore_index=True,
    )  # fmt: skip


@st.cache_resource(max_entries=4, show_spinner="Reading the predictions")
def opened(key: tuple[str, ...], run: str) -> curves.Tested:
    """A run's test films and units, read once for all that is drawn of them; nobody may change it."""
    return curves.open_run(Workspace(key[0]), run)


def arms_choice(run: Run, backbone: str) -> list[str]:
    """The arms of a backbone that a figure draws: the reference and those with edits, unless others are chosen."""
    arms = list(dict.fromkeys(run.units.loc[run.units["backbone"] == backbone, "arm"]))
    main = [evaluate.reference(arms), *evaluate.TREATED]
    start = [arm for arm in arms if arm in main]
    chosen = st.multiselect("Arms", arms, start, key=f"arms-{run.name}-{backbone}")
    return [arm for arm in arms if arm in chosen]


def cautions(run: Run) -> None:
    """What the figures cannot say, once above them; each figure carries it too."""
    if run.cautions:
        st.warning("  \n".join(plain(text) for text in run.cautions))


def shown(run: Run, drawn: go.Figure, name: str, table: Any, key: str, letters: int = 110, **options: Any) -> None:
    """A figure of a run with its downloads and what it cannot say. letters: of a line under its title."""
    figure(plots.caution(drawn, run.cautions, letters), name, table, key, source=run.source, **options)


def metrics_of(table: pd.DataFrame) -> list[str]:
    """The metrics of a table, those of FIRST first."""
    there = set(table["metric"])
    return [name for name in dict.fromkeys((*FIRST, *METRICS.names())) if name in there]


def label(name: str) -> str:
    """A metric as widgets show it."""
    return METRICS.get(name).label


def backbone_choice(run: Run) -> str:
    return _state.selectbox("Backbone", run.backbones, "backbone", width=260)


def finding_choice(run: Run, pooled: str) -> str:
    """A finding, or "macro", which `pooled` says in words."""
    options = ["macro", *[f for f in schema.FINDINGS if f in set(run.scores["finding"])]]
    return _state.selectbox("Finding", options, "finding", words=lambda f: pooled if f == "macro" else f, width=260)


def metric_choice(names: Sequence[str], key: str, title: str = "Metric") -> str:
    return _state.selectbox(title, list(names), key, words=label, width=260)


def calibrated_choice() -> bool:
    return _state.toggle("After temperature scaling", "scaled", help="Temperature fitted on the validate patients.")
