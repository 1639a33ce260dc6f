"""The records of jobs: one row a job in records.sqlite, changed only by guarded updates.

    queued ──claim──▶ running ──▶ done
      │  ▲               ├──────▶ failed
      │  └───requeue─────┤
      └─────cancel───────┴──────▶ cancelled          blocked: a job waits on one that failed or was cancelled

Every change names the state that it starts from in its WHERE, so two processes that act at once cannot both win.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..errors import WorkspaceError
from ..provenance import digest
from ..records import new_id
from ..workspace import Workspace

STATES: tuple[str, ...] = ("queued", "running", "done", "failed", "cancelled", "blocked")
#: States that a job does not leave by itself.
ENDED: tuple[str, ...] = ("done", "failed", "cancelled", "blocked")


@dataclass(frozen=True)
class Job:
    """One job. Times are seconds since 1970; `error` and `hint` are sentences for the person who started it."""

    job_id: str
    verb: str
    settings: dict[str, Any]
    state: str
    done: int
    total: int
    message: str
    result: dict[str, Any] | None
    error: str | None
    hint: str | None
    pid: int | None
    process: str | None
    worker: str | None
    created: float
    started: float | None
    ended: float | None
    heartbeat: float | None
    after: str | None
    cancel: bool
    crashes: int

    @property
    def share(self) -> float:
        """How much is done, in [0, 1]."""
        if self.state == "done":
            return 1.0
        return min(self.done / self.total, 1.0) if self.total > 0 else 0.0

    @property
    def has_ended(self) -> bool:
        """Whether the job will not change by itself any more."""
        return self.state in ENDED

    @property
    def seconds(self) -> float:
        """How long it has run, in seconds; 0 before it starts."""
        return 0.0 if self.started is None else (self.ended or time.time()) - self.started


COLUMNS: tuple[str, ...] = tuple(f.name for f in dataclasses.fields(Job))


def _job(row: sqlite3.Row) -> Job:
    values = {name: row[name] for name in COLUMNS}
    values["settings"] = json.loads(values["settings"])
    values["result"] = json.loads(values["result"]) if values["result"] else None
    values["cancel"] = bool(values["cancel"])
    return Job(**values)


class JobStore:
    """The jobs table of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.records = workspace.records

    # Reading -----------------------------------------------------------------------------------------------------

    def get(self, job_id: str) -> Job:
        """Raises: WorkspaceError for an unknown id."""
        with self.records.open() as db:
            row = db.execute("SELECT * FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        if row is None:
            raise WorkspaceError(f"There is no job {job_id!r}.", "List the jobs with `cars jobs`.")
        return _job(row)

    def all(self) -> list[Job]:
        """Every job, newest first."""
        with self.records.open() as db:
            return [_job(row) for row in db.execute("SELECT * FROM jobs ORDER BY created DESC, rowid DESC")]

    def in_state(self, *states: str) -> list[Job]:
        """The jobs in any of these states, oldest first."""
        return [job for job in reversed(self.all()) if job.state in states]

    def frame(self) -> pd.DataFrame:
        """Every job as a table with Job's fields as columns, newest first."""
        return pd.DataFrame([dataclasses.asdict(job) for job in self.all()], columns=list(COLUMNS))

    # Making ------------------------------------------------------------------------------------------------------

    def add(self, verb: str, settings: dict[str, Any], after: str | None) -> tuple[Job, bool]:
        """File a job as queued. Returns it and whether it is new: one of the same verb and settings that is
        queued or running (and not being cancelled), and waits for the same job, is handed back instead.

        Raises: WorkspaceError when `after` names no job.
        """
        wanted = digest(verb, settings)
        with self.records.open() as db:
            # the look-up and the insert are one step for all processes
            db.execute("BEGIN IMMEDIATE")
            if after and not db.execute("SELECT 1 FROM jobs WHERE job_id = ?", (after,)).fetchone():
                raise WorkspaceError(f"There is no job {after!r} to wait for.", "List the jobs with `cars jobs`.")
            waiting = db.execute(
                "SELECT * FROM jobs WHERE verb = ? AND state IN ('queued', 'running') AND cancel = 0", (verb,)
            )
            for job in map(_job, waiting.fetchall()):
                if digest(job.verb, job.settings) == wanted and after in (None, job.after):
                    return job, False
            job_id = new_id()
            db.execute(
                "INSERT INTO jobs (job_id, verb, settings, state, created, after) VALUES (?, ?, ?, 'queued', ?, ?)",
                (job_id, verb, json.dumps(settings, sort_keys=True, default=str), time.time(), after),
            )
        return self.get(job_id), True

    # Changing ----------------------------------------------------------------------------------------------------

    def _change(self, statement: str, *values: Any) -> bool:
        with self.records.open() as db:
            return db.execute(statement, values).rowcount > 0

    def claim(self, job_id: str, worker: str) -> bool:
        """queued → running, once, and only when the job that it waits for is done."""
        now = time.time()
        return self._change(
            "UPDATE jobs SET state = 'running', worker = ?, started = ?, heartbeat = ?, ended = NULL, message = '',"
            " error = NULL, hint = NULL, pid = NULL, process = NULL"
            " WHERE job_id = ? AND state = 'queued' AND cancel = 0"
            " AND (after IS NULL OR EXISTS (SELECT 1 FROM jobs a WHERE a.job_id = jobs.after AND a.state = 'done'))",
            worker, now, now, job_id,
        )  # fmt: skip

    def set_process(self, job_id: str, pid: int, process: str | None) -> None:
        """Note the process that runs the job, with its start time so that a reused pid is told apart."""
        self._change(
            "UPDATE jobs SET pid = ?, process = ? WHERE job_id = ? AND state = 'running'", pid, process, job_id
        )

    def beat(self, job_id: str) -> bool:
        """Say that the job's worker is alive. Returns whether somebody asked to cancel the job."""
        with self.records.open() as db:
            db.execute("UPDATE jobs SET heartbeat = ? WHERE job_id = ? AND state = 'running'", (time.time(), job_id))
            row = db.execute("SELECT cancel FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        return bool(row and row["cancel"])

    def progress(self, job_id: str, done: int, total: int, message: str) -> bool:
        """Write how far a running job is. Returns whether it is to stop: a cancel was asked, or it runs no more."""
        with self.records.open() as db:
            db.execute(
                "UPDATE jobs SET done = ?, total = ?, message = ?, heartbeat = ?"
                " WHERE job_id = ? AND state = 'running'",
                (int(done), int(total), message, time.time(), job_id),
            )
            row = db.execute("SELECT cancel, state FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        return row is None or bool(row["cancel"]) or row["state"] != "running"

    def finish(self, job_id: str, result: dict[str, Any]) -> bool:
        """running → done."""
        return self._change(
            "UPDATE jobs SET state = 'done', result = ?, done = max(total, 1), total = max(total, 1), message = '',"
            " ended = ? WHERE job_id = ? AND state = 'running'",
            json.dumps(result, default=str), time.time(), job_id,
        )  # fmt: skip

    def fail(self, job_id: str, error: str, hint: str) -> bool:
        """running → failed."""
        return self._change(
            "UPDATE jobs SET state = 'failed', error = ?, hint = ?, ended = ? WHERE job_id = ? AND state = 'running'",
            error, hint, time.time(), job_id,
        )  # fmt: skip

    def stopped(self, job_id: str) -> str:
        """A running job has stopped early: → cancelled when that was asked, else → queued to go on later.

        Returns the job's state afterwards.
        """
        self._change(
            "UPDATE jobs SET state = CASE cancel WHEN 1 THEN 'cancelled' ELSE 'queued' END,"
            " ended = CASE cancel WHEN 1 THEN ? ELSE NULL END, pid = NULL, process = NULL"
            " WHERE job_id = ? AND state = 'running'",
            time.time(), job_id,
        )  # fmt: skip
        return self.get(job_id).state

    def crashed(self, job_id: str) -> int:
        """Count one more death of the job's process. Returns how often it has died."""
        self._change("UPDATE jobs SET crashes = crashes + 1 WHERE job_id = ?", job_id)
        return self.get(job_id).crashes

    def ask_cancel(self, job_id: str) -> str:
        """queued or blocked → cancelled at once; a running job is marked to be stopped. Returns the state now."""
        self.get(job_id)
        self._change(
            "UPDATE jobs SET state = 'cancelled', ended = ? WHERE job_id = ? AND state IN ('queued', 'blocked')",
            time.time(), job_id,
        )  # fmt: skip
        self._change("UPDATE jobs SET cancel = 1 WHERE job_id = ? AND state = 'running'", job_id)
        return self.get(job_id).state

    def reset(self, job_id: str) -> bool:
        """failed, cancelled or blocked → queued, with nothing left of the last try but its log."""
        return self._change(
            "UPDATE jobs SET state = 'queued', done = 0, total = 0, message = '', result = NULL, error = NULL,"
            " hint = NULL, pid = NULL, process = NULL, worker = NULL, started = NULL, ended = NULL, heartbeat = NULL,"
            " cancel = 0, crashes = 0 WHERE job_id = ? AND state IN ('failed', 'cancelled', 'blocked')",
            job_id,
        )

    # Chains ------------------------------------------------------------------------------------------------------

    def followers(self, job_id: str) -> list[Job]:
        """The jobs that wait for this one directly, oldest first."""
        with self.records.open() as db:
            rows = db.execute("SELECT * FROM jobs WHERE after = ? ORDER BY created, rowid", (job_id,)).fetchall()
        return [_job(row) for row in rows]

    def block(self, job_id: str, error: str, hint: str) -> bool:
        """queued → blocked."""
        return self._change(
            "UPDATE jobs SET state = 'blocked', error = ?, hint = ?, ended = ? WHERE job_id = ? AND state = 'queued'",
            error, hint, time.time(), job_id,
        )  # fmt: skip

    def settle(self, job_id: str) -> list[str]:
        """What a job's state means for those that wait for it, down the whole chain.

        Returns the ids that may run now. Followers of a failed, cancelled or blocked job become blocked.
        """
        job = self.get(job_id)
        if job.state == "done":
            return [follower.job_id for follower in self.followers(job_id) if follower.state == "queued"]
        if job.has_ended:
            for follower in self.followers(job_id):
                if self.block(
                    follower.job_id,
                    f"It waits for `{job.verb}` ({job.job_id}), which is {job.state}.",
                    "Retry that job first; this one then goes on by itself.",
                ):
                    self.settle(follower.job_id)
        return []

    def ready(self) -> list[str]:
        """The queued jobs that wait for nothing unfinished, oldest first; settles every chain on the way."""
        done = set()
        for job in self.all():
            if job.state == "done":
                done.add(job.job_id)
            elif job.has_ended:
                self.settle(job.job_id)
        return [job.job_id for job in self.in_state("queued") if job.after is None or job.after in done]
