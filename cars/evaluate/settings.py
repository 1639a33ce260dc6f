"""The settings of `finetune` and `report`; cheap to import."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import setting

#: Arm → what its training set holds. Validation and test are the same real films for all.
ARMS: dict[str, str] = {
    "real": "the train patients' real films",
    "real+cars": "the real films and the accepted synthetic edits",
    "real+sham": "the real films and the sham edits of the accepted ones (regenerated, finding unchanged)",
    "real+sources": "the real films, with the sources of the accepted edits a second time, unedited",
}


@dataclass(frozen=True)
class FinetuneSettings:
    """How backbones are fine-tuned. All arms take the same number of optimiser steps."""

    backbones: str = setting("densenet121", "Backbones to fine-tune, comma-separated.")
    arms: str = setting("real,real+cars", f"Training arms, comma-separated, of: {', '.join(ARMS)}.")
    seeds: int = setting(1, "Trainings per backbone and arm; use 3 or more for a finding.", minimum=1, maximum=100)
    size: int = setting(96, "Side of the square films in pixels.", minimum=32, maximum=1024)
    steps: int = setting(200, "Optimiser steps, the same for every arm.", minimum=1)
    batch: int = setting(32, "Films per step.", minimum=2)
    lr: float = setting(1e-4, "Learning rate of AdamW.", minimum=0.0)
    weights: str | None = setting(None, "Weights file to start from; else what comes with the backbone, or random.")
    uncertain: str = setting("ignore", "What an uncertain label counts as.", choices=("ignore", "positive", "negative"))
    not_mentioned: str = setting("absent", "What a finding not mentioned counts as.", choices=("absent", "ignore"))
    views: str = setting("frontal", "Which views take part.", choices=("frontal", "all"))
    check_every: int = setting(50, "Steps between two checks on the validate patients.", minimum=1)
    device: str = setting("auto", "Device: auto, cpu or cuda.")


@dataclass(frozen=True)
class ReportSettings:
    """How the test predictions of a run are scored."""

    run: str | None = setting(None, "The run to score; the latest where none is given.")
    resamples: int = setting(1000, "Bootstrap resamples of the test patients.", minimum=10, maximum=100_000)
    seed: int = setting(0, "Seed of the resamples.")
    level: float = setting(0.95, "Confidence level of the intervals.", minimum=0.5, maximum=0.999)
    min_positives: int = setting(
        5, "Positive (and negative) test patients that a finding needs to enter the macro mean.", minimum=1
    )
