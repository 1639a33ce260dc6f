"""The section Preview of the page Synthesise: one film of the plan edited now, with strength and seed, and not kept."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any

import pandas as pd
import streamlit as st

from cars import pictures, synth
from cars.errors import CarsError
from cars.synth.editing import MOST_GUIDANCE
from cars.workspace import Workspace
from pages._common import defaults, plain, show_error
from pages._swipe import swipe
from pages._synthesise_edits import badges
from pages._synthesise_plan import gap_words

ABOUT = "A preview: nothing is stored, and it is never used, trained on or exported."


@st.cache_resource(max_entries=2, show_spinner="Loading the editor and the judge, once")
def models(key: tuple[Any, ...], path: str, settings: synth.SynthSettings) -> tuple[Any, threading.Lock]:
    """What edits and gates need, loaded, with a lock: all who look share them. `key` changes when a model does."""
    return synth.workspace_models(Workspace(path), settings), threading.Lock()


def models_key(workspace: Workspace) -> tuple[Any, ...]:
    """Changes when the workspace gets another editor, judge, encoder, or other thresholds."""
    files = [workspace.path / "workspace.toml", *workspace.path.glob("models/*/CURRENT"), workspace.path / "embeddings"]
    return tuple((file.parent.name, file.stat().st_mtime_ns) for file in files if file.exists())


def show_preview(workspace: Workspace, plan_id: str) -> None:
    """The choice of film, strength and seed; the button; and what came of it."""
    table = synth.plan_table(workspace, plan_id)
    start = defaults(workspace, "synth", synth.SynthSettings)
    if start is None:
        return
    if table.empty:
        st.info("This plan holds no film to preview.")
        return
    start = dataclasses.replace(start, **st.session_state.get("how", {}))
    st.write(ABOUT)
    words = {
        row.item: " · ".join([f"{row.item + 1}. {row.edit}", str(row.view), str(row.sex)]
                             + ([f"{row.age:.0f}"] if row.age == row.age else []))
        for row in table.itertuples()
    }  # fmt: skip
    left, right = st.columns([2, 3], gap="medium")
    with left, st.container(border=True):
        item = st.selectbox("Film of the plan", list(words), format_func=words.get, key=f"preview-{plan_id}")
        row = table[table["item"] == item].iloc[0]
        st.caption(plain(f"For the gap: {gap_words(table)[int(item)]}."))
        guidance = st.slider(
            "Strength", 0.0, 10.0, float(min(start.guidance, 10.0)), 0.5, key="preview-guidance",
            help="Guidance away from the source's findings: 1 is none, more is stronger.",
        )  # fmt: skip
        limit = min((MOST_GUIDANCE[f] for f in row["findings"] if f in MOST_GUIDANCE), default=None)
        if limit is not None and guidance > limit:
            st.caption(f"This edit is made with at most {limit:g}: more overdoes it.")
        seed = st.number_input(
            "Seed", 0, synth.MOST_SEED - 1, int(row["seed"]), key=f"preview-seed-{plan_id}-{item}",
            help="It starts as the plan's: the film is then the one that the batch makes with this strength.",
        )  # fmt: skip
        asked = {"plan": plan_id, "item": int(item), "guidance": guidance, "seed": int(seed)}
        if st.button("Preview", type="primary", key="preview"):
            make(workspace, row, asked, dataclasses.replace(start, guidance=guidance, uncertainty=0))
        made = st.session_state.get("preview-made")
        if made and made["asked"]["plan"] == plan_id and not made.get("error"):
            st.button(
                "Use this strength for the batch", key="preview-use", on_click=use, args=(made["asked"]["guidance"],),
                help="Opens the plan with it.",
            )  # fmt: skip
    with right:
        show_made(made, asked, plan_id)


def make(workspace: Workspace, row: pd.Series, asked: dict[str, Any], settings: synth.SynthSettings) -> None:
    """Edit the film and keep what is to be shown in the session."""
    begun = time.monotonic()
    try:
        loaded, lock = models(models_key(workspace), str(workspace.path), dataclasses.replace(settings, guidance=1.0))
        ready = time.monotonic()
        with st.spinner("Editing one film"), lock:
            made = synth.preview(
                workspace, row["source_dicom_id"], row["findings"], asked["seed"], asked["guidance"], settings, loaded
            )
    except CarsError as error:
        st.session_state["preview-made"] = {"asked": asked, "problem": error}
        return
    shown: dict[str, Any] = {"asked": asked, "title": row["edit"], "error": made["error"]}
    if made["error"] is None:
        outlines = (made["masks"], made["masks_after"])
        shown["layers"] = pictures.layers(made["source"], made["edited"], made["roi"], 1024, outlines)
        shown["gates"] = pd.DataFrame([vars(measure) for measure in made["gates"]])
        shown["passed"], shown["mode"] = made["passed"], made["mode"]
    shown["seconds"], shown["loading"] = time.monotonic() - ready, ready - begun
    st.session_state["preview-made"] = shown


def show_made(made: dict[str, Any] | None, asked: dict[str, Any], plan_id: str) -> None:
    """The preview and its gates."""
    if not made or made["asked"]["plan"] != plan_id:
        st.info("Choose a film of the plan and press Preview. The first one also loads the models.")
        return
    if "problem" in made:
        show_error(made["problem"])
        return
    if made["error"]:
        st.warning(f"No film was made: {plain(made['error'])}.")
        return
    how = made["asked"]
    what = f"**{plain(made['title'])}** · strength {how['guidance']:g} · seed {how['seed']} · {plain(made['mode'])}"
    st.markdown(what)
    if how != asked:
        st.caption("This is the preview made before the film, strength or seed was changed; press Preview again.")
    swipe(made["layers"], f"preview of {made['title']}", "preview-swipe")
    badges(made["gates"])
    passed = "It would pass every gate" if made["passed"] else "It would fail"
    st.caption(f"{passed}. Made in {made['seconds']:.1f} s. {ABOUT}")


def use(guidance: float) -> None:
    """Let the batch edit with this strength, and show the plan."""
    st.session_state["how"] = {**st.session_state.get("how", {}), "guidance": guidance}
    st.session_state["open-step"] = "plan"
