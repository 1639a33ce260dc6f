"""Jobs: a page or a command submits one; the workspace's worker runs it in a process of its own.

job_id = submit(workspace, "embed", {"backbone": "densenet121"})
gaps_id = submit(workspace, "gaps", {}, after=job_id)
ensure_worker(workspace)
status(workspace, gaps_id).state      # queued, running, done, failed, cancelled or blocked
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..errors import WorkspaceError
from ..workspace import Workspace
from .queue import enqueue
from .run import run_job
from .store import ENDED, STATES, Job, JobStore
from .worker import ensure_worker, log_path, run_worker, worker_of

__all__ = [
    "ENDED", "STATES", "Job", "cancel", "ensure_worker", "history", "jobs", "latest", "log_tail", "retry", "run_job",
    "run_worker", "status", "submit", "worker_of",
]  # fmt: skip


def submit(workspace: Workspace, verb: str, settings: Mapping[str, Any], after: str | None = None) -> str:
    """Queue a verb. Returns the job's id, or that of the same job when it is queued or running already.

    Args:
        settings: field → value, plain JSON values; what is left out comes from workspace.toml and the environment.
        after: a job that must be done first. When it fails or is cancelled, this one becomes blocked.
    """
    store = JobStore(workspace)
    job, new = store.add(verb, dict(settings), after)
    if new:
        if after is None:
            enqueue(workspace, job.job_id)
        else:
            # the job before may have ended a moment ago, when nobody waited for it yet
            enqueue(workspace, *store.settle(after))
    return job.job_id


def status(workspace: Workspace, job_id: str) -> Job:
    """How a job stands. Raises: WorkspaceError for an unknown id."""
    return JobStore(workspace).get(job_id)


def jobs(workspace: Workspace) -> pd.DataFrame:
    """All jobs, newest first; the columns are the fields of Job."""
    return JobStore(workspace).frame()


def history(workspace: Workspace) -> list[Job]:
    """All jobs, newest first."""
    return JobStore(workspace).all()


def latest(workspace: Workspace, *verbs: str) -> Job | None:
    """The newest job of any of these verbs, or None."""
    return next((job for job in JobStore(workspace).all() if job.verb in verbs), None)


def cancel(workspace: Workspace, job_id: str) -> str:
    """Stop a job: at once when it waits; a running one stops within seconds. Returns its state now.

    What it has made so far stays, and a retry goes on from there.
    """
    store = JobStore(workspace)
    state = store.ask_cancel(job_id)
    store.settle(job_id)
    return state


def retry(workspace: Workspace, job_id: str) -> str:
    """Queue a failed, cancelled or blocked job again, and with it the jobs that were blocked by it. Returns its id.

    Raises: WorkspaceError when the job is in another state.
    """
    store = JobStore(workspace)
    job = store.get(job_id)
    if not store.reset(job_id):
        raise WorkspaceError(f"Job {job_id} is {job.state}.", "Only a failed, cancelled or blocked job can be retried.")
    for follower in store.followers(job_id):
        if follower.state == "blocked":
            retry(workspace, follower.job_id)
    if job.after is None:
        enqueue(workspace, job_id)
    else:
        enqueue(workspace, *store.settle(job.after))
    return job_id


def log_tail(workspace: Workspace, job_id: str, lines: int = 40) -> str:
    """The last lines of a job's log ("worker" for the worker's own); "" when there is none."""
    status_of = job_id if job_id == "worker" else status(workspace, job_id).job_id
    try:
        with open(log_path(workspace, status_of), "rb") as log:
            log.seek(0, 2)
            log.seek(max(log.tell() - 200 * lines, 0))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
