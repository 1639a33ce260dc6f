"""The verb train-generator: a judge, then the editor, both on this workspace's train patients.

models/generator/<key>.training/ holds checkpoint, losses.csv and samples.png while it runs; the finished editor lies in
models/generator/<key>/, and CURRENT names it. <key> is the hash of films and settings, so running it again goes on, or
answers at once.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..config import as_dict
from ..errors import WorkspaceError
from ..generators import EditRequest
from ..imaging import save_png
from ..nets import packaged
from ..progress import Progress, part_of, silent
from ..provenance import digest, note
from ..schema import FINDINGS, PRESENT
from ..workspace import Workspace, write_json, write_text
from .data import SHAPE_CHANGING, EditorData, workspace_data
from .editing import local_vectors
from .judge import train_judge_on_workspace
from .models import current, make_current, workspace_judge, workspace_segmenter
from .roi import roi_for
from .settings import TrainGeneratorSettings
from .training import Budget, Trainer

SAMPLE_SECONDS = 300.0
#: Findings of the sample grid's columns.
SAMPLED = ("Pneumothorax", "Pleural Effusion", "Cardiomegaly", "Edema", "Lung Lesion")

CARD = """# Editor of this workspace

Trained by `cars train-generator` on {films} frontal films of {patients} train patients of the data set "{dataset}";
{untrusted} films were left out because their outlines are not trusted, {undecodable} could not be decoded. Start:
{start}. {steps} optimiser steps of {batch} films in {minutes:.1f} minutes, seed {seed}; code {code}.

These weights derive from those patients' films and stay under the data set's terms. Not for diagnosis.
"""


def train_generator(
    workspace: Workspace, settings: TrainGeneratorSettings, progress: Progress = silent
) -> dict[str, Any]:
    """Train judge and editor, and let the workspace use them.

    Returns: {"generator", "judge" (keys), "films", "patients", "untrusted", "undecodable", "steps", "minutes", "loss"
    (mean of the last logged steps), "judge_auroc": {finding: AUROC on validation patients}}.
    Raises: WorkspaceError without films, DataError when a patient crosses splits, ResourceError when memory or disk is
    too small.
    """
    from ..nets.concept_unet import ConceptUNet, load, save, torch
    from ..torchbox import device as choose_device

    device = choose_device(settings.device)
    judge_key = _judge(workspace, settings, device, part_of(progress, 0.0, 0.2))
    judge = workspace_judge(workspace, device=device)
    data, counts = workspace_data(
        workspace, settings.size, workspace_segmenter(settings.segmenter, device), judge, settings.films, settings.seed,
        part_of(progress, 0.2, 0.3),
    )  # fmt: skip
    segmenter = settings.segmenter if isinstance(settings.segmenter, str) else type(settings.segmenter).__name__
    asked = {**as_dict(settings), "segmenter": segmenter, "device": ""}
    key = digest("editor", asked, judge.revision, sorted(set(data.subject_id.tolist())), counts)
    root = workspace.folder("models", "generator")
    folder, running = root / key, root / f"{key}.training"
    if not (folder / "config.json").is_file():
        torch.manual_seed(settings.seed)
        net, start = _start(settings, ConceptUNet, load)
        trainer = Trainer(net, data, settings.batch, settings.rate, settings.seed, device)
        checkpoint = running / "checkpoint.pt"
        if checkpoint.exists():
            trainer.restore(checkpoint)
        budget = Budget(settings.steps, None if settings.steps else 60 * settings.minutes)
        trainer.run(budget, checkpoint, part_of(progress, 0.3, 1.0), _Log(running, data))
        made = note("train-generator", asked, {"judge": judge.revision, "films": digest(counts)})
        films = workspace.read("films", ["dataset"])
        card = CARD.format(
            **counts, dataset=", ".join(sorted(films["dataset"].dropna().unique())), start=start, steps=trainer.step,
            batch=settings.batch, minutes=trainer.seconds / 60, seed=settings.seed, code=made["code_version"],
        )  # fmt: skip
        write_json(
            folder / "training.json",
            {**counts, "steps": trainer.step, "minutes": trainer.seconds / 60, "losses": trainer.losses},
        )
        for name in ("samples.png", "losses.csv"):
            if (running / name).exists():
                shutil.copyfile(running / name, folder / name)
        save(trainer.ema, folder, card, provenance=made)
        shutil.rmtree(running, ignore_errors=True)
    make_current(workspace, "generator", key)
    told = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    losses = told.pop("losses")
    progress(1, 1, "editor and judge are trained")
    return {
        "generator": key,
        "judge": judge_key,
        **told,
        "loss": losses[-1][1] if losses else None,
        "judge_auroc": judge.auroc,
    }


def _judge(workspace: Workspace, settings: TrainGeneratorSettings, device: str, progress: Progress) -> str:
    """Train the workspace's judge, or keep what it has. Returns its key, or "packaged"."""
    if settings.judge_minutes > 0:
        folder = train_judge_on_workspace(
            workspace, arch=settings.judge_arch, minutes=settings.judge_minutes, seed=settings.seed,
            limit=settings.films, device=device, progress=progress,
        )  # fmt: skip
        make_current(workspace, "judge", folder.name)
    own = current(workspace, "judge")
    return own.name if own else "packaged"


