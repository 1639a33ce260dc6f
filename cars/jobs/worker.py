"""The worker: Huey's consumer with one slot, which runs each job as a process group of its own.

A worker that dies leaves its job `running` and perhaps its process alive. The next worker of this machine ends that
process, puts the job back and runs it again; the verb skips the parts that exist. worker.lock is held for the
worker's whole life, so a workspace never has two; worker.json says who it is and its time stamp is the heartbeat.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ResourceError
from ..workspace import Workspace, write_json
from .process import identity, is_alive, lock, signal_group, stop_group
from .queue import enqueue, open_queue
from .store import JobStore

logger = logging.getLogger("cars.jobs")

#: Seconds: between heartbeats; a job's time to stop by itself; until a silent worker elsewhere counts as dead.
BEAT, GRACE, SILENT = 2.0, 10.0, 60.0
#: Set by ensure_worker: seconds without a job after which the worker leaves.
IDLE = "CARS_WORKER_IDLE"
COMMAND: tuple[str, ...] = (sys.executable, "-m", "cars")


def environment() -> dict[str, str]:
    """The environment of a child: this one, with this package importable from any folder."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONUNBUFFERED": "1"}


def log_path(workspace: Workspace, job_id: str) -> Path:
    """Where a job's output goes. "worker" is the worker's own."""
    return workspace.folder("logs") / f"{job_id}.log"


# Who works here ----------------------------------------------------------------------------------------------------


def worker_of(workspace: Workspace) -> dict[str, Any] | None:
    """host, pid, process (start time) and heartbeat of the live worker, or None when none is alive."""
    path = workspace.path / "worker.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        info["heartbeat"] = path.stat().st_mtime
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if info["host"] == socket.gethostname():
        return info if is_alive(info["pid"], info["process"]) else None
    return info if time.time() - info["heartbeat"] < SILENT else None


def ensure_worker(workspace: Workspace, command: Sequence[str] = COMMAND, idle: float = 900.0) -> int:
    """Start a detached worker unless one is alive. Safe to call from many sessions at once. Returns its pid.

    Args:
        idle: seconds without a job after which the started worker leaves by itself.

    Raises: ResourceError when no process can be started.
    """
    info = worker_of(workspace)
    if info:
        return int(info["pid"])
    with lock(workspace.path / "worker.start.lock", wait=True):
        info = worker_of(workspace)
        if info:
            return int(info["pid"])
        try:
            with open(log_path(workspace, "worker"), "ab") as log:
                child = subprocess.Popen(
                    [*command, "worker", "--workspace", str(workspace.path)],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                    env={**environment(), IDLE: str(idle)},
                )  # fmt: skip
        except OSError as error:
            raise ResourceError(f"The worker cannot be started: {error}.", "Run `cars worker` in a terminal.") from None
        # collected when it ends, so that it never stays as a zombie of a long-lived app
        threading.Thread(target=child.wait, daemon=True).start()
        _announce(workspace, child.pid)  # before the start lock opens: the next caller sees it
        return child.pid


def _announce(workspace: Workspace, pid: int) -> None:
    info = {"host": socket.gethostname(), "pid": pid, "process": identity(pid), "started": time.time()}
    write_json(workspace.path / "worker.json", info)


# One job -----------------------------------------------------------------------------------------------------------


class Slot:
    """The place where one job runs at a time."""

    def __init__(self, workspace: Workspace, command: Sequence[str], grace: float) -> None:
        self.workspace = workspace
        self.command = tuple(command)
        self.grace = grace
        self.store = JobStore(workspace)
        self.name = f"{socket.gethostname()}:{os.getpid()}:{identity(os.getpid())}"
        self.stopping: Callable[[], bool] = lambda: False
        self.busy = False
        self.last_busy = time.monotonic()

    def run(self, job_id: str) -> None:
        """Claim a job, run it to its end and see to those that wait for it."""
        if self.stopping() or not self.store.claim(job_id, self.name):
            return
        self.busy = True
        try:
            self._supervise(job_id)
            after = self.store.settle(job_id)
            again = [job_id] if self.store.get(job_id).state == "queued" and not self.stopping() else []
            enqueue(self.workspace, *again, *after)
        finally:
            self.busy, self.last_busy = False, time.monotonic()

    def _supervise(self, job_id: str) -> None:
        arguments = [*self.command, "job-run", job_id, "--workspace", str(self.workspace.path)]
        try:
            with open(log_path(self.workspace, job_id), "ab") as log:
                child = subprocess.Popen(
                    arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    start_new_session=True, env=environment(),
                )  # fmt: skip
        except OSError as error:
            self.store.fail(job_id, f"The job's process cannot be started: {error}.", "Free memory, then retry.")
            return
        process = identity(child.pid)
        self.store.set_process(job_id, child.pid, process)
        stopped = False
        while child.poll() is None:
            if self.stopping() or self.store.beat(job_id):
                stopped = True
                stop_group(child.pid, process, self.grace)
            try:
                child.wait(timeout=0.3)
            except subprocess.TimeoutExpired:
                continue
        signal_group(child.pid, signal.SIGKILL)  # helpers that outlived the job
        self._judge(job_id, child.returncode, stopped)

    def _judge(self, job_id: str, status: int, stopped: bool) -> None:
        """File the end of a job whose process did not file it itself."""
        job = self.store.get(job_id)
        if job.state != "running":
            return
        if stopped or job.cancel:
            self.store.stopped(job_id)
        elif status < 0 and self.store.crashed(job_id) < 2:
            logger.warning("job %s was killed by %s; it runs once more", job_id, signal.Signals(-status).name)
            self.store.stopped(job_id)
        elif status < 0:
            self.store.fail(
                job_id,
                f"The job's process was killed twice, last by {signal.Signals(-status).name}.",
                "Most often memory ran out: use a smaller batch or size, then retry.",
            )
        else:
            self.store.fail(job_id, f"The job's process ended with status {status}.", "The log below says why.")


