"""The section Edits of the page Synthesise: the grid, one edit with its gates, and what a person decides of it."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import pandas as pd
import streamlit as st

from cars import gates, jobs, pictures, synth
from cars.errors import CarsError
from cars.synth import review
from cars.synth.models import workspace_segmenter
from cars.workspace import Workspace
from pages import _state
from pages._common import plain, query, reported, show_error, stamp, thumbnail
from pages._keys import keys
from pages._swipe import swipe, uri
from pages._tiles import Tile, tiles

PER_PAGE = 24
SIGNS = {"used": "✓", "rejected": "–", "failed": "✗", "baseline": "–", "not made": "✗"}
KEYS = {
    "a": "accept", "r": "reject", "u": "undo", "n": "note", "ArrowRight": "next", "ArrowLeft": "previous", "j": "next",
    "k": "previous",
}  # fmt: skip
KEYS_IN_WORDS = (
    "Keys: **a** accept, **r** reject, **u** undo, **n** note (Esc leaves it), **→** or **j** next, **←** or **k** "
    "previous, **d** difference, **i** region, **l** lungs and heart. With the line in focus **←** and **→** move it."
)
FATES = {
    "used": "Used unless you reject it.", "rejected": "Rejected: it is in no coverage, no training and no export.",
    "failed": "Failed a gate: kept for study, never used and never exported.",
    "baseline": "Made by a baseline, for comparison only: never in coverage or exports, and in no training but an arm "
    "that compares with it.",
    "not made": "Not made.",
}  # fmt: skip


@st.cache_data(max_entries=8, show_spinner=False)
def edits_of(key: tuple[str, ...], decided: str, plan_id: str) -> pd.DataFrame:
    """`edit_table` of a plan, read once for a state of the tables (`key`) and of the decisions."""
    return synth.edit_table(Workspace(key[0]), plan_id)


def table_of(workspace: Workspace, plan_id: str) -> pd.DataFrame:
    """The plan's edits as they are now."""
    decided = workspace.records.latest_decisions().to_json()
    return edits_of(stamp(workspace, "edits", "gates"), decided, plan_id)


def show_edits(workspace: Workspace, plan_id: str) -> None:
    """Filters, grid, and the chosen edit."""
    table = table_of(workspace, plan_id)
    active = [job for job in jobs.history(workspace) if job.verb == "synth" and job.state in ("queued", "running")]
    running = any((job.settings.get("plan") or plan_id) == plan_id for job in active)
    if table.empty and not running:
        st.info("This plan has made no film yet. Make its films in the section Plan.")
        return
    summary(table)
    wanted = filters(table)
    shown = review.select(table, wanted)
    ids = st.session_state["edit-ids"] = list(shown["edit_id"])
    at = review.position(ids, _state.read("edit"), st.session_state.get("edit-at", 0))
    st.session_state["edit-at"] = at
    left, right = st.columns([2, 3], gap="medium")
    with left:
        if running:
            st.fragment(run_every=2.0)(grid)(str(workspace.path), plan_id, wanted, True)
        else:
            grid(str(workspace.path), plan_id, wanted, False)
    with right:
        if ids:
            _state.write(edit=ids[at])
            one_edit(workspace, shown.iloc[at].to_dict(), at, len(ids))
        else:
            st.info("No edit is made yet." if table.empty else "No edit is left. Choose another filter.")
    st.caption(KEYS_IN_WORDS)


# Which edits --------------------------------------------------------------------------------------------------------


