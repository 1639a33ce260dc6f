"""A workspace for jobs, and a helper that starts real workers and stops them after the test."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cars import jobs
from cars.jobs.process import is_alive
from cars.jobs.store import JobStore
from cars.workspace import Workspace

from .toy import COMMAND


def wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Poll until something holds. The limit only keeps a broken test from hanging."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.03)


def wait_for(workspace: Workspace, job_id: str, *states: str) -> jobs.Job:
    """Wait until the job is in one of these states."""
    wait_until(lambda: jobs.status(workspace, job_id).state in states)
    return jobs.status(workspace, job_id)


class Workers:
    """Starts real worker processes on one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def start(self, idle: float = 600.0) -> int:
        return jobs.ensure_worker(self.workspace, COMMAND, idle)

    def kill(self) -> None:
        info = jobs.worker_of(self.workspace)
        assert info is not None
        os.kill(info["pid"], signal.SIGKILL)
        wait_until(lambda: not is_alive(info["pid"], info["process"]))

    def stop(self) -> None:
        info = jobs.worker_of(self.workspace)
        if info:
            os.kill(info["pid"], signal.SIGTERM)
            wait_until(lambda: not is_alive(info["pid"], info["process"]))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "ws")


@pytest.fixture
def store(workspace: Workspace) -> JobStore:
    return JobStore(workspace)


@pytest.fixture
def workers(workspace: Workspace) -> Iterator[Workers]:
    made = Workers(workspace)
    yield made
    made.stop()
    for job in JobStore(workspace).in_state("running"):
        if is_alive(job.pid, job.process):
            os.killpg(job.pid, signal.SIGKILL)
