"""An experiment: one config file and one folder. What is asked for, what it learns from, and what it cannot say.

runs/<run>/experiment.toml    the settings; `cars finetune --config` reads it again
runs/<run>/grid.json          its units: backbone, arm, seed, steps
runs/<run>/run.json           settings, and when the run was last completed
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd

from ..backbones import BACKBONES
from ..config import as_dict
from ..errors import SettingError
from ..provenance import code_version, file_digest
from ..workspace import Workspace, atomic_write, write_json
from .arms import Phase
from .settings import ARMS, BACKBONE_GROUPS, SEVEN, FinetuneSettings, cannot_conclude, missing_controls

CONFIG = "experiment.toml"
#: Settings that say which units there are and how they are run, not what one becomes; and those that only the
#: training sets and steps of an arm follow from, which are in a unit's key themselves.
NOT_OF_A_UNIT = (
    "backbones", "arms", "seeds", "weights", "device", "workers", "threads", "name", "config", "steps", "pretrain",
    "label_prompted", "passes",
)  # fmt: skip


def _listed(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def chosen(settings: FinetuneSettings) -> tuple[list[str], list[str]]:
    """The backbones and arms asked for, each once, in the order given; groups are written out.

    Raises: SettingError for an unknown one, where none is named, or for a backbone that cannot be trained with dropout
        where that is asked for.
    """
    backbones = _listed(",".join(n for name in _listed(settings.backbones) for n in BACKBONE_GROUPS.get(name, (name,))))
    arms = _listed(",".join(n for name in _listed(settings.arms) for n in (SEVEN if name == "all" else (name,))))
    for name, values in (("backbones", backbones), ("arms", arms)):
        if not values:
            raise SettingError(f"{name} is empty.", f"Name at least one of the {name}, separated by commas.")
    for backbone in backbones:
        build = BACKBONES.get(backbone).build
        if settings.dropout and "dropout" not in inspect.signature(build).parameters:
            raise SettingError(
                f"dropout = {settings.dropout!r}: the backbone {backbone!r} has no dropout before its classifier.",
                "Set dropout to 0, or leave that backbone out.",
            )
    for arm in arms:
        if arm not in ARMS:
            raise SettingError(f"There is no arm called {arm!r}.", f"The arms are: {', '.join(ARMS)}.")
    return backbones, arms


def starts(settings: FinetuneSettings, backbones: list[str]) -> dict[str, str | None]:
    """Backbone → the weights that it starts from, None for its own.

    The setting `weights` is one file for all, or backbone=file pairs separated by commas.
    Raises: SettingError for a pair of a backbone that is not trained.
    """
    text = settings.weights
    if not text or "=" not in text or Path(text).exists():
        return dict.fromkeys(backbones, text)
    result: dict[str, str | None] = dict.fromkeys(backbones)
    for pair in _listed(text):
        name, mark, file = pair.partition("=")
        if not mark or name.strip() not in result:
            raise SettingError(
                f"weights has {pair!r}, and {name.strip()!r} is no backbone of this run.",
                f"Write backbone=file; the backbones are: {', '.join(backbones)}.",
            )
        result[name.strip()] = file.strip()
    return result


def recipe(settings: FinetuneSettings) -> dict[str, Any]:
    """What of the settings decides what any unit becomes.

    No dropout is left out, as if there were no such setting: units made before there was one keep their keys.
    """
    kept = {name: value for name, value in as_dict(settings).items() if name not in NOT_OF_A_UNIT}
    if not settings.dropout:
        del kept["dropout"]
    return kept


def as_toml(settings: FinetuneSettings) -> str:
    """The settings as a TOML file that `config` reads back to the same, with each one's sentence above it."""
    lines = ["# One experiment: cars finetune --config THIS_FILE --workspace WORKSPACE"]
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name != "config" and value is not None:
            # JSON's strings, numbers and booleans are TOML's too
            lines += ["", f"# {field.metadata['help']}", f"{field.name} = {json.dumps(value, ensure_ascii=False)}"]
    return "\n".join(lines) + "\n"


def begin(workspace: Workspace, run: str, settings: FinetuneSettings, units: list[dict[str, Any]]) -> Path:
    """Write the run's config file and the list of its units. Returns: its folder."""
    folder = workspace.path / "runs" / run
    with atomic_write(folder / CONFIG, "w") as stream:
        stream.write(as_toml(settings))
    write_json(folder / "grid.json", {"workers": settings.workers, "units": units})
    return folder


def complete(
    workspace: Workspace, run: str, settings: FinetuneSettings, backbones: list[str], arms: list[str], units: int
) -> dict[str, Any]:
    """Write run.json and the run's row of the table `experiments`; returns that row."""
    folder, now = workspace.path / "runs" / run, time.time()
    stored = {k: v for k, v in as_dict(settings).items() if k != "config"}
    row = {
        "run": run, "name": settings.name, "completed": now, "backbones": json.dumps(backbones),
        "arms": json.dumps(arms), "seeds": settings.seeds, "size": settings.size, "steps": settings.steps,
        "label_prompted": settings.label_prompted, "missing_controls": json.dumps(missing_controls(arms)),
        "cannot_conclude": json.dumps(cannot_conclude(arms, settings.seeds), ensure_ascii=False),
        "config_sha256": file_digest(folder / CONFIG), "code_version": code_version(),
    }  # fmt: skip
    workspace.write_part("experiments", run, pd.DataFrame([row]))
    write_json(
        folder / "run.json",
        {"name": settings.name, "settings": stored, "code_version": code_version(), "completed": now, "units": units},
    )
    return row


def counts(phases: tuple[Phase, ...]) -> dict[str, Any]:
    """Films, patients, synthetic films and positives by finding over an arm's phases, and its steps in each."""
    rows = pd.concat([phase.cases.rows for phase in phases], ignore_index=True)
    positives = [phase.cases.positives() for phase in phases]
    return {
        "films": len(rows),
        "patients": int(rows["subject_id"].nunique()),
        "synthetic": int((rows["origin"] == "synthetic").sum()),
        "positives": {finding: sum(p[finding] for p in positives) for finding in positives[0]},
        "steps": [phase.steps for phase in phases],
    }
