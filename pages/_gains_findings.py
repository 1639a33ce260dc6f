"""Gains, findings: which finding gains from which arm, and its precision-recall curve."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cars import plots, results
from cars.evaluate import curves
from cars.workspace import Workspace
from pages import _state
from pages._common import plain
from pages._gains_run import (
    Run,
    arms_choice,
    backbone_choice,
    calibrated_choice,
    metric_choice,
    metrics_of,
    opened,
    shown,
)


@st.cache_data(max_entries=32, show_spinner="Drawing the curves")
def precision_recall(key: tuple[str, ...], run: str, backbone: str, arm: str, finding: str) -> pd.DataFrame:
    return curves.precision_recall(opened(key, run), backbone, arm, finding)


@st.cache_data(max_entries=4, show_spinner=False)
def curve_findings(key: tuple[str, ...], run: str) -> list[str]:
    """Findings that have a curve, those to be drawn first first."""
    return results.curve_findings(opened(key, run), most=14)


def show_findings(workspace: Workspace, run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        backbone = backbone_choice(run)
        metric = metric_choice(metrics_of(run.scores), "score")
        calibrated = calibrated_choice()
    rows = (
        run.gains[(run.gains["backbone"] == backbone) & (run.gains["metric"] == metric)]
        if len(run.gains)
        else run.gains
    )
    rows = rows[rows["calibrated"] == calibrated] if len(rows) else rows
    if not len(rows):
        st.info("No second arm was trained for this backbone: nothing is compared by finding.")
    else:
        heat = plots.finding_arm_heat(run.gains, backbone, metric, calibrated, run.source)
        shown(run, heat, "Findings and arms", rows, "heat")
    st.subheader("Precision and recall")
    known = curve_findings(run.key, run.name)
    if not known:
        st.info("No finding has a positive test film that every unit learned: no curve is defined.")
        return
    with st.container(horizontal=True):
        finding = _state.selectbox("Finding", known, "curve", width=260)
        arms = arms_choice(run, backbone)
    if not arms:
        st.info("Choose at least one arm.")
        return
    found = {arm: precision_recall(run.key, run.name, backbone, arm, finding) for arm in arms}
    undefined = [arm for arm, table in found.items() if table["precision"].isna().all()]
    if len(undefined) == len(arms):
        one = found[arms[0]].iloc[0]
        st.info(
            f"The curve of {plain(finding)} is undefined: {int(one['positives']):,} of {int(one['n']):,} test films "
            "are positive, or a unit had no training positive."
        )
        return
    table = pd.concat([part.assign(arm=arm) for arm, part in found.items()], ignore_index=True)
    shown(run, plots.precision_recall(found, finding, backbone, run.source), "Precision and recall", table, "curve-pr")
