"""A stand-in for `python -m cars` with toy verbs: `toy.py worker …` and `toy.py job-run ID …`.

Each verb leaves marks in the workspace folder, so that a test sees what ran and how often.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cars.config import setting
from cars.errors import DataError
from cars.jobs import run_job, run_worker
from cars.progress import Progress
from cars.workspace import Workspace, write_text

COMMAND = (sys.executable, str(Path(__file__).resolve()))


@dataclass(frozen=True)
class StepsSettings:
    """Write `steps` marks, one every `pause` seconds, skipping those that exist."""

    steps: int = setting(5, "How many marks.", minimum=1)
    pause: float = setting(0.0, "Seconds before each mark.")
    name: str = setting("steps", "The folder of the marks.")


def steps(workspace: Workspace, settings: StepsSettings, progress: Progress) -> dict[str, Any]:
    made = 0
    with open(workspace.folder(settings.name) / "starts", "a", encoding="utf-8") as starts:
        starts.write(f"{os.getpid()}\n")
    for n in range(settings.steps):
        progress(n, settings.steps, "marking")
        mark = workspace.path / settings.name / f"{n}.mark"
        if mark.exists():
            continue
        time.sleep(settings.pause)
        write_text(mark, str(os.getpid()))
        made += 1
    return {"made": made}


@dataclass(frozen=True)
class DieSettings:
    """Kill the own process on the first `times` starts."""

    times: int = setting(1, "How often.")


def die(workspace: Workspace, settings: DieSettings, progress: Progress) -> dict[str, Any]:
    count = workspace.path / "deaths"
    deaths = len(count.read_text()) if count.exists() else 0
    if deaths < settings.times:
        write_text(count, "x" * (deaths + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return {"deaths": deaths}


@dataclass(frozen=True)
class FailSettings:
    """Fail in one of several ways."""

    how: str = setting("data", "How.", choices=("data", "fault", "exit"))


def fail(workspace: Workspace, settings: FailSettings, progress: Progress) -> dict[str, Any]:
    patient = f"p{10_000_032}"  # the value is only in the message, not in this line
    if settings.how == "data":
        raise DataError(f"Row 7 of patient {patient} has sex X.", "Use F or M.")
    if settings.how == "exit":
        os._exit(3)
    return {"value": {}[patient]}


@dataclass(frozen=True)
class StubbornSettings:
    """Ignore every request to stop, with a helper process beside."""

    seconds: float = setting(60.0, "How long.")


def stubborn(workspace: Workspace, settings: StubbornSettings, progress: Progress) -> dict[str, Any]:
    helper = subprocess.Popen(["sleep", str(settings.seconds)])
    write_text(workspace.path / "helper", str(helper.pid))
    time.sleep(settings.seconds)
    return {}


class ToyVerb:
    def __init__(self, function: Any, settings: type) -> None:
        self.pair = (function, settings)

    def load(self) -> tuple[Any, type]:
        return self.pair


VERBS = {
    "steps": ToyVerb(steps, StepsSettings),
    "die": ToyVerb(die, DieSettings),
    "fail": ToyVerb(fail, FailSettings),
    "stubborn": ToyVerb(stubborn, StubbornSettings),
}

if __name__ == "__main__":
    place = Workspace.open(sys.argv[sys.argv.index("--workspace") + 1])
    if sys.argv[1] == "worker":
        run_worker(place, COMMAND, grace=1.0)
    else:
        sys.exit(0 if run_job(place, sys.argv[2], VERBS) else 1)
