"""The section Plan of the page Synthesise: which gaps, how many films for each, the cost, and the films one by one."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pandas as pd
import streamlit as st

from cars import coverage, jobs, synth
from cars.coverage.sentences import describe
from cars.synth.cost import in_words
from cars.workspace import Workspace
from pages import _state
from pages._common import defaults, film_grid, plain, reported, setting_widgets, stamp, submit

#: Gaps that the list offers.
MOST_GAPS = 500


# Choosing gaps ------------------------------------------------------------------------------------------------------


def choose(workspace: Workspace, planned: bool) -> None:
    """Which gaps, how many films for each, and what that would cost."""
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
    asked = how_many(table, gaps, names, start.per_gap) if gaps else ""
    with st.expander("More settings"):
        chosen = setting_widgets("plan", start, ["films", "max_per_patient", "max_edits", "seed"])
    if asked:
        settings = dataclasses.replace(start, gaps=asked, **chosen)
        show_cost(told(stamp(workspace, "films", "gaps", "edits"), settings))
    if st.button("Plan edits", type="secondary" if planned else "primary", disabled=not asked):
        st.session_state["chosen-gaps"] = gaps
        st.session_state["planning"] = submit(workspace, "plan", {"gaps": asked, **chosen})
        st.rerun()


def how_many(table: pd.DataFrame, gaps: list[str], names: dict[str, str], per_gap: int) -> str:
    """A table of the chosen gaps in which the films to add can be changed; returns what `PlanSettings.gaps` takes."""
    lacks = table.set_index("gap_id").loc[gaps, "deficit"].clip(lower=1)
    start = lacks.clip(upper=per_gap) if per_gap else lacks
    unit = str(table["unit"].iloc[0])
    rows = pd.DataFrame({"gap": [names[g] for g in gaps], "lacks": lacks.to_numpy(), "add": start.to_numpy()})
    edited = st.data_editor(
        rows, hide_index=True, key=f"add-{'-'.join(gaps)}", disabled=["gap", "lacks"],
        height="content" if len(gaps) < 8 else 300,
        column_config={
            "gap": st.column_config.TextColumn("Gap", width="large"),
            "lacks": st.column_config.NumberColumn("Lacks", help=f"In {unit}s, to reach the threshold."),
            "add": st.column_config.NumberColumn(
                "Films to add", min_value=0, step=1, required=True,
                help="More than it lacks makes up for edits that fail their gates; 0 leaves the gap out.",
            ),
        },
    )  # fmt: skip
    wanted = zip(gaps, lacks, edited["add"].fillna(0).astype(int), strict=True)
    return ",".join(gap if add == lack else f"{gap}:{add}" for gap, lack, add in wanted if add)


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


# A plan -------------------------------------------------------------------------------------------------------------


def pick_plan(workspace: Workspace) -> str | None:
    """The plan that the page is about: the newest, unless another is chosen or the address names one."""
    plans = workspace.records.plans()
    if plans.empty:
        return None
    ids, waited = list(plans["plan_id"]), st.session_state.get("planning")
    job = jobs.status(workspace, waited) if waited else None
    if job is not None and job.state not in ("queued", "running"):
        del st.session_state["planning"]
        filed = (job.result or {}).get("plan_id")
        if filed in ids:
            st.session_state["plan-shown"] = filed
    if st.session_state.get("plan-shown") not in ids:
        asked = _state.read("plan")
        st.session_state["plan-shown"] = asked if asked in ids else ids[0]
    if len(ids) > 1:
        sizes = {plan: f"{films:,} films, {pd.Timestamp(made, unit='s'):%d %b %Y %H:%M} UTC · {plan}"
                 for plan, films, made in zip(ids, plans["items"], plans["created"], strict=True)}  # fmt: skip
        st.selectbox("Plan", ids, key="plan-shown", format_func=sizes.get, width=480, help="The newest first.")
    _state.write(plan=st.session_state["plan-shown"])
    return str(st.session_state["plan-shown"])


def show_plan(workspace: Workspace, plan_id: str, made: int) -> None:
    """The plan's films, which can be left out or given another seed; what the rest costs; the button that makes them.

    made: how many films this plan has made.
    """
    table = synth.plan_table(workspace, plan_id)
    with st.container(border=True):
        st.subheader(f"The plan: {len(table):,} films", anchor=False)
        if table.empty:
            st.warning("This plan holds no film. Choose other gaps, or more of them.")
            not_served(workspace, plan_id)
            return
        keep, seeds = change(table, plan_id)
        changed = len(keep) < len(table) or bool(seeds)
        if keep:
            st.markdown("  \n".join(plain(line) for line in in_words(synth.plan_cost(workspace, plan_id, keep))))
        not_served(workspace, plan_id)
        with st.expander("Source films"):
            film_grid(workspace, list(dict.fromkeys(table["source_dicom_id"])), 12)
        chosen = how(workspace)
        if chosen is None:
            return
        again = made >= len(table) and not changed
        label = "Make them again with these settings" if again else f"Make these {len(keep):,} films"
        if st.button(label, type="secondary" if again else "primary", key="make", disabled=not keep):
            with reported():
                plan_id = synth.revise(workspace, plan_id, keep, seeds)
                submit(workspace, "synth", {"plan": plan_id, **chosen})
                st.session_state["open-plan"] = plan_id
                st.rerun()
        if changed:
            st.caption("Changed: making the films files this as a plan of its own; the plan above stays as it is.")


def gap_words(table: pd.DataFrame) -> list[str]:
    """The gap of each item of a plan, in words; its id where it is none that is listed now."""
    return [
        describe(json.loads(pattern)) if isinstance(pattern, str) else gap
        for pattern, gap in zip(table["pattern"], table["gap_id"], strict=True)
    ]


def change(table: pd.DataFrame, plan_id: str) -> tuple[list[int], dict[int, int]]:
    """The table of a plan's films. Returns: the items that are kept, and those with another seed (item → seed)."""
    rows = table[["edit", "view", "sex", "age", "seed", "source_dicom_id"]]
    rows.insert(0, "gap", gap_words(table))
    rows.insert(0, "make", True)
    edited = st.data_editor(
        rows, hide_index=True, height=min(320, 38 + 35 * len(rows)), key=f"items-{plan_id}",
        disabled=["gap", "edit", "view", "sex", "age", "source_dicom_id"],
        column_config={
            "make": st.column_config.CheckboxColumn("Make", help="Untick to leave a film out.", width=80),
            "gap": st.column_config.TextColumn("Gap", width=250),
            "edit": st.column_config.TextColumn("Edit", width=200),
            "view": st.column_config.TextColumn("View", width=60), "sex": st.column_config.TextColumn("Sex", width=60),
            "age": st.column_config.NumberColumn("Age", format="%d", width=60),
            "source_dicom_id": st.column_config.TextColumn("Source film", width=120),
            "seed": st.column_config.NumberColumn(
                "Seed", min_value=0, max_value=synth.MOST_SEED - 1, step=1, required=True, format="%d", width=120,
                help="Another seed draws the same edit anew. Try seeds in the section Preview.",
            ),
        },
    )  # fmt: skip
    items = table["item"].to_numpy()
    keep = items[edited["make"].fillna(False).to_numpy(bool)].tolist()
    other = (edited["seed"] != table["seed"]).to_numpy()
    return keep, {int(k): int(s) for k, s in zip(items[other], edited["seed"][other], strict=True)}


def not_served(workspace: Workspace, plan_id: str) -> None:
    """Gaps that the plan does not fill as far as was asked, and why."""
    job = next((j for j in jobs.history(workspace) if (j.result or {}).get("plan_id") == plan_id), None)
    by_gap = (job.result or {}).get("by_gap", {}) if job else {}
    rows = [{"gap": v["sentence"], "planned": v["planned"], "wanted": v["wanted"], "why not all": v["reason"]}
            for v in by_gap.values() if v["planned"] < v["wanted"]]  # fmt: skip
    if rows:
        with st.expander(f"{len(rows):,} of {len(by_gap):,} gaps are not fully served"):
            st.dataframe(pd.DataFrame(rows), hide_index=True)


def how(workspace: Workspace) -> dict[str, Any] | None:
    """How the batch edits; kept while other sections are shown, and set by the preview's button."""
    start = defaults(workspace, "synth", synth.SynthSettings)
    if start is None:
        return None
    with st.expander("How to edit"):
        start = dataclasses.replace(start, **st.session_state.get("how", {}))
        chosen = setting_widgets("synth", start, ["mode", "guidance", "steps", "seeds"])
    st.session_state["how"] = chosen
    return chosen
