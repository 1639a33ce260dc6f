"""What the pages share: the workspace, cached reads, job progress, films in a grid, and errors in plain words."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from cars import config, jobs, pictures, stages
from cars.errors import CarsError, FilmError
from cars.workspace import Workspace

ICONS = {
    "made": "✓", "done": "✓", "running": "…", "queued": "…", "failed": "✗", "blocked": "✗", "cancelled": "–",
    "open": "○", "waiting": "·",
}  # fmt: skip
COLOURS = {
    "made": "green", "done": "green", "running": "blue", "queued": "blue", "failed": "red", "blocked": "red",
    "cancelled": "gray", "open": "orange", "waiting": "gray",
}  # fmt: skip


# Text and errors ----------------------------------------------------------------------------------------------------


def plain(text: object) -> str:
    """Text from data or users, so that Markdown shows it as it is: no links, images, formulas or icons."""
    return re.sub(r"([\\`*_{}\[\]()#+\-!|<>$:~&])", r"\\\1", str(text)).replace("\n", " ")


def show_error(error: CarsError) -> None:
    """What is wrong and what to do about it."""
    st.error(plain(error.message) + (f"  \n{plain(error.hint)}" if error.hint else ""))


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Show a CARS error in place instead of a traceback."""
    try:
        yield
    except CarsError as error:
        show_error(error)


# The workspace ------------------------------------------------------------------------------------------------------


def current() -> Workspace:
    """The workspace chosen in the sidebar."""
    if "workspace" not in st.session_state:
        # a link to a page as a fresh server's very first request: Streamlit takes a folder called pages for the old
        # kind of app and runs the page without app.py; tell it otherwise and start over
        PagesManager.uses_pages_directory = False
        st.rerun()
    return Workspace.open(st.session_state["workspace"])


def stamp(workspace: Workspace, *tables: str) -> tuple[str, ...]:
    """A key that changes whenever one of these tables does; caches take it as an argument."""
    marks = [str(workspace.path)]
    for table in tables:
        parts = workspace.parts(table)
        newest = max((part.stat().st_mtime_ns for part in parts), default=0)
        marks.append(f"{table}:{workspace.version(table)}:{len(parts)}:{newest}")
    return tuple(marks)


def source_name(workspace: Workspace) -> str:
    """The data set's name for the titles of figures."""
    about = stages.about(workspace)
    return str(about.get("name") or about.get("adapter") or workspace.name)


@st.cache_data(max_entries=64, show_spinner=False)
def query(key: tuple[str, ...], name: str, **params: Any) -> pd.DataFrame:
    """A named query, cached until the tables in `key` change."""
    return Workspace(key[0]).query(name, **params)


# Jobs ---------------------------------------------------------------------------------------------------------------


def submit(workspace: Workspace, verb: str, settings: Mapping[str, Any], after: str | None = None) -> str | None:
    """Queue a verb and make sure that somebody works on it. Returns the job's id, None after an error is shown."""
    with reported():
        job_id = jobs.submit(workspace, verb, settings, after)
        jobs.ensure_worker(workspace)
        return job_id
    return None


def watch(workspace: Workspace, *verbs: str) -> bool:
    """Live progress of the jobs of these verbs that wait or run (of all verbs when none is named).

    When the last of them ends, the page is drawn again. Returns whether there is any.
    """
    active = _active(workspace, verbs)
    if active:
        _live(str(workspace.path), verbs, tuple(job.job_id for job in active))
    else:
        _last_problem(workspace, verbs)
    return bool(active)


def _active(workspace: Workspace, verbs: Sequence[str]) -> list[jobs.Job]:
    if not (workspace.path / "records.sqlite").exists():
        return []
    found = [job for job in jobs.history(workspace) if job.state in ("queued", "running")]
    return [job for job in reversed(found) if not verbs or job.verb in verbs]


@st.fragment(run_every=1.5)
def _live(path: str, verbs: tuple[str, ...], drawn: tuple[str, ...]) -> None:
    workspace = Workspace(path)
    active = _active(workspace, verbs)
    if tuple(job.job_id for job in active) != drawn:
        st.rerun()
    for job in active:
        bar, button = st.columns([6, 1], vertical_alignment="center", wrap=False)
        bar.progress(job.share, text=describe(job))
        key = f"cancel-{job.job_id}"
        button.button("Cancel", key=key, disabled=job.cancel, on_click=jobs.cancel, args=(workspace, job.job_id))


def _last_problem(workspace: Workspace, verbs: Sequence[str]) -> None:
    """The newest job's error, where it failed, with a way to try again."""
    job = jobs.latest(workspace, *verbs) if verbs and (workspace.path / "records.sqlite").exists() else None
    if job is None or job.state not in ("failed", "blocked"):
        return
    st.error(f"`{job.verb}` {job.state}: {plain(job.error or '')}  \n{plain(job.hint or '')}")
    st.button("Try again", key=f"retry-{job.job_id}", on_click=jobs.retry, args=(workspace, job.job_id))


