"""One unit of the grid: train it where it is not trained yet, predict with it, and choose its thresholds.

    runs/<run>/<unit>/config.json       what the unit learned from
    runs/<run>/<unit>/checkpoint.pt     while it trains
    runs/<run>/<unit>/log.json, weights.safetensors, result.json     when it is trained; result.json is written last
    runs/<run>/<unit>/calibration.json  temperature and thresholds, from the validate films
    runs/<run>/progress/<unit>.json     how far it is, and how fast; the only file that depends on the clock

Its predictions are one part of the table `predictions`, and with dropout one part of `passes`.

Nothing in the unit's own folder depends on the test films or on when and where it was made.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .. import schema, torchbox
from ..backbones import BACKBONES
from ..engines.local import default_workers
from ..errors import Cancelled
from ..filmcache import FilmCache
from ..jobs.run import explain
from ..progress import Progress
from ..provenance import code_version, file_digest
from ..workspace import Workspace, atomic_write, write_json
from . import calibration, passes, scores, thresholds, training
from .arms import Cases, Phase
from .experiment import counts, recipe
from .settings import FinetuneSettings

#: Least seconds between two writes of a unit's progress.
INTERVAL = 1.0


@dataclass(frozen=True)
class Unit:
    """One training: its key, what it starts from (`start`: a file or None, `weights`: its revision), and its steps."""

    key: str
    backbone: str
    start: str | None
    weights: str
    arm: str
    seed: int
    steps: int

    def __str__(self) -> str:
        return f"{self.backbone}, {self.arm}, seed {self.seed}"


@dataclass(frozen=True)
class Context:
    """What the units of a run share. sets: arm → its phases. Can be pickled, for other processes."""

    workspace: Path
    run: str
    settings: FinetuneSettings
    sets: dict[str, tuple[Phase, ...]]
    validation: Cases
    test: Cases
    cache: FilmCache

    def folder(self, unit: Unit) -> Path:
        """The unit's folder: where it was made or begun, in whichever run; else in this one."""
        for mark in ("result.json", training.CHECKPOINT):
            found = sorted(self.workspace.glob(f"runs/*/{unit.key}/{mark}"))
            if found:
                return found[0].parent
        return self.workspace / "runs" / self.run / unit.key

    def trained(self, unit: Unit) -> bool:
        """Whether the unit's training is done."""
        return (self.folder(unit) / "result.json").exists()

    def predicted(self, unit: Unit) -> bool:
        """Whether its predictions are there, for just the validate and test films of today."""
        part = Workspace(self.workspace).part_path("predictions", unit.key)
        if not part.exists() or not (self.folder(unit) / "calibration.json").exists():
            return False
        return pd.read_parquet(part, columns=["dicom_id"])["dicom_id"].tolist() == [
            *self.validation.ids, *self.test.ids,
        ]  # fmt: skip

    def passed(self, unit: Unit) -> bool:
        """Whether the passes with dropout are there: as many as asked for, and of just the test films of today."""
        if not self.settings.dropout:
            return True
        return passes.made(Workspace(self.workspace), unit.key) == (self.settings.passes, self.test.ids)

    def done(self, unit: Unit) -> bool:
        """Whether nothing of the unit is left to do."""
        return self.trained(unit) and self.predicted(unit) and self.passed(unit)

    def clock_file(self, unit: Unit) -> Path:
        """Where the unit's progress is written."""
        return self.workspace / "runs" / self.run / "progress" / f"{unit.key}.json"


