"""Adapting an encoder to a workspace: supervised training on its train patients, stopped by its validate patients."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from ..backbones import BACKBONES
from ..config import as_dict
from ..errors import WorkspaceError
from ..filmcache import film_cache
from ..metrics.auroc import auroc
from ..progress import Progress, part_of
from ..provenance import code_version, digest, file_digest
from ..schema import COLUMN_OF, PRESENT, UNCERTAIN
from ..torchbox import device as choose_device
from ..workspace import Workspace, atomic_write, write_json
from .settings import EmbedSettings

#: A finding with fewer positive train films is not learned from.
LEAST_POSITIVES = 5


def adapted(workspace: Workspace, settings: EmbedSettings, weights: str | None, progress: Progress) -> dict[str, Any]:
    """Fine-tune the encoder on train patients, unless that same training is already there.

    Writes models/encoder/<key>/: model.safetensors, then config.json, the card. Returns: folder, findings, log.
    """
    from ..nets.adapt import Labelled, Recipe, adapt

    findings, labels = read_labels(workspace)
    recipe = Recipe(epochs=settings.adapt_epochs, lr=settings.adapt_lr, batch=settings.batch, seed=settings.seed)
    backbone_class = BACKBONES.get(settings.backbone)
    start = backbone_class(weights=weights, seed=settings.seed)
    learned_from = {split: [part.to_csv(index=False)] for split, part in labels.groupby("split")}
    key = digest(settings.backbone, start.revision, settings.adapt_size, as_dict(recipe), findings, learned_from)
    folder = workspace.folder("models", "encoder", key)
    name = str(folder.relative_to(workspace.path))
    if (folder / "config.json").exists():
        card = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return {"folder": name, "findings": findings, "log": card["log"]}
    cache = film_cache(
        workspace, settings.adapt_size, labels["dicom_id"].tolist(), part_of(progress, 0.0, 0.1), settings.workers
    )
    labels = labels[labels["dicom_id"].isin(cache.ids)]
    training, validation = (
        Labelled(part["dicom_id"].tolist(), *_targets(part, findings))
        for part in (labels[labels["split"] == "train"], labels[labels["split"] == "validate"])
    )
    if not training.ids:
        raise WorkspaceError("None of the labelled train films can be decoded.", "Look at the quarantine.")
    net = backbone_class.build(len(findings), weights=weights, in_size=settings.adapt_size, seed=settings.seed)
    checkpoint = folder / "checkpoint.pt"
    device = choose_device(settings.device)
    log = adapt(
        net, training, validation, cache.images, macro_auroc, recipe, checkpoint, device, part_of(progress, 0.1, 1.0)
    )
    from safetensors.torch import save

    with atomic_write(folder / "model.safetensors") as stream:
        stream.write(save({name: value.cpu().contiguous() for name, value in net.state_dict().items()}))
    card = {
        "what": "An encoder adapted to this workspace by supervised training; test patients took no part.",
        "backbone": settings.backbone,
        "started_from": start.revision,
        "size": settings.adapt_size,
        "findings": findings,
        "recipe": as_dict(recipe),
        "labels": "present = 1, absent and not mentioned = 0, uncertain left out",
        "train": {"films": len(training.ids), "patients": int(labels[labels["split"] == "train"].subject_id.nunique())},
        "validate": {"films": len(validation.ids)},
        "kept": "the averaged weights of the epoch with the best macro AUROC on the validate patients",
        "log": log,
        "weights_sha256": file_digest(folder / "model.safetensors"),
        "code_version": code_version(),
    }
    write_json(folder / "config.json", card)
    checkpoint.unlink(missing_ok=True)
    return {"folder": name, "findings": findings, "log": log}


def read_labels(workspace: Workspace) -> tuple[list[str], pd.DataFrame]:
    """(the findings that can be learned, the train and validate films with their codes). No test film is read."""
    frame = workspace.query("embed/labels")
    train = frame[frame["split"] == "train"]
    findings = [f for f, column in COLUMN_OF.items() if (train[column] == PRESENT).sum() >= LEAST_POSITIVES]
    if not findings:
        raise WorkspaceError(
            f"No finding has {LEAST_POSITIVES} positive train films on disk, so there is nothing to adapt to.",
            "Set adapt to none.",
        )
    return findings, frame


def _targets(frame: pd.DataFrame, findings: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(y, known), both float32 (N, K): present is 1, absent and not mentioned are 0, uncertain is not known."""
    codes = frame[[COLUMN_OF[finding] for finding in findings]].to_numpy(np.int8)
    return (codes == PRESENT).astype(np.float32), (codes != UNCERTAIN).astype(np.float32)


def macro_auroc(logits: np.ndarray, films: Any) -> float:
    """Mean AUROC over the findings that have both classes among `films` (nets.adapt.Labelled); NaN when none has."""
    prob = 1 / (1 + np.exp(-logits.astype(np.float64)))
    scores = []
    for k in range(prob.shape[1]):
        known = films.known[:, k] > 0
        if len(np.unique(films.y[known, k])) == 2:
            scores.append(auroc(films.y[known, k], prob[known, k]))
    return float(np.mean(scores)) if scores else float("nan")