def describe(job: jobs.Job) -> str:
    """A job in one line: what, how far, and what it is doing."""
    if job.cancel:
        return f"{job.verb}: stopping"
    if job.state == "queued":
        return f"{job.verb}: waiting" + (" for the job before" if job.after else "")
    return f"{job.verb}: {job.share:.0%} {plain(job.message)}"


# Settings -----------------------------------------------------------------------------------------------------------


def defaults(workspace: Workspace, verb: str, settings_class: type) -> Any:
    """A verb's settings before anybody changes them: default, workspace.toml, environment. None after an error."""
    with reported():
        return config.resolve(settings_class, verb, None, workspace.file_settings)
    return None


def setting_widgets(
    verb: str, start: Any, names: Sequence[str], words: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A widget for each named field of a settings object, with its sentence as help. Returns field → value.

    words: field → its label, where its name does not say enough.
    """
    fields = {f.name: f for f in dataclasses.fields(start)}
    values = {}
    for name in names:
        meta, value = fields[name].metadata, getattr(start, name)
        kind, optional = config.field_type(type(start), name)
        label = (words or {}).get(name, name.replace("_", " ").capitalize())
        common = {"key": f"{verb}-{name}", "help": meta.get("help") or None}
        choices = meta.get("choices")
        if choices:
            start_at = 0 if common["key"] in st.session_state else choices.index(value)
            values[name] = st.selectbox(label, choices, index=start_at, **common)
        elif kind is bool:
            values[name] = st.toggle(label, value, **common)
        elif kind in (int, float):
            low, high = meta.get("minimum"), meta.get("maximum")
            values[name] = st.number_input(
                label, kind(low) if low is not None else None, kind(high) if high is not None else None, value,
                step=1 if kind is int else _step(value), format="%d" if kind is int else "%g", **common,
            )  # fmt: skip
        else:
            values[name] = st.text_input(label, value or "", **common) or (None if optional else "")
    return values


def _step(value: float | None) -> float:
    """What one press adds to a number: a tenth of its size, as 0.0001 of 0.001; 0.1 of nothing."""
    return 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 0.1


def multiple(label: str, options: Sequence[str], start: str, key: str, help: str | None = None) -> str:
    """A choice of several names; takes and returns them comma-separated, as settings hold them."""
    chosen = [name.strip() for name in start.split(",") if name.strip()]
    # names that a saved set put there are options as well, and must not meet a default
    kept = st.session_state.get(key)
    every = list(dict.fromkeys([*options, *chosen, *(kept or ())]))
    return ",".join(st.multiselect(label, every, chosen if kept is None else None, key=key, help=help))


# Films --------------------------------------------------------------------------------------------------------------


@st.cache_data(max_entries=2000, show_spinner=False)
def thumbnail(path: str, modified: int) -> bytes | None:
    """A film's small JPEG, None when it cannot be decoded. `modified`: the file's time, so that a new file is read."""
    try:
        return pictures.thumbnail(path)
    except FilmError:
        return None


def film_grid(workspace: Workspace, ids: Sequence[str], most: int = 24) -> None:
    """Films as a grid of small pictures with captions, in the order of `ids`; a grey square stands for one without a
    file. Says how many are left out and how many have no file."""
    missing = 0
    with st.container(horizontal=True, gap="small"):
        for path, caption in _cards(stamp(workspace, "films", "edits"), tuple(ids[:most])):
            picture = None
            if path is not None:
                with contextlib.suppress(FileNotFoundError):
                    picture = thumbnail(path, _modified(path))
            missing += picture is None
            st.image(picture or pictures.no_film(), plain(caption), width=160, alt=plain(caption))
    notes = []
    if missing:
        notes.append(f"{missing:,} of these have no film that can be shown.")
    if len(ids) > most:
        notes.append(f"The first {most} of {len(ids):,} are shown.")
    if notes:
        st.caption(" ".join(notes))


@st.cache_data(max_entries=200, show_spinner=False)
def _cards(key: tuple[str, ...], ids: tuple[str, ...]) -> list[tuple[str | None, str]]:
    """(path, caption) of `pictures.cards`, read once for a version of the tables that `key` is the stamp of."""
    cards = pictures.cards(Workspace(key[0]), list(ids))
    return [(p if isinstance(p, str) else None, c) for p, c in zip(cards["path"], cards["caption"], strict=True)]


def _modified(path: str) -> int:
    return os.stat(path).st_mtime_ns


def go(page: str) -> None:
    """Open another page."""
    st.switch_page(f"pages/{page}.py")


def empty(text: str, page: str, label: str) -> None:
    """What is missing here, and the link to where it is made."""
    st.info(text)
    st.page_link(f"pages/{page}.py", label=label, icon=":material/arrow_forward:")