def summary(table: pd.DataFrame) -> None:
    """How many passed, are used, and were rejected; and where none passed, what stopped them."""
    states = pd.Series([review.state(row) for row in table.to_dict("records")]).value_counts()
    used, passed = int(states.get("used", 0)), int(table["passed"].fillna(False).sum())
    said = [f"{passed:,} of {len(table):,} edits passed every gate"]
    said += [f"{states[name]:,} {word}" for name, word in (("rejected", "rejected by you"), ("not made", "not made"))
             if name in states]  # fmt: skip
    st.write(", ".join(said) + f". **{used:,} count**: they alone are in coverage, training and exports, as synthetic.")
    if states.get("baseline"):
        st.info(f"{states['baseline']:,} were made by a baseline, for comparison only: they are never exported.")
    if not passed and len(table):
        failed = {name: int(rows.sum()) for name, rows in review.outcomes(table).items() if name.startswith("failed")}
        worst = ", ".join(f"{name.removeprefix('failed ')} ({n:,})" for name, n in
                          sorted(failed.items(), key=lambda pair: -pair[1]) if n)  # fmt: skip
        st.warning(
            "None can be used" + (f"; they failed: {worst}" if worst else "") + ". Look at the numbers of one, try "
            "another strength in the section Preview, or train the editor on this data set (`cars train-generator`)."
        )


def filters(table: pd.DataFrame) -> review.Filter:
    """The row of choices above the grid, each with how many edits it has."""
    counted = review.choices(table)
    labels = {"outcome": "Gates", "finding": "Finding", "direction": "Direction", "decision": "Decision"}
    chosen = {}
    for column, (name, label) in zip(st.columns(4), labels.items(), strict=True):
        counts, key = counted[name], f"edits-{name}"
        now = st.session_state.get(key, review.ALL)
        options = list(dict.fromkeys([*counts, now]))  # a choice stays, also when its last edit has left it
        words = {option: f"{option} ({counts.get(option, 0):,})" for option in options}
        chosen[name] = column.selectbox(label, options, key=key, format_func=words.get)
    return review.Filter(**chosen)


# The grid -----------------------------------------------------------------------------------------------------------


def grid(path: str, plan_id: str, wanted: review.Filter, running: bool) -> None:
    """One page of edits as small pictures; while they are made, with a place for each that is still to come."""
    workspace = Workspace(path)
    if st.session_state.pop("edit-picked", False) and running:
        st.rerun()
    table = table_of(workspace, plan_id)
    shown = review.select(table, wanted)
    at = st.session_state.get("edit-at", 0)
    page, pages = at // PER_PAGE, max(1, -(-len(shown) // PER_PAGE))
    part = shown.iloc[page * PER_PAGE : (page + 1) * PER_PAGE]
    drawn = [tile_of(workspace, row) for row in part.to_dict("records")]
    if running and wanted == review.Filter():
        missing = review.waiting(workspace, plan_id, table)
        st.caption(f"{len(table):,} made, {len(missing):,} to come.")
        drawn += [Tile(f"waiting-{item}", "waiting", "…", "waiting", "to come") for item in missing]
    if drawn:
        chosen = shown["edit_id"].iat[at] if at < len(shown) else ""
        tiles(drawn[:PER_PAGE], chosen, "edit-tiles", _picked)
    if pages > 1:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            for label, to, off in (("‹ Page", page - 1, page == 0), ("Page ›", page + 1, page + 1 >= pages)):
                st.button(label, key=f"page-{label}", disabled=off, on_click=_go_to, args=(to * PER_PAGE,))
            st.caption(f"Page {page + 1:,} of {pages:,}")


def tile_of(workspace: Workspace, row: dict[str, Any]) -> Tile:
    """An edit as a tile."""
    found, about = review.state(row), synth.words(json.loads(row["findings"]))
    passed = "accepted" if row["decision"] == "accept" else "passed"
    word = {"used": passed, "failed": ", ".join(review.failed_gates(row))}
    picture = None
    if isinstance(row["film_path"], str):
        film = workspace.path / row["film_path"]
        with reported():
            picture = thumbnail(str(film), os.stat(film).st_mtime_ns) if film.exists() else None
    return Tile(row["edit_id"], found, SIGNS[found], word.get(found, found), about, uri(picture))


def _picked() -> None:
    picked = st.session_state["edit-tiles"]["pick"]
    if picked and not picked.startswith("waiting"):
        st.session_state["edit-picked"] = True
        _state.write(edit=picked)
        ids = st.session_state.get("edit-ids", [])
        st.session_state["edit-at"] = review.position(ids, picked, st.session_state.get("edit-at", 0))


