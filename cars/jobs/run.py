"""Run one job in this process: what `cars job-run` does inside the process group that the worker started."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Mapping
from types import FrameType
from typing import Any

from ..config import resolve
from ..errors import Cancelled, CarsError, SettingError, WorkspaceError
from ..workspace import Workspace
from .process import identity
from .store import JobStore

logger = logging.getLogger("cars.jobs")

#: Least seconds between two writes of progress.
INTERVAL = 0.3


class Reporter:
    """The progress function that a verb gets: writes at most every INTERVAL seconds, raises Cancelled on a stop."""

    def __init__(self, store: JobStore, job_id: str) -> None:
        self.store = store
        self.job_id = job_id
        self.stop = False
        self._last = -INTERVAL

    def __call__(self, done: int, total: int, message: str = "") -> None:
        now = time.monotonic()
        if not self.stop and now - self._last >= INTERVAL:
            self._last = now
            self.stop = self.store.progress(self.job_id, done, total, message)
        if self.stop:
            raise Cancelled("The job was asked to stop.")

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM: stop at the next call of progress, where nothing is half written."""
        self.stop = True


def run_job(workspace: Workspace, job_id: str, verbs: Mapping[str, Any]) -> bool:
    """Run a job's verb with its settings and file how it ended.

    Args:
        verbs: name → an object whose load() gives (function, settings class).

    Returns: whether the job is done. A failure, a cancel and a stop are written to the job's record, not raised.
    Raises: WorkspaceError when the job is not there to be run.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    store = JobStore(workspace)
    if store.get(job_id).state == "queued":  # by hand, without a worker
        store.claim(job_id, f"{socket.gethostname()}:{os.getpid()}:{identity(os.getpid())}")
    job = store.get(job_id)
    if job.state != "running":
        raise WorkspaceError(f"Job {job_id} is {job.state}.", "Only a queued job can be run; retry it first.")
    store.set_process(job_id, os.getpid(), identity(os.getpid()))
    reporter = Reporter(store, job_id)
    restore = _listen(reporter)
    logger.info("%s started", job.verb)
    try:
        if job.verb not in verbs:
            raise SettingError(f"There is no verb {job.verb!r}.", f"The verbs are: {', '.join(verbs)}.")
        function, settings_class = verbs[job.verb].load()
        settings = resolve(settings_class, job.verb, flags=job.settings, file=workspace.file_settings)
        result = function(workspace, settings, reporter)
    except KeyboardInterrupt:
        logger.info("%s interrupted", job.verb)
        store.stopped(job_id)
    except Exception as error:  # the boundary: whatever a verb raises becomes the job's record
        if reporter.stop or isinstance(error, Cancelled):
            logger.info("%s stopped: now %s", job.verb, store.stopped(job_id))
        else:
            message, hint = explain(error)
            store.fail(job_id, message, hint)
            # the frames without the message: messages may quote a patient's row, and logs hold no patient ids
            logger.error("%s failed: %s\n%s", job.verb, type(error).__name__, "".join(_frames(error)))
    else:
        if store.finish(job_id, result):
            logger.info("%s done", job.verb)
            return True
        logger.info("%s ended after its job had been taken away", job.verb)
    finally:
        restore()
    return False


def explain(error: Exception) -> tuple[str, str]:
    """(what went wrong, what to do) for any exception."""
    if isinstance(error, CarsError):
        return error.message, error.hint
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "Memory ran out.", "Use a smaller batch or size, or close other programs, then retry."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full.", "Free some space, then retry; it goes on where it stopped."
    return f"{type(error).__name__}: {error}", "This was not expected; the log below says where it happened."


def _frames(error: BaseException | None) -> list[str]:
    """Where an error and its causes were raised, one text a frame, without any message."""
    lines: list[str] = []
    while error is not None:
        lines = [f"{type(error).__name__}\n", *traceback.format_tb(error.__traceback__), *lines]
        error = error.__cause__ or error.__context__
    return lines


def _listen(reporter: Reporter) -> Any:
    """Let SIGTERM ask the reporter to stop. Returns a function that puts the old handler back."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    here = os.getpid()

    def handler(number: int, frame: FrameType | None) -> None:
        if os.getpid() != here:  # a forked helper of the verb inherits this handler and must still die of SIGTERM
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        reporter.on_signal(number, frame)

    old = signal.signal(signal.SIGTERM, handler)
    return lambda: signal.signal(signal.SIGTERM, old)
