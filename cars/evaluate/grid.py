"""The grid of units: which are to be made, on how many workers, how far they are and what is left."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ..engines.local import map_shards
from ..errors import WorkspaceError
from ..progress import Progress
from ..workspace import Workspace
from .training import CHECKPOINT
from .unit import INTERVAL, Context, Unit, Worker

#: What a unit of a grid can be.
STATES = ("waiting", "running", "failed", "done")


def run_units(context: Context, units: Sequence[Unit], workers: int, progress: Progress) -> Generator[Unit]:
    """Make the units that are not made yet, and hand out every unit as it is there.

    progress: of the whole grid, in optimiser steps, with the unit in hand and an estimate of what is left.
    Raises: what a unit raises; Cancelled when `progress` says so. What is finished stays, and a unit that was stopped
    goes on from its checkpoint.
    """
    todo = [unit for unit in units if not context.done(unit)]
    done = {unit.key for unit in units} - {unit.key for unit in todo}
    watch = Watch(context, units, done, min(workers, max(len(todo), 1)), progress)
    yield from (unit for unit in units if unit.key in done)
    if workers == 1 or len(todo) < 2:
        for unit in todo:
            Worker(context, 1, partial(watch.of, unit))(unit)
            watch.done.add(unit.key)
            yield unit
        return
    by_key = {unit.key: unit for unit in todo}
    for key in map_shards(partial(Worker, context, workers), todo, min(workers, len(todo)), watch=watch.all):
        watch.done.add(key)
        watch.all()
        yield by_key[key]


class Watch:
    """Says how far the grid is. done: the keys of finished units."""

    def __init__(
        self, context: Context, units: Sequence[Unit], done: set[str], workers: int, progress: Progress
    ) -> None:
        self.context = context
        self.units = units
        self.done = done
        self.workers = workers
        self.progress = progress
        self._left: float | None = None
        self._looked = (-1, -INTERVAL)  # units done, and when

    def of(self, unit: Unit, done: int, total: int, message: str = "") -> None:
        """The progress of one unit that is made in this process."""
        self._say(unit, {unit.key: done}, message)

    def all(self) -> None:
        """The progress of units that are made in other processes, from their files."""
        steps = {u.key: _clock(self.context.clock_file(u)).get("step", 0) for u in self.units if u.key not in self.done}
        running = [u for u in self.units if u.key not in self.done and steps[u.key]]
        unit = running[0] if running else None
        self._say(unit, steps, f"step {steps[unit.key]} of {unit.steps}" if unit else "starting workers")

    def _say(self, unit: Unit | None, steps: dict[str, int], message: str) -> None:
        total = sum(u.steps for u in self.units)
        made = sum(u.steps if u.key in self.done else min(steps.get(u.key, 0), u.steps) for u in self.units)
        if self._looked[0] != len(self.done) or time.monotonic() - self._looked[1] >= INTERVAL:
            clocks = {u: _clock(self.context.clock_file(u)) for u in self.units}
            self._left = seconds_left(
                [(u.backbone, clocks[u].get("stepped", 0), clocks[u].get("seconds", 0.0)) for u in self.units],
                [(u.backbone, u.steps - steps.get(u.key, 0)) for u in self.units if u.key not in self.done],
                self.workers,
            )
            self._looked = (len(self.done), time.monotonic())
        name = f" {unit}: {message}" if unit else f" {message}"
        rest = f", about {in_words(self._left)} left" if self._left is not None else ""
        self.progress(made, total, f"{len(self.done)} of {len(self.units)} units{rest};{name}")


def seconds_left(seen: Iterable[tuple[str, int, float]], todo: Sequence[tuple[str, int]], workers: int) -> float | None:
    """How long the rest takes: its steps at the pace of each backbone so far, of all where one was not seen yet.

    Args:
        seen: (backbone, steps, seconds that they took) of each unit. todo: (backbone, steps left) of each unit.

    Returns: seconds, shared by the workers; None where nothing has been seen.
    """
    steps: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    for backbone, stepped, took in seen:
        steps[backbone] += stepped
        seconds[backbone] += took if stepped else 0.0
    if not sum(steps.values()):
        return None
    overall = sum(seconds.values()) / sum(steps.values())
    pace = {name: seconds[name] / steps[name] for name in steps if steps[name]}
    return sum(left * pace.get(name, overall) for name, left in todo) / min(workers, max(len(todo), 1))


def in_words(seconds: float) -> str:
    """A length of time as people say it: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class Grid:
    """A run's grid as it stands.

    begun: when it was last begun or gone on with, seconds since 1970. units: see `grid_progress`. left: seconds that
    the rest takes at the pace so far, None where nothing was seen yet.
    """

    run: str
    begun: float
    workers: int
    units: pd.DataFrame
    left: float | None

    @property
    def finished(self) -> bool:
        """Whether every unit is done."""
        return bool((self.units["state"] == "done").all())

    def words(self, active: bool) -> str:
        """How far it is, in one or two sentences. active: somebody works on it now; else what is kept is said."""
        count = self.units["state"].value_counts()
        of = {state: int(count.get(state, 0)) for state in STATES}
        total = len(self.units)
        if self.finished:
            return f"All {total:,} units are done."
        failed = f", {of['failed']:,} failed" if of["failed"] else ""
        if active:
            left = f", about {in_words(self.left)} left" if self.left is not None else ""
            return (
                f"{of['done']:,} of {total:,} units done, {of['running']:,} training{failed}, "
                f"{of['waiting']:,} waiting{left}."
            )
        begun = self.units[self.units["state"].isin(["running", "failed"])]
        on, again = int(begun["checkpoint"].sum()), int((~begun["checkpoint"]).sum())
        parts = [f"{of['done']:,} of {total:,} units are done and kept{failed}."]
        parts += [f"{on:,} {'goes' if on == 1 else 'go'} on from the last check."] if on else []
        parts += [f"{again:,} had not reached a check and start{'s' if again == 1 else ''} again."] if again else []
        parts += [f"{of['waiting']:,} {'was' if of['waiting'] == 1 else 'were'} not begun."] if of["waiting"] else []
        return " ".join(parts)


