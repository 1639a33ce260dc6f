"""The settings of `finetune`, `report` and `export-models`, and the names of arms and groups; cheap to import."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..config import setting

#: Arm → what its training set holds. Validation and test are the same real films for all.
ARMS: dict[str, str] = {
    "real": "the train patients' real films, each seen as often as in the arms with added films: fewer optimiser steps",
    "real-equal-steps": "the same films, for as many optimiser steps as the arms with added films",
    "oversampled": "the real films, and real films with the edits' findings drawn again, one for each accepted edit",
    "real+sham": "the real films and the sham edits of the accepted ones (regenerated, finding unchanged)",
    "real+label-prompted": "the real films and edits of the baseline generator label-prompted",
    "real+cars": "the real films and the accepted synthetic edits",
    "cars-then-real": "the accepted synthetic edits first, then the real films",
    "real+sources": "the real films, with the sources of the accepted edits a second time, unedited",
}
#: The seven arms of the experiment; "all" means them.
SEVEN = tuple(arm for arm in ARMS if arm != "real+sources")
#: All of them but the one that needs a second run of `synth`.
DEFAULT_ARMS = tuple(arm for arm in SEVEN if arm != "real+label-prompted")
#: Arms that learn from accepted edits: what a run is meant to say something about.
TREATED = ("real+cars", "cars-then-real")
#: Control → what else a gain over real could come from where it was not trained.
CONTROLS: dict[str, str] = {
    "real-equal-steps": "from more optimiser steps rather than from the added films",
    "oversampled": "from seeing rare findings more often, which real films drawn again would give too",
    "real+sham": "from the editor's texture rather than from the findings that it drew",
}
#: Groups of backbones by name.
BACKBONE_GROUPS: dict[str, tuple[str, ...]] = {
    "all": (
        "densenet121", "resnet50", "inception_v3", "efficientnet_b0", "convnext_tiny", "vit_small_patch16_224",
        "swin_tiny_patch4_window7_224",
    ),
    "small": (
        "densenet_mini", "resnet_mini", "inception_mini", "efficientnet_lite0", "convnext_mini", "vit_mini",
        "swin_mini",
    ),
}  # fmt: skip
#: Fewer seeds than this cannot tell an effect from the noise of training.
ENOUGH_SEEDS = 3


def reference(arms: Iterable[str]) -> str | None:
    """The arm that the others are compared with: real at equal steps where it was trained, else real, else none."""
    names = set(arms)
    return next((arm for arm in ("real-equal-steps", "real") if arm in names), None)


def missing_controls(arms: Iterable[str]) -> list[str]:
    """The controls that a run with these arms lacks; none where it has no arm with accepted edits."""
    names = set(arms)
    return [arm for arm in CONTROLS if arm not in names] if names & set(TREATED) else []


def cannot_conclude(arms: Iterable[str], seeds: int) -> list[str]:
    """What the figures of a run with these arms and so many seeds cannot say, one plain sentence each."""
    names = list(arms)
    found = [f"The arm {arm} was not trained: a gain may come {CONTROLS[arm]}." for arm in missing_controls(names)]
    if set(names) & set(TREATED) and reference(names) is None:
        found.insert(0, "No arm has the real films alone: nothing here says whether the added films helped.")
    if seeds < ENOUGH_SEEDS:
        number = "One training seed" if seeds == 1 else f"{seeds} training seeds"
        found.append(f"{number}: a difference may be the noise of training; {ENOUGH_SEEDS} or more are needed.")
    return found


@dataclass(frozen=True)
class FinetuneSettings:
    """How backbones are fine-tuned: a grid of backbone × arm × seed, each unit trained and kept on its own."""

    backbones: str = setting("densenet121", "Backbones, comma-separated; all: the seven; small: seven for CPUs.")
    arms: str = setting(",".join(DEFAULT_ARMS), f"Training arms, comma-separated, of: {', '.join(ARMS)}; all: seven.")
    seeds: int = setting(3, "Trainings per backbone and arm; fewer than 3 show little.", minimum=1, maximum=100)
    size: int = setting(96, "Side of the square films in pixels.", minimum=32, maximum=1024)
    steps: int = setting(200, "Optimiser steps of each arm; real takes fewer, by the share of its films.", minimum=1)
    batch: int = setting(32, "Films per step.", minimum=2)
    lr: float = setting(1e-4, "Learning rate of AdamW.", minimum=0.0)
    weights: str | None = setting(
        None, "Weights to start from: a file, or backbone=file pairs by commas; else what comes with it, or random."
    )
    uncertain: str = setting("ignore", "What an uncertain label counts as.", choices=("ignore", "positive", "negative"))
    not_mentioned: str = setting("absent", "What a finding not mentioned counts as.", choices=("absent", "ignore"))
    views: str = setting("frontal", "Which views take part.", choices=("frontal", "all"))
    check_every: int = setting(50, "Steps between two checks on the validate patients.", minimum=1)
    device: str = setting("auto", "Device: auto, cpu, cuda, or one of several as cuda:1.")
    schedule: str = setting(
        "constant", "The learning rate over the steps; cosine warms up first.", choices=("constant", "cosine")
    )
    ema: float = setting(
        0.0, "Decay of the moving average of the weights that is kept; 0: none.", minimum=0.0, maximum=0.9999
    )
    dropout: float = setting(
        0.0, "Share of the features dropped before the classifier in training; 0: none.", minimum=0.0, maximum=0.95
    )
    passes: int = setting(
        20, "Predictions of each test film with dropout left on, where it was trained with.", minimum=2, maximum=1000
    )
    patience: int = setting(0, "Stop after so many checks without a better one; 0: never.", minimum=0)
    pretrain: float = setting(0.3, "Share of the steps of cars-then-real on edits.", minimum=0.05, maximum=0.95)
    label_prompted: str = setting(
        "matched", "Label-prompted films: those of the accepted edits' sources and changes, those that passed, or all.",
        choices=("matched", "passed", "all"),
    )  # fmt: skip
    compile: bool = setting(False, "Compile the network: worth its minute on a GPU and a long training only.")
    workers: int = setting(1, "Units trained at once, in processes of their own; GPUs are shared out.", minimum=1)
    threads: int = setting(0, "Processor threads of a unit; 0: all, shared by the workers.", minimum=0)
    name: str = setting("", "A name for the experiment.")
    config: str | None = setting(None, "A TOML file with these settings; a flag wins over it.")


@dataclass(frozen=True)
class ReportSettings:
    """How the test predictions of a run are scored."""

    run: str | None = setting(None, "The run to score; the latest where none is given.")
    resamples: int = setting(2000, "Bootstrap resamples of the test patients.", minimum=10, maximum=100_000)
    costly_resamples: int = setting(
        500, "Resamples of metrics that are slow to compute (smooth ECE, calibration slope and intercept).", minimum=10
    )
    seed: int = setting(0, "Seed of the resamples.")
    level: float = setting(0.95, "Confidence level of the intervals.", minimum=0.5, maximum=0.999)
    min_positives: int = setting(
        5, "Positive (and negative) test patients that a finding needs to enter the macro mean.", minimum=1
    )


@dataclass(frozen=True)
class ExportModelsSettings:
    """Which fine-tuned models to write as folders that timm loads."""

    run: str | None = setting(None, "The run; the latest where none is given.")
    backbone: str = setting("", "Only this backbone.")
    arm: str = setting("", "Only this arm.")
    seed: int | None = setting(None, "Only this seed.", minimum=0)
    out: str | None = setting(None, "Where the folders go; models/finetuned in the workspace where none is given.")
