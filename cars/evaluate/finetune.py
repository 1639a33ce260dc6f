"""The verb `finetune`: one unit per backbone × arm × seed, each trained for the same number of optimiser steps.

A unit's key is the hash of everything it learns from: backbone, starting weights, seed, recipe, and the training and
validate films with their labels. Test films and labels are not in it, so no training artefact can depend on them. A
unit that exists is not trained again, in whichever run it was made.

    runs/<run>/run.json                 settings, and when the run was last completed
    runs/<run>/<unit>/config.json       what the unit learned from
    runs/<run>/<unit>/checkpoint.pt     while it trains
    runs/<run>/<unit>/log.json, weights.safetensors, result.json     when it is done; result.json is written last
    tables units (one part a run and unit) and predictions (one part a unit, validate and test films)
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .. import schema, torchbox
from ..backbones import BACKBONES
from ..config import as_dict
from ..errors import SettingError, WorkspaceError
from ..filmcache import FilmCache, film_cache
from ..progress import Progress, part_of, silent
from ..provenance import code_version, digest, file_digest
from ..workspace import Workspace, atomic_write, write_json
from . import calibration, scores, training
from .arms import Cases, of_split, read_edits, read_films, training_cases
from .settings import ARMS, FinetuneSettings, ReportSettings

#: Settings that do not change what one unit becomes.
_NOT_IN_KEY = ("backbones", "arms", "seeds", "weights", "device")


@dataclass(frozen=True)
class Unit:
    """One training: its key and what it learns from. weights: the revision of the weights that it starts from."""

    key: str
    backbone: str
    weights: str
    arm: str
    seed: int
    training: Cases


def finetune(workspace: Workspace, settings: FinetuneSettings, progress: Progress = silent) -> dict[str, Any]:
    """Train every unit that is not there yet, and predict the validate and test films with each.

    Returns: run, units (keys), trained (units trained now), films and patients per split and arm, undecodable, and
    backbones: backbone → arm → metric → {value, low, high, n} on the test patients (macro, uncalibrated).

    Raises: SettingError for an unknown backbone or arm; WorkspaceError without films, or for an arm that needs accepted
        edits where there are none.
    """
    backbones, arms = _names(settings)
    films, edits = read_films(workspace, settings.views), read_edits(workspace, settings.views)
    policy = (settings.uncertain, settings.not_mentioned)
    sets = {arm: training_cases(arm, films, edits, workspace, *policy) for arm in arms}
    validation, test = (of_split(films, split, *policy) for split in ("validate", "test"))

    paths: dict[str, str] = {}
    for cases in (*sets.values(), validation, test):
        paths |= dict(zip(cases.rows["film_id"], cases.rows["path"]))
    cache = film_cache(workspace, settings.size, progress=part_of(progress, 0.0, 0.1), paths=paths)
    lost = set(cache.failed)
    sets = {arm: cases.without(lost) for arm, cases in sets.items()}
    validation, test = validation.without(lost), test.without(lost)
    for name, cases in {**sets, "validate": validation, "test": test}.items():
        if not len(cases):
            raise WorkspaceError(f"No film of {name} can be decoded.", "Look at the quarantine on the Data page.")

    units = [
        _unit(settings, backbone, arm, seed, sets[arm], validation)
        for backbone in backbones
        for arm in arms
        for seed in range(settings.seeds)
    ]
    run = digest([unit.key for unit in units])
    trained = 0
    for n, unit in enumerate(units):
        watch = part_of(progress, 0.1 + 0.88 * n / len(units), 0.1 + 0.88 * (n + 1) / len(units))
        finished = _finished(workspace, unit.key)
        if finished is None:
            finished = workspace.path / "runs" / run / unit.key
            _train(finished, unit, validation, cache, settings, _named(watch, unit))
            trained += 1
        temperature = _predict(workspace, finished, unit, validation, test, cache, settings)
        workspace.write_part("units", f"{run}-{unit.key}", _row(workspace, run, finished, unit, temperature))
    write_json(
        workspace.path / "runs" / run / "run.json",
        {"settings": as_dict(settings), "code_version": code_version(), "completed": time.time(), "units": len(units)},
    )
    scored, _ = scores.score(workspace, ReportSettings(run=run), part_of(progress, 0.98, 1.0))
    counted = {**{f"train {arm}": cases for arm, cases in sets.items()}, "validate": validation, "test": test}
    return {
        "run": run,
        "units": [unit.key for unit in units],
        "trained": trained,
        "sets": {name: _counts(cases) for name, cases in counted.items()},
        "undecodable": len(lost),
        "backbones": scores.nested(scored),
    }


def _names(settings: FinetuneSettings) -> tuple[list[str], list[str]]:
    """The backbones and arms asked for, each once, in the order given. Raises: SettingError for an unknown one."""
    backbones, arms = (
        list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        for text in (settings.backbones, settings.arms)
    )
    for name, values in (("backbones", backbones), ("arms", arms)):
        if not values:
            raise SettingError(f"{name} is empty.", f"Name at least one of the {name}, separated by commas.")
    for backbone in backbones:
        BACKBONES.get(backbone)
    for arm in arms:
        if arm not in ARMS:
            raise SettingError(f"There is no arm called {arm!r}.", f"The arms are: {', '.join(ARMS)}.")
    return backbones, arms


def _unit(settings: FinetuneSettings, backbone: str, arm: str, seed: int, cases: Cases, validation: Cases) -> Unit:
    recipe = {name: value for name, value in as_dict(settings).items() if name not in _NOT_IN_KEY}
    start = BACKBONES.get(backbone)(weights=settings.weights, seed=seed).revision
    learned_from = {"backbone": backbone, "weights": start, "seed": seed, "recipe": recipe}
    return Unit(digest(learned_from, cases.key, validation.key), backbone, start, arm, seed, cases)


def _named(progress: Progress, unit: Unit) -> Progress:
    """The progress with the unit's name before each message."""

    def named(done: int, total: int, message: str = "") -> None:
        progress(done, total, f"{unit.backbone}, {unit.arm}, seed {unit.seed}: {message}")

    return named