class Clock:
    """Writes a unit's progress at most every second, and hands it on."""

    def __init__(self, context: Context, unit: Unit, watched_by: Progress | None = None) -> None:
        self.file = context.clock_file(unit)
        self.watched_by = watched_by
        self.began = time.monotonic()
        self.first: int | None = None
        self.last = 0
        self.written = 0.0

    def __call__(self, done: int, total: int, message: str = "") -> None:
        self.first = done if self.first is None else self.first
        self.last = done
        now = time.monotonic()
        if now - self.written >= INTERVAL:
            self.written = now
            self.write(done, total)
        if self.watched_by is not None:
            self.watched_by(done, total, message)

    def write(self, done: int, total: int, films_per_second: float | None = None, error: str | None = None) -> None:
        """The file: step, steps, the seconds that `stepped` steps took in this sitting, and what it failed of."""
        seconds = time.monotonic() - self.began
        write_json(
            self.file,
            {
                "step": done, "steps": total, "stepped": done - (self.first or 0), "seconds": seconds,
                "films_per_second": films_per_second, "error": error,
            },
        )  # fmt: skip


class Worker:
    """The actor: makes one unit after another, on a device and with threads of its own."""

    def __init__(self, context: Context, workers: int, watched_by: Progress | None = None) -> None:
        self.context = context
        self.workers = workers
        self.watched_by = watched_by

    def __call__(self, unit: Unit) -> str:
        """Train and predict as far as that is not done. Returns: the unit's key."""
        clock = Clock(self.context, unit, self.watched_by)
        try:
            self._make(unit, clock)
        except Cancelled:
            raise
        except Exception as error:  # said by the grid, for the one unit that it is about; the caller handles it
            clock.write(clock.last, unit.steps, error=" ".join(explain(error)))
            raise
        return unit.key

    def _make(self, unit: Unit, clock: Clock) -> None:
        context = self.context
        device = device_of(context.settings.device, process_number())
        folder = context.folder(unit)
        with _threads(context.settings.threads, self.workers, device):
            if not (folder / "result.json").exists():
                speed = _train(folder, unit, context, device, clock)
                clock.write(unit.steps, unit.steps, speed)
            if not (context.predicted(unit) and context.passed(unit)):
                _predict(folder, unit, context, device)


def process_number() -> int:
    """Which of a pool's processes this is, counted from 1; 0 in the process that was started first."""
    number = multiprocessing.current_process().name.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def device_of(wanted: str, number: int) -> str:
    """The device of a worker: of several GPUs each worker takes the next one, unless one is named."""
    device = torchbox.device(wanted)
    gpus = torchbox.torch().cuda.device_count() if device == "cuda" else 0
    return f"cuda:{number % gpus}" if gpus > 1 else device


