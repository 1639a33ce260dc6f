"""The verb train-generator: a judge, then the editor, both on this workspace's train patients.

models/generator/<key>.training/ holds, while it runs, the checkpoint and what watching.py shows; from 256 px on also
vae/ and latents/. The finished editor lies in models/generator/<key>/, and CURRENT names it. <key> is the hash of films
and settings, so running it again goes on, or answers at once.

Under `torchrun` the first process prepares judge and films and writes every file; the others train along.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import as_dict
from ..errors import SettingError, WorkspaceError
from ..nets import packaged
from ..progress import Progress, part_of, silent
from ..provenance import digest, note
from ..workspace import Workspace, atomic_write, write_json
from .autoencoder import Films, latents_of, read_latents, revision, train_vae
from .data import SEGMENT_SIZE, EditorData, workspace_data
from .judge import train_judge_on_workspace
from .loop import Budget, machine
from .models import current, make_current, workspace_judge, workspace_segmenter
from .settings import TrainGeneratorSettings, vae_of
from .training import Trainer
from .training_card import card
from .watching import Watch, fixed_set

#: Settings that change how a run goes, not what it makes: another value goes on with the same run.
PASSING = ("device", "micro", "sample_minutes")
SHOWN = ("samples.png", "losses.png", "losses.csv", "flips.csv")


@dataclass
class _Run:
    """A run of the verb in one process. data: at most 128 px, where ROIs are drawn; counts: of `workspace_data`."""

    workspace: Workspace
    settings: TrainGeneratorSettings
    machine: Any
    progress: Progress
    key: str
    judge_key: str
    judge: Any
    data: EditorData
    counts: dict[str, int]

    @property
    def device(self) -> str:
        return str(self.machine.device)

    @property
    def folder(self) -> Path:
        """Where the finished editor lies."""
        return self.workspace.path / "models" / "generator" / self.key

    @property
    def running(self) -> Path:
        """Where the run keeps its own."""
        return self.folder.with_name(f"{self.key}.training")


def train_generator(
    workspace: Workspace, settings: TrainGeneratorSettings, progress: Progress = silent
) -> dict[str, Any]:
    """Train judge and editor, and let the workspace use them.

    Returns: {"generator", "judge" (keys), "films", "patients", "untrusted", "undecodable", "steps", "minutes", "loss"
    (mean of the last logged steps), "judge_flips" (direction → n, flips, sham_flips of the fixed films at the end),
    "judge_auroc": {finding: AUROC on validation patients}}; {} in a process that is not the first of several.
    Raises: SettingError for a size that no editor has, WorkspaceError without films, DataError when a patient crosses
    splits, ResourceError when memory or disk is too small.
    """
    from ..torchbox import device as choose_device

    check(settings)
    chip = machine(choose_device(settings.device))
    if not chip.is_main_process:
        progress = silent
    run = _prepared(workspace, settings, chip, progress)
    if not (run.folder / "config.json").is_file():
        _train(run)
    chip.wait_for_everyone()
    if not chip.is_main_process:
        return {}
    make_current(workspace, "generator", run.key)
    shutil.rmtree(run.running, ignore_errors=True)
    told = json.loads((run.folder / "training.json").read_text(encoding="utf-8"))
    losses = told.pop("losses")
    progress(1, 1, "editor and judge are trained")
    return {
        "generator": run.key,
        "judge": run.judge_key,
        **told,
        "loss": losses[-1][1] if losses else None,
        "judge_auroc": run.judge.auroc,
    }


def check(settings: TrainGeneratorSettings) -> None:
    """Raise SettingError for a size or a width that no editor has."""
    size, width = settings.size, settings.width
    if (size <= SEGMENT_SIZE and SEGMENT_SIZE % size) or (size > SEGMENT_SIZE and size % 64):
        raise SettingError(f"size = {size} is not possible.", "Choose 32, 64 or 128, or a multiple of 64 up to 512.")
    if width % 8:
        raise SettingError(f"width = {width} is not possible.", "Choose a multiple of 8.")


def _prepared(workspace: Workspace, settings: TrainGeneratorSettings, chip: Any, progress: Progress) -> _Run:
    """Judge and films, made by the first process and handed to the others by the disk."""
    told: list[Any] = [None]
    handed = workspace.path / "models" / "generator" / "films.npz"
    made: Any = None
    if chip.is_main_process:
        made = _first(workspace, settings, chip, progress)
        told = [(made.key, made.judge_key, made.counts)]
        if chip.num_processes > 1:
            with atomic_write(handed) as stream:
                made.data.save(stream)
    if chip.num_processes > 1:
        from accelerate.utils import broadcast_object_list

        broadcast_object_list(told)
        data: Any = None if made else EditorData.read(handed)
        chip.wait_for_everyone()
        if made:
            handed.unlink()
        else:
            key, judge_key, counts = told[0]
            made = _Run(workspace, settings, chip, progress, key, judge_key, None, data, counts)
    return made


def _first(workspace: Workspace, settings: TrainGeneratorSettings, chip: Any, progress: Progress) -> _Run:
    """What the first process prepares: a judge, the films with their outlines and places, and the run's key."""
    device = str(chip.device)
    judge_key = _judge(workspace, settings, device, part_of(progress, 0.0, 0.2))
    judge = workspace_judge(workspace, device=device)
    segmenter = workspace_segmenter(settings.segmenter, device)
    data, counts = workspace_data(
        workspace, min(settings.size, SEGMENT_SIZE), segmenter, judge, settings.films, settings.seed,
        part_of(progress, 0.2, 0.3),
    )  # fmt: skip
    given = revision(Path(settings.vae)) if settings.size > SEGMENT_SIZE and settings.vae != "train" else ""
    drawn = getattr(segmenter, "revision", "")
    key = digest("editor", _asked(settings), judge.revision, drawn, sorted(data.dicom_id.tolist()), counts, given)
    return _Run(workspace, settings, chip, progress, key, judge_key, judge, data, counts)


