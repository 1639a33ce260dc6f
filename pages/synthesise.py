"""Synthesise: plan edits that fill gaps, preview one, make the films, and decide on each with its gates in view."""

from __future__ import annotations

import streamlit as st

from pages import _state
from pages._common import current, empty, reported, watch
from pages._synthesise_edits import show_edits, table_of
from pages._synthesise_plan import choose, pick_plan, show_plan
from pages._synthesise_preview import show_preview

STEPS = {"plan": "1 Plan", "preview": "2 Preview", "edits": "3 Edits"}

workspace = current()
st.title("Synthesise")
if not workspace.has("gaps"):
    empty("There are no gaps yet: they say what is worth making.", "coverage", "Find gaps on the page Coverage")
else:
    st.write("Fill gaps with edits of train films. Sex, age and view stay as they are; test patients are never edited.")
    opened = st.session_state.pop("open-plan", None)
    if opened is not None:
        st.session_state["plan-shown"], st.session_state["open-step"] = opened, "edits"
    if "open-step" in st.session_state:
        st.session_state["step"] = st.session_state.pop("open-step")
    watch(workspace, "plan", "synth", "train-generator")
    _state.place_for_notices()
    with reported():
        plan_id = pick_plan(workspace)
        made = len(table_of(workspace, plan_id)) if plan_id else 0
        fresh = "chosen-gaps" in st.session_state  # a gap chosen on the page Coverage is to be planned
        step = _state.segmented("Step", STEPS, "step", "edits" if made and not fresh else "plan")
        if plan_id is None:
            if step != "plan":
                st.info("Nothing is planned yet. Choose gaps in the section Plan and press Plan edits.")
            else:
                choose(workspace, planned=False)
                st.info("Nothing is planned yet. Choose gaps above and press Plan edits.")
        elif step == "plan":
            choose(workspace, planned=True)
            show_plan(workspace, plan_id, made)
        elif step == "preview":
            show_preview(workspace, plan_id)
        else:
            show_edits(workspace, plan_id)
