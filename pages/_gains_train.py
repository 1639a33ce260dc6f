"""Gains, training: which backbones and arms, every other setting of `finetune`, and a button that trains and scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import streamlit as st

from cars import config, evaluate
from cars.backbones import BACKBONES
from cars.evaluate import experiment, preview
from cars.workspace import Workspace
from pages._common import defaults, multiple, plain, reported, setting_widgets, stamp, submit

#: Chosen by hand above the others, and the settings that matter most.
CHOSEN, FIRST = ("backbones", "arms"), ("seeds", "steps", "size", "batch", "lr")
#: A file of settings would lose to the widgets, which are all flags.
LEFT_OUT = ("config",)
WORDS = {
    "lr": "Learning rate", "size": "Size in pixels", "batch": "Films per step", "uncertain": "Uncertain labels",
    "not_mentioned": "Findings not mentioned", "check_every": "Steps between checks", "ema": "Moving average",
    "pretrain": "Share of steps on edits", "label_prompted": "Label-prompted films", "workers": "Units at once",
    "weights": "Starting weights", "schedule": "Learning rate over time",
}  # fmt: skip
#: The words of a button → what it chooses.
BACKBONES_AT_ONCE = {"Small seven, for a CPU": "small", "All seven, for a GPU": "all"}
ARMS_AT_ONCE = {"All seven arms": evaluate.SEVEN, "Without label-prompted": evaluate.DEFAULT_ARMS}


@st.cache_data(max_entries=16, show_spinner=False)
def lacking(key: tuple[str, ...], decisions: str, views: str, which: str) -> dict[str, str]:
    settings = evaluate.FinetuneSettings(views=views, label_prompted=which)
    return preview.lacking(Workspace(key[0]), settings)


@st.cache_data(max_entries=16, show_spinner=False)
def paces(key: tuple[str, ...], size: int) -> dict[str, preview.Pace]:
    return preview.paces_of(Workspace(key[0]), size)


def controls(workspace: Workspace, found: bool) -> None:
    """What to train; one button trains and scores."""
    start = defaults(workspace, "finetune", evaluate.FinetuneSettings)
    if start is not None:
        with st.expander("Train and compare", expanded=not found):
            form(workspace, start, found)


@st.fragment  # so that a change of the form does not draw the figures below again
def form(workspace: Workspace, start: evaluate.FinetuneSettings, found: bool) -> None:
    with reported():  # inside, since a fragment's errors do not leave it
        fields(workspace, start, found)


def fields(workspace: Workspace, start: evaluate.FinetuneSettings, found: bool) -> None:
    backbones, arms = experiment.chosen(start)
    chosen: dict[str, Any] = {
        "backbones": multiple("Backbones", BACKBONES.names(), ",".join(backbones), "backbones",
                              "Each is trained on every arm."),
    }  # fmt: skip
    at_once("backbones", {words: evaluate.BACKBONE_GROUPS[name] for words, name in BACKBONES_AT_ONCE.items()})
    chosen["arms"] = multiple("Arms", list(evaluate.ARMS), ",".join(arms), "arms", "Training sets to compare.")
    with at_once("arms", ARMS_AT_ONCE), st.popover("What the arms are", type="tertiary"):
        st.markdown("\n".join(f"- **{plain(arm)}**: {words}" for arm, words in evaluate.ARMS.items()))
    for column, name in zip(st.columns(len(FIRST)), FIRST):
        with column:
            chosen |= setting_widgets("finetune", start, [name], WORDS)
    kinds = {f.name: config.field_type(type(start), f.name)[0] for f in dataclasses.fields(start)}
    rest = [f.name for f in dataclasses.fields(start) if f.name not in (*CHOSEN, *FIRST, *LEFT_OUT)]
    rest.sort(key=lambda name: kinds[name] is bool)  # switches are lower than fields, and would break the lines
    with st.expander("More settings"):
        columns = st.columns(3)
        for n, column in enumerate(columns):
            with column:
                chosen |= setting_widgets("finetune", start, rest[n :: len(columns)], WORDS)
    if not (chosen["backbones"] and chosen["arms"]):
        st.info("Choose at least one backbone and one arm.")
    else:
        say(workspace, dataclasses.replace(start, **chosen))
    kind = "secondary" if found else "primary"
    if st.button("Fine-tune and score", type=kind, disabled=not (chosen["backbones"] and chosen["arms"])):
        trained = submit(workspace, "finetune", chosen)
        if trained:
            submit(workspace, "report", {}, after=trained)
        st.rerun()


def at_once(key: str, choices: dict[str, Sequence[str]]) -> Any:
    """A row of buttons, each of which chooses several names of the choice with this key. Returns the row."""
    row = st.container(horizontal=True, gap="small")
    for words, names in choices.items():
        row.button(
            words, key=f"{key}-{words}", type="tertiary", icon=":material/done_all:",
            on_click=st.session_state.__setitem__, args=(key, list(names)),
        )  # fmt: skip
    return row


def say(workspace: Workspace, settings: evaluate.FinetuneSettings) -> None:
    """How large the grid is, how long it takes, what it will not be able to say, and what it lacks."""
    edits = stamp(workspace, "edits")
    decisions = workspace.records.latest_decisions().to_json() if workspace.has("edits") else ""
    lack = lacking(edits, decisions, settings.views, settings.label_prompted)
    coming = preview.preview(settings, lack, paces(stamp(workspace, "units"), settings.size))
    st.markdown(f"**{plain(coming.size())}** {plain(coming.time())} A unit that exists already is not trained again.")
    if coming.cannot_conclude:
        st.warning("  \n".join(plain(text) for text in coming.cannot_conclude))
    if coming.lacking:
        said = ["As the workspace stands, this would stop at once.", *coming.lacks()]
        st.warning("  \n".join(plain(text) for text in said))
