"""The settings of plan, train-generator and synth. Cheap to import: the command line reads them for --help."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import setting


@dataclass(frozen=True)
class PlanSettings:
    """Which gaps to fill, and from which films."""

    gaps: str = setting(
        "",
        "Gap ids, separated by commas; empty takes the top editable gaps by rank. ID:12 adds 12 to that gap, be it "
        "fewer or more than it lacks.",
    )
    per_gap: int = setting(
        0, "Most patients (or studies or films, as the gap counts) to add to a gap; 0: all that it lacks.", minimum=0
    )
    films: int = setting(200, "Most films in the plan.", minimum=1)
    max_per_patient: int = setting(2, "Most edits from films of one patient.", minimum=1)
    max_edits: int = setting(2, "Most findings that one edit may change.", minimum=1, maximum=3)
    edits: str = setting("", "Without gaps: edits to try, such as 'insert:Pneumothorax,delete:Pleural Effusion'.")
    balanced: int = setting(
        0, "Without gaps: so many insertions and deletions of each finding, or of those in edits.", minimum=0
    )
    screen: bool = setting(True, "Leave out films on which the judge does not see their own label before the edit.")
    seed: int = setting(0, "Draws among films that serve equally well.", minimum=0)


@dataclass(frozen=True)
class TrainGeneratorSettings:
    """How long and on what to train. A run goes on whatever micro, sample_minutes and device it is given."""

    size: int = setting(
        64, "Side of the films that the editor works on: 64 or 128 pixels, or 256 or 512 by an autoencoder's latents.",
        minimum=16, maximum=512,
    )  # fmt: skip
    minutes: float = setting(12.0, "Minutes of training for the editor.", minimum=0.01)
    steps: int | None = setting(None, "Optimiser steps instead of minutes; then a run can be repeated.", minimum=1)
    batch: int = setting(32, "Films per step, over all processes.", minimum=1)
    micro: int = setting(
        0, "Most films at once on one device, added up to the batch; 0: all. Halved when memory is short.", minimum=0
    )
    width: int = setting(32, "Channels of the network's first level; the others have 2 and 3 times as many.", minimum=8)
    rate: float = setting(3e-4, "Highest learning rate.", minimum=0.0)
    start: str = setting(
        "auto", "Where to start: packaged, scratch, an editor's folder, or auto: packaged where that fits."
    )
    vae: str = setting("train", "From 256 px on: train an autoencoder on the train films, or the folder of one.")
    vae_minutes: float = setting(6.0, "Minutes of training for the autoencoder.", minimum=0.01)
    vae_steps: int | None = setting(None, "Its optimiser steps instead of minutes.", minimum=1)
    sample_minutes: float = setting(5.0, "Minutes between two grids of sample edits.", minimum=0.0)
    segmenter: str = setting("cars", "Which segmenter outlines lungs and heart: a name, or name:path.")
    judge_minutes: float = setting(3.0, "Minutes of training for the judge; 0 keeps the packaged one.", minimum=0)
    judge_arch: str = setting("small", "The judge's network.", choices=("small", "efficientnet_lite0"))
    films: int = setting(20_000, "Most films to train on, drawn by patient.", minimum=1)
    device: str = setting("auto", "Device: cpu, cuda, or auto for a GPU where there is one.")
    seed: int = setting(0, "Seed of films, regions and noise.", minimum=0)


def vae_of(settings: TrainGeneratorSettings) -> str:
    """Where the autoencoder comes from: an editor to start from brings its own, else what `vae` says."""
    return settings.vae if settings.start in ("auto", "scratch", "packaged") else settings.start


@dataclass(frozen=True)
class SynthSettings:
    """How to make the edits of a plan."""

    plan: str | None = setting(None, "Which plan; empty takes the latest.")
    generator: str = setting("cars", "Which registered generator edits.")
    segmenter: str = setting("cars", "Which segmenter outlines lungs and heart: a name, or name:path.")
    judge: str | None = setting(None, "A judge's folder; empty takes the workspace's own, else the packaged one.")
    judges: str = setting(
        "", "Judges' folders for the uncertainty, by commas, or own and packaged; empty takes all that exist."
    )
    uncertainty: int = setting(
        0, "Seeds drawn of each edit for its uncertainty; 0 uses the attempts that were made anyway.", minimum=0,
        maximum=16,
    )  # fmt: skip
    mode: str = setting(
        "auto", "How to edit; auto inverts first and inpaints where the judge is not convinced.",
        choices=("auto", "inversion", "inpaint"),
    )  # fmt: skip
    steps: int = setting(20, "Sampling steps.", minimum=1, maximum=1000)
    guidance: float = setting(
        1.5, "Guidance away from the source's vector; 1 is none. Later attempts take twice as much.",
        minimum=0, maximum=20,
    )  # fmt: skip
    skip: float = setting(0.0, "Share of the noisiest steps that an inversion leaves out.", minimum=0, maximum=0.9)
    seeds: int = setting(1, "Seeds to try by inpainting, until the judge is convinced.", minimum=1, maximum=16)
    feather: float = setting(0.02, "Width of the soft edge in the ROI, a share of the film.", minimum=0, maximum=0.2)
    batch: int = setting(16, "Edits at once; halved when they do not fit the device.", minimum=1)
    device: str = setting("auto", "Device: cpu, cuda, or auto for a GPU where there is one.")
