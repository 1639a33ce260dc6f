"""Processes told apart for certain: a pid with its start time, whole process groups, and one lock per workspace."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


def identity(pid: int) -> str | None:
    """When a process started, as text that differs for a later process of the same pid; None when there is none.

    A zombie counts as gone: it runs nothing any more.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # the name in parentheses may hold spaces; state is the 1st field after it, start time the 20th
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None


def is_alive(pid: int | None, process: str | None) -> bool:
    """Whether exactly that process still runs."""
    return pid is not None and process is not None and identity(pid) == process


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the process group that `pid` leads; nothing happens when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def stop_group(pid: int, process: str | None, grace: float) -> None:
    """Ask a process group to end, wait up to `grace` seconds, then kill what is left. The leader must be `process`."""
    if not is_alive(pid, process):
        return
    signal_group(pid, signal.SIGTERM)
    end = time.monotonic() + grace
    while is_alive(pid, process) and time.monotonic() < end:
        time.sleep(0.05)
    signal_group(pid, signal.SIGKILL)
    while is_alive(pid, process):
        time.sleep(0.02)


@contextlib.contextmanager
def lock(path: Path, wait: bool) -> Iterator[bool]:
    """Hold an exclusive lock on a file while the block runs; the system drops it when the process dies.

    Yields False when another process holds it and `wait` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