def _finished(workspace: Workspace, key: str) -> Path | None:
    """The folder of a unit that is done, in whichever run; None when there is none."""
    return next((path.parent for path in sorted(workspace.path.glob(f"runs/*/{key}/result.json"))), None)


def _model(unit: Unit, settings: FinetuneSettings) -> Any:
    backbone = BACKBONES.get(unit.backbone)
    return backbone.build(len(schema.FINDINGS), weights=settings.weights, in_size=settings.size, seed=unit.seed)


def _train(
    folder: Path, unit: Unit, validation: Cases, cache: FilmCache, settings: FinetuneSettings, progress: Progress
) -> None:
    """Train one unit and write its files, result.json last."""
    torchbox.torch()
    from safetensors.torch import save

    config = {
        "unit": unit.key, "backbone": unit.backbone, "weights": unit.weights, "arm": unit.arm, "seed": unit.seed,
        "in_size": settings.size, "findings": list(schema.FINDINGS), "settings": as_dict(settings),
        "training": _counts(unit.training), "validate": _counts(validation), "code_version": code_version(),
    }  # fmt: skip
    write_json(folder / "config.json", config)
    device = torchbox.device(settings.device)
    model = _model(unit, settings)
    result = training.train(
        model, folder, unit.training, validation, cache.images, settings, unit.seed, device, progress
    )
    write_json(folder / "log.json", result.pop("log"))
    with atomic_write(folder / "weights.safetensors") as stream:
        stream.write(save({name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}))
    digest_of_weights = file_digest(folder / "weights.safetensors")
    write_json(folder / "result.json", {**result, "weights_sha256": digest_of_weights, "device": device})
    (folder / training.CHECKPOINT).unlink(missing_ok=True)


def _predict(
    workspace: Workspace,
    folder: Path,
    unit: Unit,
    validation: Cases,
    test: Cases,
    cache: FilmCache,
    settings: FinetuneSettings,
) -> float:
    """Write the unit's predictions, unless they are there for just these films. Returns: its temperature."""
    rows = pd.concat([validation.rows.assign(split="validate"), test.rows.assign(split="test")], ignore_index=True)
    part = workspace.part_path("predictions", unit.key)
    if (
        not part.exists()
        or pd.read_parquet(part, columns=["dicom_id"])["dicom_id"].tolist() != rows["film_id"].tolist()
    ):
        torchbox.torch()
        from safetensors.torch import load_file

        device = torchbox.device(settings.device)
        model = _model(unit, settings).to(device)
        model.load_state_dict(load_file(folder / "weights.safetensors"))
        ids = rows["film_id"].tolist()
        logits = training.predict(model, ids, cache.images, settings.batch, device)
        frame = rows.rename(columns={"film_id": "dicom_id"})[["dicom_id", "subject_id", "split"]]
        frame.insert(0, "unit", unit.key)
        probabilities = pd.DataFrame(calibration.sigmoid(logits), columns=scores.PROBABILITIES)
        workspace.write_part("predictions", unit.key, pd.concat([frame, probabilities], axis=1))
    kept = pd.read_parquet(part)
    prob = kept.loc[kept["split"] == "validate", scores.PROBABILITIES].to_numpy()
    learned = [count > 0 for count in unit.training.positives().values()]
    return calibration.fit_temperature(calibration.to_logits(prob), validation.y, validation.known & learned)


def _counts(cases: Cases) -> dict[str, Any]:
    """Films, patients, synthetic films, and positives by finding."""
    rows = cases.rows
    return {
        "films": len(rows),
        "patients": int(rows["subject_id"].nunique()),
        "synthetic": int((rows["origin"] == "synthetic").sum()),
        "positives": cases.positives(),
    }


def _row(workspace: Workspace, run: str, folder: Path, unit: Unit, temperature: float) -> pd.DataFrame:
    """The unit's row of the table `units`."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    counts = _counts(unit.training)
    row = {
        "run": run,
        "unit": unit.key,
        "backbone": unit.backbone,
        "weights": unit.weights,
        "arm": unit.arm,
        "seed": unit.seed,
        "train_films": counts["films"],
        "train_patients": counts["patients"],
        "train_synthetic": counts["synthetic"],
        "train_positives": json.dumps(counts["positives"]),
        "best_step": result["best_step"],
        "validation_auprc": result["validation_auprc"],
        "validation_loss": result["validation_loss"],
        "temperature": temperature,
        "weights_sha256": result["weights_sha256"],
        "path": str(folder.relative_to(workspace.path)),
    }
    return pd.DataFrame([row])
