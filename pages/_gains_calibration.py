"""Gains, calibration: do the probabilities mean what they say, before and after temperature scaling?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cars import plots
from cars.evaluate import curves
from cars.workspace import Workspace
from pages._gains_run import Run, arms_choice, backbone_choice, finding_choice, opened, shown

SIDES = {"before": False, "after": True}


@st.cache_data(max_entries=64, show_spinner="Drawing the reliability")
def reliability(
    key: tuple[str, ...], run: str, backbone: str, arm: str, finding: str | None
) -> dict[str, pd.DataFrame]:
    view = opened(key, run)
    return {side: curves.reliability_of(view, backbone, arm, after, finding) for side, after in SIDES.items()}


def show_calibration(workspace: Workspace, run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        backbone = backbone_choice(run)
        finding = finding_choice(run, "all findings")
    arms = arms_choice(run, backbone)
    if not arms:
        st.info("Choose at least one arm.")
        return
    one = None if finding == "macro" else finding
    found = {arm: reliability(run.key, run.name, backbone, arm, one) for arm in arms}
    if not any(len(sides["before"]) for sides in found.values()):
        st.info("Undefined: no unit had a training positive of this finding, or no test film has a label for it.")
        return
    table = pd.concat(
        [part.assign(arm=arm, scaling=side) for arm, sides in found.items() for side, part in sides.items()],
        ignore_index=True,
    )
    shown(run, plots.reliability(found, backbone, run.source), "Reliability", table, "reliability")
    st.caption(
        "On the dashed line a probability means what it says; above it the finding was there more often than said. "
        "After scaling: each unit's probabilities under its own temperature, fitted on the validate patients. A "
        "temperature below 1 makes them bolder, above 1 more careful; it changes no ranking."
    )
    with st.expander("Temperatures"):
        units = run.units[run.units["backbone"] == backbone]
        wide = units.pivot(index="arm", columns="seed", values="temperature").loc[list(dict.fromkeys(units["arm"]))]
        st.dataframe(wide.rename(columns=lambda seed: f"seed {seed}").round(2))
