"""Jobs: what waits, runs and has ended; cancel, retry, results, errors with hints, and the end of the log."""

from __future__ import annotations

import contextlib
import json
import time

import streamlit as st

from cars import jobs, synth
from cars.workspace import Workspace
from pages._common import COLOURS, ICONS, current, plain, watch


def since(moment: float | None) -> str:
    """A time of day, with the date when it was another day."""
    if moment is None:
        return ""
    day = "%H:%M:%S" if time.time() - moment < 12 * 3600 else "%Y-%m-%d %H:%M"
    return time.strftime(day, time.localtime(moment))


def training(path: str, key: str | None) -> None:
    """Loss, judge's flips and sample edits of an editor in training, or of a finished one."""
    pictures = synth.run_pictures(Workspace(path), key)
    if not pictures:
        st.caption("Losses and sample edits are shown here from the first checkpoint on, after about a minute.")
    for picture in pictures:
        with contextlib.suppress(FileNotFoundError):  # the run ended just now; the next round finds the editor's own
            st.image(picture.read_bytes())
    if pictures:
        st.caption(
            "The fixed films are train films that the judge reads rightly before the edit; it sees their edits and "
            "their shams. With so few films this is a trend, not a result."
        )


live = st.fragment(run_every=20.0)(training)


def one(workspace: Workspace, job: jobs.Job) -> None:
    """A job, folded."""
    state = f":{COLOURS[job.state]}[{ICONS[job.state]} {job.state}]"
    title = f"{state} · **{job.verb}** · {since(job.started or job.created)}"
    with st.expander(title + (f" · {job.seconds:,.0f} s" if job.started else ""), expanded=job.state == "failed"):
        if job.error:
            st.error(f"{plain(job.error)}  \n{plain(job.hint or '')}")
        if job.state in ("failed", "cancelled", "blocked"):
            st.button("Retry", key=f"again-{job.job_id}", on_click=jobs.retry, args=(workspace, job.job_id))
        st.text(f"job {job.job_id}" + (f", after {job.after}" if job.after else ""))
        st.code(json.dumps(job.settings, ensure_ascii=False), language="json", wrap_lines=True)
        if job.verb == "train-generator" and job.state in ("running", "done"):
            show = live if job.state == "running" else training
            show(str(workspace.path), (job.result or {}).get("generator"))
        if job.result is not None:
            st.caption("Result")
            st.json(job.result, expanded=1)
        log = jobs.log_tail(workspace, job.job_id)
        if log:
            st.caption("End of the log")
            st.code(log, language=None)


workspace = current()
st.title("Jobs")
st.write("Long work runs here, one job at a time, whether or not this page is open.")
worker = jobs.worker_of(workspace)
ready = f"A worker is ready (process {worker['pid']})." if worker else "No worker runs; one starts with the next job."
st.caption(ready)
watch(workspace)
history = jobs.history(workspace)
if not history:
    st.info("No job yet. The page Overview offers the first one.")
for job in history[:50]:
    one(workspace, job)
if len(history) > 50:
    st.caption(f"The newest 50 of {len(history):,} jobs are shown; `cars jobs` lists all.")
