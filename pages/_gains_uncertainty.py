"""Gains, uncertainty: is a model less certain where it is wrong, and what is gained by leaving out uncertain cases?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cars import plots
from cars.evaluate import curves
from cars.workspace import Workspace
from pages import _state
from pages._gains_run import Run, backbone_choice, finding_choice, shown


@st.cache_data(max_entries=64, show_spinner="Measuring uncertainty")
def uncertainty(
    key: tuple[str, ...], run: str, backbone: str, arm: str, finding: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(histograms of both measures, risk-coverage curves by both) after temperature scaling."""
    cases = curves.uncertainty(curves.open_run(Workspace(key[0]), run), backbone, arm, True, finding)
    bars = [curves.uncertainty_histogram(cases, measure) for measure in curves.MEASURES]
    lines = [curves.risk_coverage(cases, measure).assign(measure=measure) for measure in curves.MEASURES]
    return pd.concat(bars, ignore_index=True), pd.concat(lines, ignore_index=True)


def show_uncertainty(workspace: Workspace, run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        backbone = backbone_choice(run)
        finding = finding_choice(run, "all findings")
    one = None if finding == "macro" else finding
    arms = list(dict.fromkeys(run.units[run.units["backbone"] == backbone]["arm"]))
    found = {arm: uncertainty(run.key, run.name, backbone, arm, one) for arm in arms}
    bars = {arm: table for arm, (table, _) in found.items()}
    table = pd.concat([part.assign(arm=arm) for arm, part in bars.items()], ignore_index=True)
    if table["n"].sum() == 0:
        st.info("Undefined: no unit had a training positive of this finding, or no test film has a label for it.")
        return
    shown(run, plots.uncertainty_histograms(bars, backbone, run.source), "Uncertainty", table, "uncertainty")
    st.caption(
        "Entropy: how undecided the mean over seeds is. Mutual information: how much of that is the seeds' "
        "disagreement; it needs two seeds. An answer is right when the probability is on the label's side of one half."
    )
    by = _state.segmented("Leave out by", {m: f"By {m}" for m in curves.MEASURES}, "leave", "entropy")
    lines = {arm: table[table["measure"] == by] for arm, (_, table) in found.items()}
    table = pd.concat([part.assign(arm=arm) for arm, part in lines.items()], ignore_index=True)
    if table["risk"].isna().all():
        st.info("One training seed has nothing to disagree with, so this is undefined. Train 2 seeds or more.")
    else:
        shown(run, plots.risk_coverage(lines, backbone, run.source, by), "Risk and coverage", table, "risk")
    if len(run.uncertain):
        with st.expander("All numbers of uncertainty"):
            st.dataframe(run.uncertain[run.uncertain["backbone"] == backbone], hide_index=True)