# The consumer ------------------------------------------------------------------------------------------------------


def recover(workspace: Workspace, worker: str, grace: float = GRACE) -> list[str]:
    """Put back the jobs of dead workers and queue every job that can run.

    Args:
        worker: the name of the caller, who holds worker.lock; its own job is left alone.

    Returns: the ids that were queued.
    """
    store = JobStore(workspace)
    for job in store.in_state("running"):
        if job.worker == worker:
            continue
        host = (job.worker or "").split(":", 1)[0]
        if host in ("", socket.gethostname()):
            if job.pid is not None:
                stop_group(job.pid, job.process, grace)  # an orphan would write beside its successor
        elif time.time() - (job.heartbeat or 0.0) < SILENT:
            continue
        logger.info("job %s was left behind: now %s", job.job_id, store.stopped(job.job_id))
    ready = store.ready()
    enqueue(workspace, *ready)
    return ready


def run_worker(
    workspace: Workspace, command: Sequence[str] = COMMAND, grace: float = GRACE, idle: float | None = None
) -> bool:
    """Run the workspace's jobs one at a time in this process until SIGTERM, SIGINT or SIGHUP.

    Args:
        command: what starts `cars`; each job runs as `command job-run JOB --workspace DIR`.
        grace: seconds that a job gets to stop by itself before its process group is killed.
        idle: leave after this many seconds without a job; None: the environment's CARS_WORKER_IDLE, else never.

    Returns: False when another worker has this workspace already.
    """
    from huey.consumer import Consumer

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("huey").setLevel(logging.WARNING)
    if idle is None:
        idle = float(os.environ[IDLE]) if os.environ.get(IDLE) else None
    end = time.monotonic() + 5.0
    while True:
        with lock(workspace.path / "worker.lock", wait=False) as mine:
            if mine:
                _announce(workspace, os.getpid())
                slot = Slot(workspace, command, grace)
                huey, _ = open_queue(workspace, slot.run)
                consumer = Consumer(
                    huey, workers=1, periodic=False, max_delay=1.0, backoff=1.1, scheduler_interval=60,
                    graceful_signal="TERM",
                )  # fmt: skip
                slot.stopping = consumer.stop_flag.is_set
                _serve(workspace, slot, consumer, idle)
                return True
        # an idle worker that is just leaving holds the lock a moment longer
        if time.monotonic() > end:
            logger.info("another worker has this workspace")
            return False
        time.sleep(0.2)


def _serve(workspace: Workspace, slot: Slot, consumer: Any, idle: float | None) -> None:
    # every signal stops it in the same way; Huey would run sys.argv again on SIGHUP
    consumer._signal_actions = dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), (False, True))
    recover(workspace, slot.name, slot.grace)
    beat = threading.Thread(target=_beat, args=(workspace, slot, consumer, idle), daemon=True)
    beat.start()
    logger.info("worker %d started", os.getpid())
    consumer.run()
    for _, thread in consumer.worker_threads:
        thread.join(slot.grace + 5.0)
    beat.join(BEAT + 1.0)
    info = worker_of(workspace)
    if info and info["pid"] == os.getpid():
        (workspace.path / "worker.json").unlink(missing_ok=True)
    logger.info("worker %d stopped", os.getpid())


def _beat(workspace: Workspace, slot: Slot, consumer: Any, idle: float | None) -> None:
    """Until the consumer stops: touch worker.json, find lost ids when idle, and leave after `idle` seconds."""
    path = workspace.path / "worker.json"
    beats = 0
    while not consumer.stop_flag.wait(BEAT if idle is None else min(BEAT, max(idle / 4, 0.1))):
        beats += 1
        info = worker_of(workspace)
        if info is None or info["pid"] != os.getpid():
            _announce(workspace, os.getpid())
        else:
            os.utime(path)
        if slot.busy or consumer.huey.pending_count():
            continue
        if beats % 10 == 0:
            recover(workspace, slot.name, slot.grace)
        if idle is not None and time.monotonic() - slot.last_busy > idle:
            # from here on ensure_worker starts another; a job submitted a moment ago keeps this one
            path.unlink(missing_ok=True)
            if recover(workspace, slot.name, slot.grace):
                slot.last_busy = time.monotonic()
                continue
            os.kill(os.getpid(), signal.SIGTERM)
            return
