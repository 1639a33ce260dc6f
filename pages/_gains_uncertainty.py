"""Gains, uncertainty: is a model less certain where it is wrong, and what is gained by leaving out uncertain cases?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cars import plots
from cars.evaluate import curves
from cars.evaluate.uncertainty import drawn, dropout_cases
from cars.results import doubt
from cars.workspace import Workspace
from pages import _state
from pages._common import reported
from pages._gains_run import Run, arms_choice, backbone_choice, finding_choice, opened, shown

#: Letters of a line under the title of a figure that has half of the page, or all of it.
NARROW, WIDE = 66, 110
#: (histograms of both measures, risk-coverage curves by both) after temperature scaling
Tables = tuple[pd.DataFrame, pd.DataFrame]


@st.cache_data(max_entries=64, show_spinner="Measuring uncertainty")
def over_seeds(key: tuple[str, ...], run: str, backbone: str, arm: str, finding: str | None) -> Tables:
    return drawn(curves.uncertainty(opened(key, run), backbone, arm, True, finding))


@st.cache_data(max_entries=64, show_spinner="Measuring uncertainty over passes")
def over_passes(key: tuple[str, ...], run: str, backbone: str, arm: str, finding: str | None) -> Tables:
    return drawn(dropout_cases(opened(key, run), backbone, arm, True, finding))


def show_uncertainty(workspace: Workspace, run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        backbone = backbone_choice(run)
        finding = finding_choice(run, "all findings")
    one = None if finding == "macro" else finding
    own = run.units[run.units["backbone"] == backbone]
    seeds = int(own.groupby("arm")["seed"].nunique().min())
    arms = arms_choice(run, backbone)
    if not arms:
        st.info("Choose at least one arm.")
        return
    dropout = doubt.rate(workspace, run.name)
    found = {arm: over_seeds(run.key, run.name, backbone, arm, one) for arm in arms}
    bars = {arm: table for arm, (table, _) in found.items()}
    table = joined(bars)
    if table["n"].sum() == 0:
        st.info("Undefined: no unit had a training positive of this finding, or no test film has a label for it.")
        return
    passes: dict[str, Tables] = {}
    if dropout:
        with reported():
            passes = {arm: over_passes(run.key, run.name, backbone, arm, one) for arm in arms}
    st.markdown("\n".join(f"- {sentence}" for sentence in doubt.sentences(run.uncertain, seeds, dropout)))
    left, right = st.columns(2) if passes else (st.container(), None)
    letters = NARROW if passes else WIDE
    with left:
        drawing = plots.uncertainty_histograms(bars, backbone, run.source)
        shown(run, drawing, "Uncertainty", table, "uncertainty", letters)
    if right is not None:
        bars = {arm: table for arm, (table, _) in passes.items()}
        members = doubt.over(bars.values(), seeds)
        figure = plots.uncertainty_histograms(bars, backbone, run.source, members)
        with right:
            shown(run, figure, "Uncertainty over dropout", joined(bars), "uncertainty-dropout", letters)
    st.caption(
        "Entropy: how undecided the mean prediction is. Mutual information: how much of that is disagreement, of the "
        "seeds (two are needed) or of the passes. An answer is right when the probability is on the label's side of "
        "one half."
    )
    by = _state.segmented("Leave out by", {m: f"By {m}" for m in curves.MEASURES}, "leave", "entropy")
    left, right = st.columns(2) if passes else (st.container(), None)
    with left:
        lines = {arm: table[table["measure"] == by] for arm, (_, table) in found.items()}
        table = joined(lines)
        if table["risk"].isna().all():
            st.info("One training seed has nothing to disagree with, so this is undefined. Train 2 seeds or more.")
        else:
            drawing = plots.risk_coverage(lines, backbone, run.source, by)
            if passes:  # the whole title is wider than half a page
                drawing.update_layout(title_text="<b>Risk and coverage</b>")
            shown(run, drawing, "Risk and coverage", table, "risk", letters)
    if right is not None:
        lines = {arm: table[table["measure"] == by] for arm, (_, table) in passes.items()}
        figure = plots.risk_coverage(lines, backbone, run.source, by, members)
        figure.update_layout(title_text="<b>Risk and coverage</b>")
        with right:
            shown(run, figure, "Risk and coverage over dropout", joined(lines), "risk-dropout", letters)
    numbers = doubt.rows(run.uncertain, finding)
    if len(numbers):
        st.caption("Both sources in numbers, as trained; entropies in nats, with 95% intervals by patients.")
        st.dataframe(numbers[numbers["Backbone"] == backbone].drop(columns="Backbone"), hide_index=True)
    if len(run.uncertain):
        with st.expander("All numbers of uncertainty"):
            st.dataframe(run.uncertain[run.uncertain["backbone"] == backbone], hide_index=True)


def joined(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The arms' tables one under the other."""
    return pd.concat([part.assign(arm=arm) for arm, part in tables.items()], ignore_index=True)
