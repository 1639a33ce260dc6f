"""Synthesise: choose gaps, look at the plan, make the films, and look at each edit and its gates."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import pandas as pd
import streamlit as st

from cars import coverage, gates, jobs, pictures, synth
from cars.coverage.sentences import describe
from cars.errors import CarsError
from cars.synth.cost import in_words, words
from cars.workspace import Workspace
from pages._common import (
    current,
    defaults,
    empty,
    film_grid,
    plain,
    query,
    reported,
    setting_widgets,
    stamp,
    submit,
    watch,
)

GATES = gates.names()
PER_PAGE = 5
#: Gaps that the list offers.
MOST_GAPS = 500


what = words


# The plan -----------------------------------------------------------------------------------------------------------


def choose(workspace: Workspace, planned: bool) -> None:
    """Which gaps, and how many films."""
    table = coverage.gap_table(workspace)
    within = table["reachable"] + table.get("reachable_two", 0)
    table = table[table["editable"] & (within > 0)].head(MOST_GAPS)
    if table.empty:
        st.info("No gap can be filled by an edit. Lower the threshold or name other attributes on the page Coverage.")
        return
    names = {row.gap_id: f"{row.rank}. {describe(json.loads(row.pattern))}" for row in table.itertuples()}
    before = [gap for gap in st.session_state.get("chosen-gaps", list(names)[:3]) if gap in names]
    gaps = st.multiselect(
        "Gaps to fill", list(names), before, format_func=names.get, key=f"gaps-{'-'.join(before)}",
        help=f"The first {MOST_GAPS} by rank that edits of train films can fill; any gap can be planned from its card.",
    )  # fmt: skip
    start = defaults(workspace, "plan", synth.PlanSettings)
    if start is None:
        return
    with st.expander("More settings"):
        chosen = setting_widgets("plan", start, ["per_gap", "films", "max_per_patient", "max_edits", "seed"])
    if gaps:
        settings = dataclasses.replace(start, gaps=",".join(gaps), **chosen)
        show_cost(told(stamp(workspace, "films", "gaps", "edits"), settings))
    if st.button("Plan edits", type="secondary" if planned else "primary", disabled=not gaps):
        st.session_state["chosen-gaps"] = gaps
        submit(workspace, "plan", {"gaps": ",".join(gaps), **chosen})
        st.rerun()


@st.cache_data(max_entries=64, show_spinner="Looking for the fewest films")
def told(key: tuple[str, ...], settings: synth.PlanSettings) -> dict[str, Any]:
    """What a plan would hold and cost; nothing is filed, and no judge looks at films yet."""
    return synth.estimate(Workspace(key[0]), settings)


def show_cost(made: dict[str, Any]) -> None:
    """Films, patients, edits, how many should pass, and time; how near the fewest; what is not served, and why."""
    if not made["items"]:
        st.warning("No film would be made.")
    else:
        st.markdown("  \n".join(plain(line) for line in in_words(made["cost"])))
        bound = made.get("lower_bound")
        if bound:
            near = f"no plan that fills as much has fewer than {bound:,}"
            near = "no fewer would do" if bound == made["items"] else near
            later = "The judge's look at the films, which comes with the plan, may leave out some."
            st.caption(f"{made['items']:,} films: {near}. {later}")
    short = [gap for gap in made["by_gap"].values() if gap["planned"] < gap["wanted"]]
    for gap in short[:5]:
        st.caption(plain(f"{gap['sentence']} {gap['planned']:,} of {gap['wanted']:,}: {gap['reason']}."))
    if len(short) > 5:
        st.caption(f"and {len(short) - 5:,} other gaps that are not fully served.")


def show_plan(workspace: Workspace, plan_id: str, made: int) -> None:
    """What a plan would do, and the button that does it."""
    items = workspace.records.plan_items(plan_id)
    with st.container(border=True):
        st.subheader(f"The plan: {len(items):,} films")
        st.markdown("  \n".join(plain(line) for line in in_words(synth.plan_cost(workspace, plan_id))))
        job = next((j for j in jobs.history(workspace) if (j.result or {}).get("plan_id") == plan_id), None)
        if job is not None and "by_gap" in job.result:
            rows = [{"gap": v["sentence"], "planned": v["planned"], "wanted": v["wanted"], "why not all": v["reason"]}
                    for v in job.result["by_gap"].values()]  # fmt: skip
            st.dataframe(pd.DataFrame(rows), hide_index=True)
        with st.expander("Source films"):
            film_grid(workspace, list(dict.fromkeys(items["source_dicom_id"])), 12)
        start = defaults(workspace, "synth", synth.SynthSettings)
        if start is None or items.empty:
            return
        with st.expander("How to edit"):
            chosen = setting_widgets("synth", start, ["mode", "guidance", "steps", "seeds"])
        label = f"Make these {len(items):,} films" if made < len(items) else "Make them again with these settings"
        if st.button(label, type="primary" if made < len(items) else "secondary", key="make"):
            submit(workspace, "synth", {"plan": plan_id, **chosen})
            st.rerun()


# The edits ----------------------------------------------------------------------------------------------------------


@st.cache_data(max_entries=200, show_spinner="Drawing")
def four(source: str, edited: str, roi: str, modified: int) -> pictures.EditPictures:
    return pictures.edit_pictures(source, edited, roi)


def filtered(table: pd.DataFrame) -> pd.DataFrame:
    """The edits that the filter above the grid leaves."""
    left = {
        "all": table,
        "passed every gate": table[table["passed"].fillna(False).astype(bool)],
        **{f"failed {gate}": table[table[f"gate_{gate}"].eq(False)] for gate in GATES},
        "rejected": table[table["decision"] == "reject"],
        "not made": table[table["error"].notna()],
    }
    options = [name for name, rows in left.items() if len(rows) or name == "all"]
    words = {name: f"{name} ({len(left[name]):,})" for name in options}
    shown = st.pills("Show", options, default="all", required=True, key="edit-filter", format_func=words.get)
    return left[shown]


def badges(measures: pd.DataFrame) -> None:
    """One badge a gate with the number that decides; all its numbers in the help. Grey: it decided nothing."""
    with st.container(horizontal=True):
        for gate, passed, number in pictures.deciding(measures):
            rows = measures[measures["gate"] == gate]
            lines = [
                f"{plain(row.measure)}: {row.value:.3f} {plain(pictures.limits(row.low, row.high))}"
                for row in rows.itertuples() if row.value == row.value
            ]  # fmt: skip
            told = [gates.GATES.get(gate).help if gate in GATES else ""]
            told += ["Not asked for here: the number is only kept."] if passed is None and lines else []
            sign, colour = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "gray")}[passed]
            st.badge(f"{sign} {gate}: {plain(number)}", color=colour, help="  \n".join([*told, *lines]))


def doubt(rows: pd.DataFrame) -> None:
    """How far the tries and the judges disagree on each changed finding."""
    for row in rows.itertuples():
        st.caption(
            f"Uncertainty of {plain(row.finding)}: {row.total:.2f} bits, of which {row.mutual:.2f} is disagreement "
            f"({row.k} tr{'y' if row.k == 1 else 'ies'} × {row.m} judge{'' if row.m == 1 else 's'}).",
            help="0: all agree and are sure. 1: it could be either. Doubt that all share is not disagreement.",
        )


def one_edit(workspace: Workspace, edit: Any, source: str | None, measures: pd.DataFrame, doubts: pd.DataFrame) -> None:
    """Source, edit, difference and ROI side by side, the gates, and the decision."""
    with st.container(border=True):
        age = f" · {edit.age:.0f}" if edit.age == edit.age else ""
        st.markdown(f"**{plain(what(json.loads(edit.findings)))}** · {plain(edit.view)} · {plain(edit.sex)}{age}")
        if edit.error is not None and edit.error == edit.error:
            st.warning(plain(edit.error))
            return
        try:
            film = workspace.path / edit.film_path
            shown = four(str(source), str(film), str(workspace.path / edit.roi_path), os.stat(film).st_mtime_ns)
        except (CarsError, OSError) as error:
            st.warning(f"The pictures of this edit cannot be shown: {plain(error)}")
        else:
            named = (
                ("source (real)", shown.source), ("edit (synthetic)", shown.edited),
                (f"difference, at most {shown.largest} of 255", shown.difference), ("region of interest", shown.roi),
            )  # fmt: skip
            for column, (name, picture) in zip(st.columns(4), named):
                column.image(picture, name, width="stretch", alt=f"{name}: {what(json.loads(edit.findings))}")
        badges(measures)
        doubt(doubts)
        decide(workspace, edit)


def decide(workspace: Workspace, edit: Any) -> None:
    """Accept, reject, undo; and in words what that means."""
    decision = edit.decision if isinstance(edit.decision, str) else None
    if not edit.passed:
        st.caption("It failed a gate, so it is kept for study and never used.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        for label, name, off in (
            ("Accept", "accept", decision == "accept"), ("Reject", "reject", decision == "reject"),
            ("Undo", "undo", decision is None),
        ):  # fmt: skip
            st.button(
                label, key=f"{name}-{edit.edit_id}", disabled=off, on_click=workspace.records.decide,
                args=(edit.edit_id, name),
            )  # fmt: skip
        words = {"accept": "Accepted by you.", "reject": "Rejected by you: not used."}
        st.caption(words.get(decision, "Used unless you reject it."))


def show_edits(workspace: Workspace, plan_id: str | None) -> None:
    """The grid of edits, a few a page."""
    table = synth.edit_table(workspace, plan_id)
    st.subheader("Edits")
    if table.empty:
        st.info("This plan has made no film yet.")
        return
    passed = int(table["passed"].fillna(False).sum())
    st.write(f"{passed:,} of {len(table):,} edits passed every gate. They are synthetic and never count as real films.")
    table = filtered(table)
    pages = max(1, -(-len(table) // PER_PAGE))
    page = st.number_input(f"Page of {pages:,}", 1, pages, 1, key="edit-page", width=160) if pages > 1 else 1
    part = table.iloc[(page - 1) * PER_PAGE : page * PER_PAGE]
    key = stamp(workspace, "films", "edits", "gates", "uncertainty")
    none = pd.DataFrame(columns=["edit_id", "gate"])
    ids = list(part["edit_id"])
    measures = query(key, "browse/gates", ids=ids, names=GATES) if workspace.has("gates") else none
    doubts = query(key, "browse/uncertainty", ids=ids) if workspace.has("uncertainty") else none
    paths = query(key, "browse/source_paths", ids=list(part["source_dicom_id"])).set_index("dicom_id")["path"]
    for edit in part.itertuples():
        own = [frame[frame["edit_id"] == edit.edit_id] for frame in (measures, doubts)]
        one_edit(workspace, edit, paths.get(edit.source_dicom_id), *own)


workspace = current()
st.title("Synthesise")
if not workspace.has("gaps"):
    empty("There are no gaps yet: they say what is worth making.", "coverage", "Find gaps on the page Coverage")
else:
    st.write("Fill gaps with edits of train films. Sex, age and view stay as they are; test patients are never edited.")
    watch(workspace, "plan", "synth", "train-generator")
    with reported():
        plans = workspace.records.plans()
        choose(workspace, planned=len(plans) > 0)
        if len(plans):
            ids = list(plans["plan_id"])
            sizes = {plan_id: f"{plan_id} ({films:,} films)" for plan_id, films in zip(ids, plans["items"])}
            plan_id = st.selectbox("Plan", ids, format_func=sizes.get, width=320, help="The newest first.")
            made = len(synth.edit_table(workspace, plan_id))
            show_plan(workspace, plan_id, made)
            show_edits(workspace, plan_id)
        else:
            st.info("Nothing is planned yet. Choose gaps above and press Plan edits.")