def _go_to(at: int) -> None:
    """Choose the edit at this place of the list; nothing happens beyond its ends."""
    ids = st.session_state.get("edit-ids", [])
    if 0 <= at < len(ids):
        st.session_state["edit-at"], st.session_state["edit-picked"] = at, True
        _state.write(edit=ids[at])


# One edit -----------------------------------------------------------------------------------------------------------


def one_edit(workspace: Workspace, edit: dict[str, Any], at: int, of: int) -> None:
    """Title, decision, the swipe, badges, note, and all numbers."""
    found, title = review.state(edit), synth.words(json.loads(edit["findings"]))
    # before the title, so that keys mean an edit as soon as its title is read
    keys(KEYS, edit["edit_id"], "edit-keys", act)
    age = f" · {edit['age']:.0f}" if edit["age"] == edit["age"] else ""
    st.markdown(f"**{plain(title)}** · {plain(edit['view'])} · {plain(edit['sex'])}{age} · edit {at + 1:,} of {of:,}")
    decide(edit, found, at, of)
    if found == "not made":
        st.warning(f"No film was made: {plain(edit['error'])}.")
    else:
        pictures_of(workspace, edit, title)
    ids = [edit["edit_id"]]
    key = stamp(workspace, "films", "edits", "gates", "uncertainty")
    if workspace.has("gates") and found != "not made":
        badges(query(key, "browse/gates", ids=ids, names=gates.names()))
    note(workspace, edit)
    how_it_was_made(edit, query(key, "browse/uncertainty", ids=ids) if workspace.has("uncertainty") else None)


def decide(edit: dict[str, Any], found: str, at: int, of: int) -> None:
    """Previous and next, accept, reject and undo, and in words what becomes of the edit."""
    can = review.open_to(edit)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for label, what, off in (
            ("‹ Previous", "previous", at == 0), ("Next ›", "next", at + 1 >= of),
            ("Accept", "accept", "accept" not in can), ("Reject", "reject", "reject" not in can),
            ("Undo", "undo", "undo" not in can),
        ):  # fmt: skip
            kind = "primary" if what == "accept" and not off else "secondary"
            st.button(label, key=f"do-{what}", type=kind, disabled=off, on_click=act, args=(what, edit["edit_id"]))
    problem = st.session_state.pop("edit-problem", None)
    if problem is not None:
        show_error(problem)
    colour = {"used": "green", "rejected": "gray", "failed": "red", "baseline": "gray", "not made": "red"}[found]
    accepted = found == "used" and edit["decision"] == "accept"
    fate = "Accepted by you." if accepted else FATES[found]
    st.markdown(f":small[:{colour}[{SIGNS[found]} {plain(fate)}]]")


def act(what: str, edit_id: str) -> None:
    """Do what a button or a key asks of the edit that was shown when it was pressed."""
    at = st.session_state.get("edit-at", 0)
    if what in ("next", "previous"):  # from where one is, so that two quick keys go two edits on
        _go_to(at + (1 if what == "next" else -1))
        return
    at = review.position(st.session_state.get("edit-ids", []), edit_id, at)
    try:
        review.decide(Workspace(st.session_state["workspace"]), edit_id, what)
    except CarsError as error:
        st.session_state["edit-problem"] = error
        return
    # where the filter is by decision the edit leaves the list, and the next one takes its place
    if st.session_state.get("edit-go-on") and st.session_state.get("edits-decision", review.ALL) == review.ALL:
        _go_to(at + 1)


@st.cache_resource(show_spinner=False)
def _lock() -> threading.Lock:
    """Models are shared by all who look; one uses them at a time."""
    return threading.Lock()


@st.cache_resource(max_entries=2, show_spinner="Loading the segmenter")
def _segmenter(name: str) -> Any:
    return workspace_segmenter(name, "cpu")


@st.cache_data(max_entries=64, show_spinner="Drawing")
def layers_of(
    source: str, edited: str, roi: str, modified: int, side: int | None, segmenter: str | None
) -> pictures.Layers:
    """The pictures of a stored edit. `modified`: its file's time, so that a new file is read. segmenter: outlines."""
    before, after, region = pictures.read_edit(source, edited, roi)
    outlines = None
    if segmenter is not None:
        with _lock():
            outlines = tuple(synth.outlines(_segmenter(segmenter), film) for film in (before, after))
    return pictures.layers(before, after, region, side, outlines)


