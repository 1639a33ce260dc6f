"""Gains, the grid in training: each unit's state, what is left, and what a stopped grid keeps."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cars import jobs
from cars.errors import WorkspaceError
from cars.evaluate.grid import Grid, grid_of, in_words
from cars.workspace import Workspace
from pages._common import plain
from pages._grid import grid

#: Seconds between two looks at the grid.
EVERY = 2.0


def show_grid(workspace: Workspace) -> None:
    """The grid that a job trains now; or the one begun last, where it was not finished."""
    job = jobs.latest(workspace, "finetune") if (workspace.path / "records.sqlite").exists() else None
    if job is not None and job.state == "running":
        _live(str(workspace.path), job.started or 0.0)
    elif job is None or job.state != "queued":
        stopped(workspace, job)


@st.fragment(run_every=EVERY)
def _live(path: str, started: float) -> None:
    found = begun(Workspace(path))
    if found is None or found.begun < started:
        st.caption("The films are decoded at the training size first; then the grid is shown here.")
    else:
        st.markdown(f"**The grid.** {plain(found.words(True))}")
        draw(found, True)


def stopped(workspace: Workspace, job: jobs.Job | None) -> None:
    """A grid that was not finished: what is kept, and how it goes on."""
    found = begun(workspace)
    if found is None or found.finished:
        return
    own = job is not None and (job.started or 0.0) <= found.begun <= (job.ended or 0.0)
    with st.expander(f"A grid that is not finished: {plain(found.words(False))}", expanded=own):
        if not own:
            st.caption("It was begun by a command. If that still runs, its progress is shown here; else give it again.")
        elif job is not None and job.state == "cancelled":
            st.button("Go on with it", on_click=jobs.retry, args=(workspace, job.job_id), key=f"on-{job.job_id}")
        draw(found, not own)


def begun(workspace: Workspace) -> Grid | None:
    """The grid that was begun last, None where none was."""
    try:
        return grid_of(workspace)
    except WorkspaceError:
        return None


def draw(found: Grid, active: bool) -> None:
    """The squares, those in training in words, and what failed."""
    units = found.units.assign(share=(100 * found.units["step"] / found.units["steps"].clip(lower=1)).astype(int))
    if not active:
        units["state"] = units["state"].replace("running", "stopped")
    units["about"] = [about(unit) for unit in units.to_dict("records")]
    grid(units, "grid")
    for unit in units[units["state"] == "failed"].to_dict("records"):
        st.error(plain(unit["about"]))


def about(unit: dict[str, object]) -> str:
    """A unit in a line."""
    name = f"{unit['backbone']}, {unit['arm']}, seed {unit['seed']}"
    step = f"step {unit['step']:,} of {unit['steps']:,}"
    left = unit["seconds_left"]
    if unit["state"] == "running":
        rest = f", about {in_words(float(left))} left" if pd.notna(left) else ""  # type: ignore[arg-type]
        return f"{name}: training, {step}{rest}"
    if unit["state"] == "stopped":
        return f"{name}: stopped at {step}"
    if unit["state"] == "failed":
        return f"{name}: failed at {step}. {unit['error']}"
    return f"{name}: {unit['state']}"
