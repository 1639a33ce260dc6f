"""The verb `finetune`: a grid of units, one per backbone × arm × seed.

A unit's key is the hash of its arm's name and of everything it learns from: backbone, starting weights, seed, recipe,
steps, and the training and validate films with their labels. Test films and labels are not in it, so no training
artefact can depend on them. A unit that exists is not trained again, in whichever run it was made. Files: `unit.py`
and `experiment.py`; tables: units (one part a run and unit), predictions (one part a unit, validate and test films),
experiments (one part a run).
"""

from __future__ import annotations

from typing import Any

from ..backbones import BACKBONES
from ..errors import WorkspaceError
from ..filmcache import film_cache
from ..progress import Progress, part_of, silent
from ..provenance import digest
from ..workspace import Workspace
from . import experiment, scores
from . import unit as units_module
from .arms import Cases, Phase, TrainingSets, of_split
from .grid import run_units
from .settings import FinetuneSettings, ReportSettings, cannot_conclude, missing_controls
from .unit import Context, Unit


def finetune(workspace: Workspace, settings: FinetuneSettings, progress: Progress = silent) -> dict[str, Any]:
    """Train every unit that is not there yet, and predict the validate and test films with each.

    Returns: run, folder, units (keys), trained (units trained now), sets (films, patients and steps per split and arm),
    undecodable, missing_controls and cannot_conclude (what the run's figures cannot say), and backbones: backbone → arm
    → metric → {value, low, high, n} on the test patients (macro, uncalibrated).

    Raises: SettingError for an unknown backbone or arm; WorkspaceError without films, or for an arm that needs edits
        where there are none.
    """
    backbones, arms = experiment.chosen(settings)
    starts = experiment.starts(settings, backbones)
    context = _context(workspace, settings, arms, part_of(progress, 0.0, 0.05))
    units = [
        _unit(context, backbone, starts[backbone], arm, seed)
        for seed in range(settings.seeds)  # a grid that is stopped early has whole comparisons, of fewer seeds
        for backbone in backbones
        for arm in arms
    ]
    run = digest(sorted(unit.key for unit in units))
    context = _of_run(context, run)
    listed = [{"unit": u.key, "backbone": u.backbone, "arm": u.arm, "seed": u.seed, "steps": u.steps} for u in units]
    folder = experiment.begin(workspace, run, settings, listed)
    trained = sum(not context.trained(unit) for unit in units)
    for unit in run_units(context, units, settings.workers, part_of(progress, 0.05, 0.98)):
        workspace.write_part("units", f"{run}-{unit.key}", units_module.row(context, unit))
    experiment.complete(workspace, run, settings, backbones, arms, len(units))
    scored, _ = scores.score(workspace, ReportSettings(run=run), part_of(progress, 0.98, 1.0), scores.BRIEF)
    counted = {f"train {arm}": context.sets[arm] for arm in arms}
    counted |= {"validate": (Phase(context.validation, 0),), "test": (Phase(context.test, 0),)}
    return {
        "run": run,
        "folder": str(folder.relative_to(workspace.path)),
        "units": [unit.key for unit in units],
        "trained": trained,
        "sets": {name: experiment.counts(phases) for name, phases in counted.items()},
        "undecodable": len(context.cache.failed),
        "missing_controls": missing_controls(arms),
        "cannot_conclude": cannot_conclude(arms, settings.seeds),
        "backbones": scores.nested(scored),
    }


def _context(workspace: Workspace, settings: FinetuneSettings, arms: list[str], progress: Progress) -> Context:
    """What all units share: the arms' training sets, the validate and test films, all decoded at the training size."""
    sets = TrainingSets.read(workspace, settings)
    policy = (settings.uncertain, settings.not_mentioned)
    validation, test = (of_split(sets.films, split, *policy) for split in ("validate", "test"))
    paths: dict[str, str] = {}
    for cases in (*(cases for arm in arms for cases in sets.of(arm)), validation, test):
        paths |= dict(zip(cases.rows["film_id"], cases.rows["path"]))
    cache = film_cache(workspace, settings.size, progress=progress, paths=paths)
    lost = set(cache.failed)
    phases = {arm: sets.phases(arm, lost) for arm in arms}
    validation, test = validation.without(lost), test.without(lost)
    named: dict[str, list[Cases]] = {arm: [phase.cases for phase in found] for arm, found in phases.items()}
    for name, found in {**named, "validate": [validation], "test": [test]}.items():
        if not all(len(cases) for cases in found):
            raise WorkspaceError(f"No film of {name} can be decoded.", "Look at the quarantine on the Data page.")
    return Context(workspace.path, "", settings, phases, validation, test, cache)


def _of_run(context: Context, run: str) -> Context:
    return Context(**{**vars(context), "run": run})


def _unit(context: Context, backbone: str, start: str | None, arm: str, seed: int) -> Unit:
    revision = BACKBONES.get(backbone)(weights=start, seed=seed).revision
    recipe = experiment.recipe(context.settings)
    # the arm by name too: with few edits or steps two arms can be the same training, and are two units all the same
    learned_from = {"backbone": backbone, "weights": revision, "arm": arm, "seed": seed, "recipe": recipe}
    phases = [(phase.cases.key, phase.steps) for phase in context.sets[arm]]
    key = digest(learned_from, phases, context.validation.key)
    return Unit(key, backbone, start, revision, arm, seed, sum(phase.steps for phase in context.sets[arm]))