def pictures_of(workspace: Workspace, edit: dict[str, Any], title: str) -> None:
    """The swipe, and the switches that need the server."""
    place = st.container()
    with st.container(horizontal=True, gap="medium"):
        lined = st.toggle(
            "Outline lungs and heart", key="edit-outlined",
            help="As the segmenter sees both films now, since outlines are not stored; the first takes some seconds.",
        )  # fmt: skip
        whole = st.toggle("Film's own size", key="edit-whole", help="Each pixel, in a window that scrolls.")
        st.toggle("Go on after a decision", key="edit-go-on", help="Show the next edit once this one is decided.")
    paths = query(stamp(workspace, "films"), "browse/source_paths", ids=[edit["source_dicom_id"]])["path"]
    try:
        film = workspace.path / edit["film_path"]
        layers = layers_of(
            str(paths.iat[0]), str(film), str(workspace.path / edit["roi_path"]), os.stat(film).st_mtime_ns,
            None if whole else 1024, edit["segmenter"] if lined else None,
        )  # fmt: skip
    except (CarsError, OSError, IndexError) as error:
        place.warning(f"The pictures of this edit cannot be shown: {plain(error)}")
        return
    with place:
        swipe(layers, title, "edit-swipe", whole)


def badges(measures: pd.DataFrame) -> None:
    """One short badge a gate, the number that made it fail, and a table of all numbers."""
    told = pictures.deciding(measures)
    looks = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "gray")}
    row = " ".join(":{1}-badge[{0} {2}]".format(*looks[passed], plain(gate)) for gate, passed, _ in told)
    about = [f"**{plain(gate)}**: {gates.GATES.get(gate).help}" for gate, _, _ in told if gate in gates.names()]
    st.markdown(row, help="  \n".join(about))
    for gate, passed, number in told:
        if passed is False:
            st.caption(f"✗ {plain(gate)}: {plain(number)}")
    if told:
        with st.expander("Numbers of the gates"):
            st.dataframe(
                pictures.numbers(measures), hide_index=True,
                column_config={"value": st.column_config.NumberColumn(format="%.3f")},
            )  # fmt: skip
            st.caption("–: the gate is not asked for in this workspace, or had nothing to measure; it decides nothing.")


def note(workspace: Workspace, edit: dict[str, Any]) -> None:
    """The note on an edit; Enter, or leaving the field, keeps it."""
    key, now = f"note-{edit['edit_id']}", edit["note"] if isinstance(edit["note"], str) else ""

    def keep() -> None:
        workspace.records.note(edit["edit_id"], st.session_state[key].strip())

    st.text_input("Note", now, max_chars=500, key=key, on_change=keep, placeholder="Kept with the decision")


def how_it_was_made(edit: dict[str, Any], doubts: pd.DataFrame | None) -> None:
    """Models, seed and settings of an edit, and how far its tries and judges agree."""
    with st.expander("How it was made"):
        st.markdown(
            f"Generator {plain(edit['generator'])} ({plain(edit['generator_revision'])}), {plain(edit['mode'])}, "
            f"strength {edit['guidance']:g}, {edit['steps']} steps, seed {edit['seed']}. Judge {plain(edit['judge'])}, "
            f"segmenter {plain(edit['segmenter'])}.  \nSource film {plain(edit['source_dicom_id'])}; edit "
            f"{plain(edit['edit_id'])}, {edit['columns']:.0f} × {edit['rows']:.0f} pixels."
        )
        for row in doubts.itertuples() if doubts is not None else ():
            st.caption(
                f"Uncertainty of {plain(row.finding)}: {row.total:.2f} bits, of which {row.mutual:.2f} is disagreement "
                f"({row.k} tr{'y' if row.k == 1 else 'ies'} × {row.m} judge{'' if row.m == 1 else 's'}).",
                help="0: all agree and are sure. 1: it could be either. Doubt that all share is not disagreement.",
            )