def _start(settings: TrainGeneratorSettings, fresh: Any, load: Any) -> tuple[Any, str]:
    """The network to start from, and what to call it. Raises: WorkspaceError when its size is another."""
    if settings.start == "scratch":
        return fresh(settings.size), "random weights"
    folder = packaged("editor") if settings.start == "packaged" else Path(settings.start)
    net, _ = load(folder)
    if net.size != settings.size:
        raise WorkspaceError(
            f"The editor in {folder} works at {net.size} pixels, not {settings.size}.",
            f"Use --size {net.size}, or --start scratch.",
        )
    return net.train(), "the packaged weights" if settings.start == "packaged" else str(folder)


class _Log:
    """Called at each checkpoint: losses.csv, and every five minutes a grid of sample edits."""

    def __init__(self, folder: Path, data: EditorData) -> None:
        self.folder, self.data = folder, data
        self.last = -SAMPLE_SECONDS

    def __call__(self, trainer: Trainer) -> None:
        lines = "".join(f"{step},{loss:.6f}\n" for step, loss in trainer.losses)
        write_text(self.folder / "losses.csv", "step,loss\n" + lines)
        if time.monotonic() - self.last >= SAMPLE_SECONDS:
            save_png(self.folder / "samples.png", sample_grid(trainer.ema, self.data, trainer.device))
            self.last = time.monotonic()


def sample_grid(net: Any, data: EditorData, device: str = "cpu", films: int = 4, seed: int = 0) -> np.ndarray:
    """Edits of a few training films by inpainting, as one picture: uint8 (films · S, (1 + findings) · S).

    One row a film: the source, then each finding of SAMPLED inserted, or deleted where the film has it.
    """
    from ..generators.cars_unet import CarsGenerator

    generator = CarsGenerator()
    generator.net, generator.size, generator.device = net, data.size, device
    outlined = np.flatnonzero(np.all(data.masks.any(axis=(2, 3)), axis=1))
    rows = np.random.default_rng(seed).permutation(outlined)[:films]
    requests = []
    for row in rows:
        labels = dict(zip(FINDINGS, (int(v) for v in data.vectors[row])))
        for finding in SAMPLED:
            direction = "delete" if labels[finding] == PRESENT else "insert"
            rng = np.random.default_rng([seed, int(row)])
            before, after = local_vectors(labels, {finding: direction})
            requests.append(
                EditRequest(
                    data.images[row], roi_for(finding, direction, data.masks[row], rng), data.masks[row], before, after,
                    str(data.view[row]), str(data.sex[row]), float(data.age[row]), seed, "inpaint",
                    hide_masks=finding in SHAPE_CHANGING,
                )
            )  # fmt: skip
    edits = [np.rint(r.edited).astype(np.uint8) for r in generator.edit(requests)] if requests else []
    lines = []
    for n, row in enumerate(rows):
        lines.append(np.concatenate([data.images[row], *edits[n * len(SAMPLED) : (n + 1) * len(SAMPLED)]], axis=1))
    return np.concatenate(lines) if lines else np.zeros((data.size, data.size), np.uint8)
