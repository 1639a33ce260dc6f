"""Gains, training: which backbones and arms, and one button that trains and scores."""

from __future__ import annotations

import streamlit as st

from cars import evaluate
from cars.backbones import BACKBONES
from cars.workspace import Workspace
from pages._common import defaults, multiple, plain, setting_widgets, submit


def controls(workspace: Workspace, found: bool) -> None:
    """What to train; one button trains and scores."""
    start = defaults(workspace, "finetune", evaluate.FinetuneSettings)
    if start is None:
        return
    with st.expander("Train and compare", expanded=not found):
        names = BACKBONES.names()
        backbones = multiple("Backbones", names, start.backbones, "backbones", "Each is trained on every arm.")
        arms = multiple("Arms", list(evaluate.ARMS), start.arms, "arms", "Training sets; real is the baseline.")
        st.caption("  \n".join(f"{plain(arm)}: {words}" for arm, words in evaluate.ARMS.items()))
        left, right = st.columns(2)
        with left:
            chosen = setting_widgets("finetune", start, ["seeds", "steps", "batch"])
        with right:
            chosen |= setting_widgets("finetune", start, ["size", "uncertain", "not_mentioned"])
        if "real+cars" in arms and not workspace.has("edits"):
            st.info("The arm real+cars needs accepted synthetic films; make some on the page Synthesise first.")
        kind = "secondary" if found else "primary"
        if st.button("Fine-tune and score", type=kind, disabled=not (backbones and arms)):
            trained = submit(workspace, "finetune", {"backbones": backbones, "arms": arms, **chosen})
            if trained:
                submit(workspace, "report", {}, after=trained)
            st.rerun()
