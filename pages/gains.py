"""Gains: fine-tune backbones with and without the added films, and see whether that helped, with intervals."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from cars import coverage, evaluate, plots, schema, stages
from cars.backbones import BACKBONES
from cars.metrics import METRICS
from cars.workspace import Workspace
from pages._common import (
    current,
    defaults,
    empty,
    multiple,
    plain,
    reported,
    setting_widgets,
    source_name,
    stamp,
    submit,
    watch,
)
from pages._figure import figure

FIRST = ("auprc", "auroc", "ece", "brier")


@st.cache_data(max_entries=4, show_spinner="Reading the scores")
def tables(key: tuple[str, ...], run: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    workspace = Workspace(key[0])
    return evaluate.score_table(workspace, run), evaluate.gain_table(workspace, run)


@st.cache_data(max_entries=16, show_spinner=False)
def reliability(key: tuple[str, ...], run: str, backbone: str, arm: str, calibrated: bool, finding: str | None) -> Any:
    return evaluate.reliability(Workspace(key[0]), run, backbone, arm, calibrated, finding)


@st.cache_data(max_entries=4, show_spinner="Counting coverage before and after")
def change(key: tuple[str, ...], decisions: str) -> dict[str, Any]:
    workspace = Workspace(key[0])
    return coverage.before_after(workspace, stages.gap_settings(workspace))


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


def verdicts(gains: pd.DataFrame) -> None:
    """One sentence a backbone and arm."""
    sentences = evaluate.sentences(gains)
    if not sentences:
        st.info("Only the arm real was trained, so there is nothing to compare. Add another arm and train again.")
    for of_arms in sentences.values():
        for sentence in of_arms.values():
            st.markdown(f"- {plain(sentence)}")


def words(finding: str) -> str:
    """A finding as the choice shows it."""
    return "mean over findings" if finding == "macro" else finding


def results(workspace: Workspace) -> None:
    """Sentences, gains, scores and reliability of one run."""
    known = evaluate.runs(workspace)
    source = source_name(workspace)
    run = known["run"].iloc[0]
    if len(known) > 1:
        run = st.selectbox("Run", list(known["run"]), help="The newest first.", width=320)
    key = stamp(workspace, "scores", "gains", "units", "predictions")
    scores, gains = tables(key, run)
    verdicts(gains)
    metrics = [name for name in (*FIRST, *METRICS.names()) if name in set(scores["metric"])]
    metrics = list(dict.fromkeys(metrics))
    labels = {name: METRICS.get(name).label for name in metrics}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        findings = ["macro", *[f for f in schema.FINDINGS if f in set(scores["finding"])]]
        finding = st.selectbox("Finding", findings, format_func=words, width=240)
        calibrated = st.toggle("After temperature scaling", help="Temperature fitted on the validate patients.")
    if len(gains):
        chosen = st.multiselect("Metrics", metrics, [m for m in FIRST if m in metrics], format_func=labels.get)
        rows = gains[gains["metric"].isin(chosen) & (gains["finding"] == finding) & (gains["calibrated"] == calibrated)]
        forest = plots.gain_forest(gains, chosen, finding, calibrated, source)
        figure(forest, "Gains", rows, "forest", source=source)
    metric = st.selectbox("Score", metrics, format_func=labels.get, width=240)
    rows = scores[(scores["finding"] == finding) & (scores["calibrated"] == calibrated)]
    dots = plots.score_dots(scores, metric, finding, calibrated, source)
    figure(dots, "Scores", rows[(rows["metric"] == metric) & (rows["seed"] == -1)], "scores", source=source)
    with st.expander("The numbers"):
        st.dataframe(rows, hide_index=True)
    backbones = list(dict.fromkeys(scores["backbone"]))
    backbone = st.selectbox("One backbone in detail", backbones, width=240)
    arms = list(dict.fromkeys(scores[scores["backbone"] == backbone]["arm"]))
    one = None if finding == "macro" else finding
    slices = evaluate.slice_table(workspace, run)
    if len(slices):
        shown = metric if metric in set(slices["metric"]) else FIRST[0]
        rows = slices[(slices["backbone"] == backbone) & (slices["metric"] == shown)]
        forest = plots.slice_forest(slices, backbone, shown, source=source)
        figure(forest, "Gains on rare combinations", rows, "slices", source=source)
    found = {arm: reliability(key, run, backbone, arm, calibrated, one) for arm in arms}
    bins = pd.concat([table.assign(arm=arm) for arm, table in found.items()], ignore_index=True)
    figure(plots.reliability(found, source), "Reliability", bins, "reliability", source=source)


def show_change(workspace: Workspace) -> None:
    """Coverage before and after the accepted edits."""
    st.subheader("Coverage before and after")
    if not workspace.has("edits"):
        st.info("No synthetic film has been made, so coverage has not changed.")
        return
    decisions = workspace.records.latest_decisions().to_json()
    found = change(stamp(workspace, "films", "edits", "gaps"), decisions)
    source = source_name(workspace)
    figure(
        plots.coverage_bars(found, source), "Coverage before and after", plots.coverage_bars_table(found), "coverage",
        unit=found["unit"], source=source,
    )  # fmt: skip
    closed = sum(gap["closed"] for gap in found["gaps"])
    st.write(
        f"{closed:,} of {len(found['gaps']):,} gaps are closed by synthetic films. A synthetic film counts under its "
        "source's patient, so patients only grow where other patients' films were edited into a gap."
    )


workspace = current()
st.title("Gains")
if not workspace.has("films"):
    empty("There are no films in this workspace yet.", "overview", "Read a data set on the page Overview")
else:
    st.write("Whether the added films helped: the same backbones with and without them, on untouched test patients.")
    watch(workspace, "finetune", "report")
    scored = workspace.has("scores")
    controls(workspace, scored)
    with reported():
        if scored:
            results(workspace)
        else:
            st.info("There is no evidence yet. Train at least the arms real and real+cars; their scores appear here.")
        show_change(workspace)