def grid_of(workspace: Workspace, run: str | None = None) -> Grid:
    """The grid of a run (of the one begun last, where none is given).

    Raises: WorkspaceError where no run was begun, or none of that name.
    """
    lists = {path.parent.name: path for path in workspace.path.glob("runs/*/grid.json")}
    if not lists or (run is not None and run not in lists):
        raise WorkspaceError(
            f"There is no run {run!r}." if run else "No fine-tuning run was begun.", "Run `cars finetune` first."
        )
    path = lists[run] if run else max(lists.values(), key=lambda p: p.stat().st_mtime)
    plan = json.loads(path.read_text(encoding="utf-8"))
    done, checkpoints = (
        {p.parent.name for p in workspace.path.glob(f"runs/*/*/{name}")} for name in ("calibration.json", CHECKPOINT)
    )
    rows: list[dict[str, Any]] = []
    seen = []
    for unit in plan["units"]:
        clock = _clock(path.parent / "progress" / f"{unit['unit']}.json")
        made = unit["unit"] in done
        step = unit["steps"] if made else clock.get("step", 0)
        seen.append((unit["backbone"], clock.get("stepped", 0), clock.get("seconds", 0.0)))
        left = seconds_left(seen[-1:], [(unit["backbone"], unit["steps"] - step)], 1)
        state = "done" if made else "failed" if clock.get("error") else "running" if clock else "waiting"
        rows.append(
            {
                **unit, "state": state, "step": step, "seconds_left": 0.0 if made else left,
                "films_per_second": clock.get("films_per_second"), "error": None if made else clock.get("error"),
                "checkpoint": unit["unit"] in checkpoints,
            }
        )  # fmt: skip
    names = [
        "unit", "backbone", "arm", "seed", "state", "step", "steps", "seconds_left", "films_per_second", "error",
        "checkpoint",
    ]  # fmt: skip
    units = pd.DataFrame(rows, columns=names).astype({"seconds_left": "float64", "films_per_second": "float64"})
    rest = [(u["backbone"], u["steps"] - u["step"]) for u in rows if u["state"] != "done"]
    workers = int(plan.get("workers", 1))  # runs of earlier versions do not say
    return Grid(path.parent.name, path.stat().st_mtime, workers, units, seconds_left(seen, rest, workers))


def grid_progress(workspace: Workspace, run: str | None = None) -> pd.DataFrame:
    """How far each unit of a run is (of the one begun last, where none is given).

    Returns: unit backbone arm seed state (waiting, running, failed, done) step steps seconds_left (null where unknown,
    0 when done) films_per_second (null until it is trained) error (what a failed one failed of) checkpoint (whether it
    goes on from one). A unit that was stopped counts as running until it goes on.
    Raises: WorkspaceError where no run was begun, or none of that name.
    """
    return grid_of(workspace, run).units


def _clock(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
