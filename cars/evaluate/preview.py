"""An experiment before it is begun: its units, what it cannot conclude, what an arm lacks, and how long it takes.

Nothing is trained and no film is decoded. Time is told from earlier units of the same workspace alone; where there are
none that are like it, none is told.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pandas as pd

from ..errors import WorkspaceError
from ..workspace import Workspace
from . import experiment
from .arms import TrainingSets, read_edits, read_label_prompted
from .grid import in_words
from .settings import ARMS, FinetuneSettings, cannot_conclude


@dataclass(frozen=True)
class Pace:
    """How fast earlier units of a backbone trained. rate: films a second of the whole machine, the median over units.
    units: how many tell it. workers: how many units were made at once then."""

    rate: float
    units: int
    workers: tuple[int, ...]


@dataclass(frozen=True)
class Preview:
    """An experiment before it is begun.

    lacking: arm → what it lacks in this workspace and what to do about it. pace: of the backbones that an earlier unit
    tells it of.
    """

    backbones: list[str]
    arms: list[str]
    settings: FinetuneSettings
    lacking: dict[str, str]
    pace: dict[str, Pace]

    @property
    def units(self) -> int:
        """Trainings in the grid; those that exist already are counted too."""
        return len(self.backbones) * len(self.arms) * self.settings.seeds

    @property
    def cannot_conclude(self) -> list[str]:
        """What its figures will not be able to say."""
        return cannot_conclude(self.arms, self.settings.seeds)

    @property
    def seconds(self) -> float | None:
        """The training steps of the backbones whose pace is known; None where none is."""
        films = len(self.arms) * self.settings.seeds * self.settings.steps * self.settings.batch  # of one, at most
        return sum(films / pace.rate for pace in self.pace.values()) if self.pace else None

    def lacks(self) -> list[str]:
        """What the arms lack, in sentences; arms that lack the same in one."""
        alike: dict[str, list[str]] = {}
        for arm, text in self.lacking.items():
            alike.setdefault(text.replace(f"{arm!r}", ""), []).append(arm)
        rest = {arms[0]: arms[1:] for arms in alike.values()}
        return [
            self.lacking[arm] + (f" The same is true of {', '.join(others)}." if others else "")
            for arm, others in rest.items()
        ]

    def size(self) -> str:
        """How many units there will be, in a sentence."""
        names = (("backbone", len(self.backbones)), ("arm", len(self.arms)), ("seed", self.settings.seeds))
        product = " × ".join(f"{n:,} {name}{'' if n == 1 else 's'}" for name, n in names)
        return f"{product}: {self.units:,} {'unit' if self.units == 1 else 'units'}, each a training of its own."

    def time(self) -> str:
        """How long they take, in a sentence or two, or why that is not known."""
        if self.seconds is None:
            return f"No earlier unit of these backbones at {self.settings.size} pixels tells how long that takes."
        unknown = [name for name in self.backbones if name not in self.pace]
        of = f" of {', '.join(self.pace)}" if unknown else ""
        rest = f" Nothing tells the pace of {', '.join(unknown)} yet." if unknown else ""
        workers = sorted({n for pace in self.pace.values() for n in pace.workers})
        at_once = f", made {' or '.join(map(str, workers))} at once" if workers != [1] else ""
        units = sum(pace.units for pace in self.pace.values())
        return (
            f"Training{of} takes about {in_words(self.seconds)} at the pace of {units:,} earlier "
            f"unit{'' if units == 1 else 's'} at {self.settings.size} pixels{at_once}; checks and predictions come on "
            f"top.{rest}"
        )


def preview(settings: FinetuneSettings, lack: dict[str, str], paces: dict[str, Pace]) -> Preview:
    """What `finetune` would make of these settings.

    Args:
        lack: of `lacking`. paces: of `paces_of`, for the size in the settings.

    Raises: SettingError as `finetune` does.
    """
    backbones, arms = experiment.chosen(settings)
    return Preview(
        backbones, arms, settings, {arm: lack[arm] for arm in arms if arm in lack},
        {name: paces[name] for name in backbones if name in paces},
    )  # fmt: skip


def lacking(workspace: Workspace, settings: FinetuneSettings) -> dict[str, str]:
    """Arm → what `finetune` would say of it where it has no edits to learn from. The films are not looked at."""
    edits = read_edits(workspace, settings.views)
    made = read_label_prompted(workspace, settings.views, settings.label_prompted, edits)
    sets = TrainingSets(workspace, pd.DataFrame(), edits, made, settings)
    found = {}
    for arm in ARMS:
        if arm not in ("real", "real-equal-steps"):
            try:
                sets.edits_of(arm)
            except WorkspaceError as error:
                found[arm] = f"{error.message} {error.hint}"
    return found


def paces_of(workspace: Workspace, size: int) -> dict[str, Pace]:
    """Backbone → the pace of its earlier units at that size.

    A unit's films a second, times the units that were made beside it (they shared the machine), is the pace of the
    machine. Units whose pace was not written down say nothing.
    """
    if not workspace.has("units"):
        return {}
    units = workspace.read("units")
    if not {"size", "films_per_second"} <= set(units.columns):  # a workspace of an earlier version
        return {}
    # a unit that two runs have is one unit; it was made in the run that knows its pace
    units = units[units["size"] == size].dropna(subset=["films_per_second"]).drop_duplicates("unit")
    found = {}
    for name, part in units.groupby("backbone"):
        workers = [_workers(workspace, run) for run in part["run"]]
        rate = float((part["films_per_second"] * workers).median())
        found[str(name)] = Pace(rate, len(part), tuple(sorted(set(workers))))
    return found


def _workers(workspace: Workspace, run: str) -> int:
    """Units that a run made at once; 1 where it does not say."""
    path = workspace.path / "runs" / run / "grid.json"
    if not path.exists():
        return 1
    plan = json.loads(path.read_text(encoding="utf-8"))
    return min(int(plan.get("workers", 1)), max(len(plan["units"]), 1))
