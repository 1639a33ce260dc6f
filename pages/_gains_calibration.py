"""Gains, calibration: do the probabilities mean what they say, before and after temperature scaling?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cars import plots
from cars.evaluate import curves
from cars.workspace import Workspace
from pages._gains_run import Run, backbone_choice, finding_choice, shown

SIDES = {"before": False, "after": True}


@st.cache_data(max_entries=64, show_spinner="Drawing the reliability")
def reliability(
    key: tuple[str, ...], run: str, backbone: str, arm: str, finding: str | None
) -> dict[str, pd.DataFrame]:
    view = curves.open_run(Workspace(key[0]), run)
    return {side: curves.reliability_of(view, backbone, arm, after, finding) for side, after in SIDES.items()}


def show_calibration(workspace: Workspace, run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        backbone = backbone_choice(run)
        finding = finding_choice(run, "all findings")
    units = run.units[run.units["backbone"] == backbone]
    one = None if finding == "macro" else finding
    found = {arm: reliability(run.key, run.name, backbone, arm, one) for arm in dict.fromkeys(units["arm"])}
    if not any(len(sides["before"]) for sides in found.values()):
        st.info("Undefined: no unit had a training positive of this finding, or no test film has a label for it.")
        return
    table = pd.concat(
        [part.assign(arm=arm, scaling=side) for arm, sides in found.items() for side, part in sides.items()],
        ignore_index=True,
    )
    shown(run, plots.reliability(found, backbone, run.source), "Reliability", table, "reliability")
    st.caption(
        "On the dashed line a probability means what it says. One temperature a unit, fitted on the validate patients: "
        + "; ".join(f"{row.arm} seed {row.seed}: {row.temperature:.2f}" for row in units.itertuples())
        + ". A temperature changes no ranking."
    )
