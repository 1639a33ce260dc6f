"""The settings of `embed`; cheap to import."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import setting


@dataclass(frozen=True)
class EmbedSettings:
    """How films become vectors."""

    backbone: str = setting("efficientnet_lite0", "Which registered backbone turns films into vectors.")
    weights: str | None = setting(
        None, "Its weights: a local file or folder, run:UNIT of a fine-tuning, or random; default: what comes with it."
    )
    size: int | None = setting(None, "Side of the square films in pixels; default: the backbone's.", minimum=16)
    batch: int = setting(32, "Films per forward pass.", minimum=1)
    adapt: str = setting(
        "none", "Supervised: first fine-tune the encoder on the train patients' labels.", choices=("none", "supervised")
    )
    adapt_epochs: int = setting(6, "Passes over the train films when adapting.", minimum=1, maximum=1000)
    adapt_size: int = setting(160, "Side of the films while adapting, pixels.", minimum=16)
    adapt_lr: float = setting(1e-3, "Learning rate of the head while adapting; the body's is 0.3 of it.", minimum=0.0)
    map: bool = setting(True, "Lay the films out on a two-dimensional map.")
    map_mode: str = setting(
        "auto", "How: every film by UMAP, or UMAP of landmarks; auto: landmarks from 100,000 films on.",
        choices=("auto", "umap", "landmark"),
    )  # fmt: skip
    landmarks: int = setting(30_000, "Films that are laid out in landmark mode.", minimum=16)
    neighbours: int = setting(15, "Nearest films that the map keeps together.", minimum=2, maximum=200)
    seed: int = setting(0, "Seed of random weights, of adapting and of the map.", minimum=0)
    device: str = setting("auto", "Device: auto, cpu or cuda.")
    workers: int | None = setting(None, "Processes that decode films; default: one a processor.", minimum=1)