def _asked(settings: TrainGeneratorSettings) -> dict[str, Any]:
    """The settings that decide what is made; a segmenter that is an object by its class's name."""
    segmenter = settings.segmenter if isinstance(settings.segmenter, str) else type(settings.segmenter).__name__
    return {k: v for k, v in {**as_dict(settings), "segmenter": segmenter}.items() if k not in PASSING}


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


def _train(run: _Run) -> None:
    """Autoencoder where one is needed, then the editor; the first process saves it."""
    from ..nets.concept_unet import save
    from ..nets.latent import PIXELS
    from ..torchbox import torch as load_torch

    settings, chip = run.settings, run.machine
    latent = settings.size > SEGMENT_SIZE
    films = _films(run, max(settings.size, SEGMENT_SIZE))
    codec = _codec(run, films) if latent else PIXELS
    load_torch().manual_seed(settings.seed)
    net, start = _start(settings, codec)
    latents = None
    if latent:
        place = run.running / "latents"
        latents_of(codec, films, place, run.device, part_of(run.progress, 0.45, 0.5), chip.process_index,
                   chip.num_processes)  # fmt: skip
        chip.wait_for_everyone()
        latents = read_latents(place, len(run.data))
    trainer = Trainer(
        net, run.data, settings.batch, settings.rate, settings.seed, run.device, settings.micro, latents=latents
    )
    checkpoint = run.running / "checkpoint.pt"
    if checkpoint.exists():
        trainer.restore(checkpoint)
    chip.wait_for_everyone()
    budget = Budget(settings.steps, None if settings.steps else 60 * settings.minutes)
    watch = None
    if chip.is_main_process:
        samples = fixed_set(run.data, films.images, settings.size, run.judge)
        watch = Watch(run.running, samples, settings.size, run.judge, settings.sample_minutes)
    trainer.run(budget, checkpoint, part_of(run.progress, 0.5 if latent else 0.3, 1.0), watch)
    if watch is None:
        return
    flips = watch.finish(trainer)
    asked = _asked(settings)
    made = note("train-generator", asked, {"judge": run.judge.revision, "films": digest(run.counts)})
    names = sorted(run.workspace.read("films", ["dataset"])["dataset"].dropna().unique().tolist())
    told = {"steps": trainer.step, "minutes": trainer.seconds / 60, "judge_flips": flips, **run.counts}
    text, licence = card(trainer, settings, told, start, names, made["code_version"], run.judge_key)
    write_json(run.folder / "training.json", {**told, "losses": trainer.losses})
    for name in SHOWN:
        if (run.running / name).exists():
            shutil.copyfile(run.running / name, run.folder / name)
    save(trainer.ema, run.folder, text, provenance=made, licence=licence)


def _films(run: _Run, size: int) -> Films:
    """The films that the data's rows are of, at another size."""
    from ..filmcache import film_cache

    ids = run.data.dicom_id
    if run.machine.is_main_process:
        film_cache(run.workspace, size, ids.tolist(), part_of(run.progress, 0.3, 0.32))
    run.machine.wait_for_everyone()
    return Films(film_cache(run.workspace, size, ids.tolist()), ids, run.data.subject_id)


def _codec(run: _Run, films: Films) -> Any:
    """The autoencoder of the run: the start's own, a folder's, or one that is trained here, once.

    Raises: MissingDependency and DataError for a folder that holds none.
    """
    from ..nets.latent import Latents, load_vae, save_vae

    settings, place = run.settings, run.running / "vae"
    given = vae_of(settings)
    if given != "train":
        return Latents(load_vae(Path(given), run.device))
    if not (place / "config.json").is_file():
        budget = Budget(settings.vae_steps, None if settings.vae_steps else 60 * settings.vae_minutes)
        vae = train_vae(
            run.workspace, films, budget, run.running / "vae.pt", settings.seed, run.device, settings.micro,
            part_of(run.progress, 0.32, 0.45),
        )  # fmt: skip
        if run.machine.is_main_process:
            save_vae(vae, place, half=False)
    run.machine.wait_for_everyone()
    # read again, so that a resumed run has the same numbers
    return Latents(load_vae(place, run.device))


def _start(settings: TrainGeneratorSettings, codec: Any) -> tuple[Any, str]:
    """The network to start from, and what to call it. Raises: WorkspaceError when its size is another."""
    from ..nets.concept_unet import ConceptUNet, load

    widths = tuple(settings.width * k for k in (1, 2, 3))
    start = settings.start
    if start == "auto":
        shipped = json.loads((packaged("editor") / "config.json").read_text(encoding="utf-8"))
        fits = shipped["size"] == settings.size and tuple(shipped["widths"]) == widths
        start = "packaged" if fits else "scratch"
    if start == "scratch":
        return ConceptUNet(settings.size, widths, codec), "random weights"
    folder = packaged("editor") if start == "packaged" else Path(start)
    net, _ = load(folder)
    if net.size != settings.size:
        raise WorkspaceError(
            f"The editor in {folder} works at {net.size} pixels, not {settings.size}.",
            f"Use --size {net.size}, or --start scratch.",
        )
    if net.codec.factor != 1:
        net.codec = codec
    return net.train(), "the packaged weights" if start == "packaged" else str(folder)
