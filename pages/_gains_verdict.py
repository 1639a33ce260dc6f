"""Gains, verdict: one plain sentence a backbone and arm, the forest of gains, and the scores behind it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cars import evaluate, plots, results
from cars.workspace import Workspace
from pages import _state
from pages._common import plain
from pages._gains_run import FIRST, Run, calibrated_choice, finding_choice, label, metric_choice, metrics_of, shown

#: More sentences than this are folded away under their summary.
MANY = 6
#: With more rows than this a forest starts with one metric and the arms with edits.
MANY_ROWS = 12


def show_verdict(workspace: Workspace, run: Run) -> None:
    sentences = evaluate.sentences(run.gains)
    if not sentences:
        st.info("There is nothing to compare: train an arm with real films alone and another one beside it.")
    for sentence in evaluate.summary(run.gains):
        st.markdown(f"**{plain(sentence)}**")
    said = [(arm, sentence) for of_arms in sentences.values() for arm, sentence in of_arms.items()]
    treated = [sentence for arm, sentence in said if arm in evaluate.TREATED]
    treated += list(evaluate.credits(run.gains)["sentence"])
    controls = [sentence for arm, sentence in said if arm not in evaluate.TREATED]
    _points(treated or controls, "Each backbone in words")
    if treated and controls:
        with st.expander(f"The controls in words ({len(controls)})"):
            st.markdown("\n".join(f"- {plain(sentence)}" for sentence in controls))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        finding = finding_choice(run, "mean over findings")
        metrics = metrics_of(run.scores)
        metric = metric_choice(metrics, "score")
        calibrated = calibrated_choice()
    if len(run.gains):
        gains = run.gains[(run.gains["finding"] == finding) & (run.gains["calibrated"] == calibrated)]
        if len(run.backbones) > 1:
            _grid(run, gains, metric, finding, calibrated)
        arms = [arm for arm in run.arms if arm in set(gains["arm"])]
        many = len(run.backbones) * len(arms) > MANY_ROWS
        first = [m for m in FIRST if m in metrics][: 1 if many else None]
        with st.container(horizontal=True):
            chosen = st.multiselect("Metrics below", metrics, first, format_func=label)
            treated_arms = [arm for arm in arms if arm in evaluate.TREATED]
            of = st.multiselect("Arms", arms, treated_arms if many and treated_arms else arms)
        gains = gains[gains["arm"].isin(of)]
        rows = gains[gains["metric"].isin(chosen)]
        if rows["value"].notna().any():
            forest = plots.gain_forest(gains, chosen, finding, calibrated, run.source)
            shown(run, forest, "Gains", rows, "forest")
        elif len(rows):
            st.info(f"Undefined for {plain(finding)}: see the numbers below for how many test films are positive.")
        with st.expander("Gains in numbers"):
            st.dataframe(results.words.gain_rows(rows, finding), hide_index=True)
            if "mde" in rows:
                st.caption("Smallest shown: the smallest true difference that this n shows with 80% power.")
        _contrasts(run)
    rows = run.scores[(run.scores["finding"] == finding) & (run.scores["calibrated"] == calibrated)]
    dots = plots.score_dots(run.scores, metric, finding, calibrated, run.source)
    shown(run, dots, "Scores", rows[(rows["metric"] == metric) & (rows["seed"] == -1)], "scores")
    with st.expander("The numbers, by seed"):
        st.caption("Seed −1 is the mean over seeds; an empty value is undefined.")
        st.dataframe(rows, hide_index=True)


def _grid(run: Run, gains: pd.DataFrame, metric: str, finding: str, calibrated: bool) -> None:
    """The whole grid in one metric."""
    rows = gains[(gains["metric"] == metric) & ~gains["contrast"].astype(bool)]
    if rows["value"].notna().any():
        heat = plots.backbone_arm_heat(gains, metric, finding, calibrated, run.source)
        shown(run, heat, "Backbones and arms", rows, "grid")


def _points(sentences: list[str], title: str) -> None:
    """Sentences as a list, folded away where they are many."""
    text = "\n".join(f"- {plain(sentence)}" for sentence in sentences)
    if len(sentences) > MANY:
        with st.expander(f"{title} ({len(sentences)})"):
            st.markdown(text)
    elif sentences:
        st.markdown(text)


def _contrasts(run: Run) -> None:
    """Each arm with edits against every other arm, in the metric that the sentences judge by."""
    arms = list(dict.fromkeys(run.gains.loc[run.gains["contrast"].astype(bool), "arm"]))
    if not arms:
        return
    st.subheader("Is it the edits?")
    st.caption(
        "A gain over real films may come from longer training, from rare findings seen more often, or from the "
        "editor's texture. Only an arm that beats every control owes its gain to the findings that were drawn."
    )
    arm = _state.selectbox("Arm", arms, "treated", width=260)
    metric = evaluate.PRIMARY
    rows = run.gains[(run.gains["arm"] == arm) & (run.gains["metric"] == metric) & (run.gains["finding"] == "macro")]
    rows = rows[~rows["calibrated"].astype(bool)]
    if rows["value"].notna().any():
        forest = plots.contrast_forest(run.gains, arm, metric, source=run.source)
        shown(run, forest, "Against each control", rows, "contrasts")
    else:
        st.info("Undefined: no finding has enough positive and negative test patients.")