@contextlib.contextmanager
def _threads(wanted: int, workers: int, device: str) -> Iterator[None]:
    """Processor threads of a unit, and the GPU that new tensors go to; threads as they were afterwards."""
    torch = torchbox.torch()
    before = torch.get_num_threads()
    if wanted or workers > 1:
        torch.set_num_threads(wanted or max(1, default_workers() // workers))
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def build(unit: Unit, size: int, dropout: float = 0.0) -> Any:
    """The unit's network before training. Raises: what `Backbone.build` raises."""
    backbone = BACKBONES.get(unit.backbone)
    options = {"dropout": dropout} if dropout else {}
    return backbone.build(len(schema.FINDINGS), weights=unit.start, in_size=size, seed=unit.seed, **options)


def _train(folder: Path, unit: Unit, context: Context, device: str, progress: Progress) -> float | None:
    """Train one unit and write its files, result.json last. Returns: films per second of the training steps."""
    torchbox.torch()
    from safetensors.torch import save

    settings, phases = context.settings, context.sets[unit.arm]
    config = {
        "unit": unit.key, "backbone": unit.backbone, "weights": unit.weights, "arm": unit.arm, "seed": unit.seed,
        "in_size": settings.size, "findings": list(schema.FINDINGS), "recipe": recipe(settings),
        "training": counts(phases), "validate": counts((Phase(context.validation, 0),)), "code_version": code_version(),
    }  # fmt: skip
    write_json(folder / "config.json", config)
    model = build(unit, settings.size, settings.dropout)
    trainer = training.Trainer(
        model, folder, phases, context.validation, context.cache.images, settings, unit.seed, device
    )
    result = trainer.run(progress)
    clock = result.pop("clock")
    write_json(folder / "log.json", result.pop("log"))
    with atomic_write(folder / "weights.safetensors") as stream:
        stream.write(save({name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}))
    digest_of_weights = file_digest(folder / "weights.safetensors")
    kind = device.partition(":")[0]
    write_json(folder / "result.json", {**result, "weights_sha256": digest_of_weights, "device": kind})
    (folder / training.CHECKPOINT).unlink(missing_ok=True)
    return clock["films"] / clock["seconds"] if clock["seconds"] else None


def load(folder: Path, unit: Unit, size: int, device: str) -> Any:
    """The unit's network as trained, on the device."""
    torchbox.torch()
    from safetensors.torch import load_file

    model = build(unit, size)
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    return model.to(device)


def _predict(folder: Path, unit: Unit, context: Context, device: str) -> None:
    """Write the unit's predictions of the validate and test films, its temperature and thresholds, then its passes.

    Each is made only where it is not there yet.
    """
    settings, validation = context.settings, context.validation
    new = not context.predicted(unit)
    rows = pd.concat(
        [validation.rows.assign(split="validate"), context.test.rows.assign(split="test")], ignore_index=True
    )
    rows = rows if new else rows[rows["split"] == "test"]
    model = load(folder, unit, settings.size, device)
    with passes.features_kept(model, settings.dropout) as features:
        logits = training.predict(model, rows["film_id"].tolist(), context.cache.images, settings.batch, device)
    frame = rows.rename(columns={"film_id": "dicom_id"})[["dicom_id", "subject_id", "split"]]
    frame.insert(0, "unit", unit.key)
    workspace = Workspace(context.workspace)
    if new:
        prob = calibration.sigmoid(logits)
        write_json(folder / "calibration.json", _calibrate(prob[: len(validation)], unit, context))
        probabilities = pd.DataFrame(prob, columns=scores.PROBABILITIES)
        workspace.write_part("predictions", unit.key, pd.concat([frame, probabilities], axis=1))
    if settings.dropout:
        temperature = _read(folder / "calibration.json")["temperature"]
        of_test = torchbox.torch().cat(features)[-len(context.test) :]
        found = passes.run(of_test, model.head, settings.dropout, settings.passes, unit.seed, temperature)
        passes.write(workspace, frame[frame["split"] == "test"], settings.passes, found)


def _calibrate(prob: Any, unit: Unit, context: Context) -> dict[str, Any]:
    """temperature, and thresholds of the probabilities after it; from the validate films (N, 14) alone."""
    learned = [count > 0 for count in counts(context.sets[unit.arm])["positives"].values()]
    known = context.validation.known & learned
    temperature = calibration.fit_temperature(calibration.to_logits(prob), context.validation.y, known)
    chosen = thresholds.choose(calibration.scaled(prob, temperature), context.validation.y, known)
    return {"temperature": temperature, "thresholds": chosen}


def row(context: Context, unit: Unit) -> pd.DataFrame:
    """The unit's row of the table `units`."""
    folder = context.folder(unit)
    result, fitted = (_read(folder / name) for name in ("result.json", "calibration.json"))
    count = counts(context.sets[unit.arm])
    values = {
        "run": context.run, "unit": unit.key, "backbone": unit.backbone, "weights": unit.weights, "arm": unit.arm,
        "seed": unit.seed, "size": context.settings.size, "steps": result["steps"],
        "train_films": count["films"], "train_patients": count["patients"], "train_synthetic": count["synthetic"],
        "train_positives": json.dumps(count["positives"]), "best_step": result["best_step"],
        "validation_auprc": result["validation_auprc"], "validation_loss": result["validation_loss"],
        "temperature": fitted["temperature"], "thresholds": json.dumps(fitted["thresholds"]),
        "films_per_second": _read(context.clock_file(unit)).get("films_per_second"),
        "weights_sha256": result["weights_sha256"], "path": str(folder.relative_to(context.workspace)),
    }  # fmt: skip
    return pd.DataFrame([values]).astype({"films_per_second": "float64"})


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
