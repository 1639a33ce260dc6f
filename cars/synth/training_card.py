"""The model card of an editor that train-generator made: data, settings, losses, the judge's flips, licence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..config import as_dict
from .settings import TrainGeneratorSettings, vae_of

CARD = """---
license: other
license_name: {licence_name}
library_name: diffusers
tags: [chest-radiograph, cars]
---
# Editor of this workspace

A diffusion UNet ({parameters:.2f} M parameters, v-prediction) that inserts and deletes CheXpert findings inside a
region of a frontal chest film, on {space}. Made by `cars train-generator`, code {code}.

**Data.** {films} frontal films of {patients} train patients of the data set {datasets}; no film of a patient with a
film in validate or test. Left out: {untrusted} films whose outlines are not trusted, {undecodable} that could not be
decoded.

**Training.** Start: {start}. {steps} optimiser steps of {batch} films in {minutes:.1f} minutes, seed {seed}. Saved is
the moving average of the weights, as float16.{vae}

**Losses.** {losses}

**What the judge sees.** {flips} {judge} These films are of train patients: this says whether the editor obeys, not
whether a reader would believe it.

**Licence.** {licence}. The weights derive from those patients' films and stay under the
data set's terms.

**Not for** diagnosis, nor for films that are not frontal chest radiographs.

| setting | value |
|---|---|
{settings}
"""

#: What the judge was trained on: a workspace's own, and the packaged one.
JUDGES = (
    "The judge learned from the same patients.",
    "The judge is the packaged one, which has seen phantom films only.",
)


def card(
    trainer: Any,
    settings: TrainGeneratorSettings,
    told: dict[str, Any],
    start: str,
    datasets: Sequence[str],
    code: str,
    judge: str,
) -> tuple[str, str]:
    """The card's text, and the licence in words.

    told: counts of films, "steps", "minutes" and "judge_flips" of `watching.flips`. judge: its key, or "packaged".
    """
    net = trainer.net
    names = ", ".join(f'"{name}"' for name in datasets)
    licence = f"terms of the data set {', '.join(datasets) or 'unknown'}"
    vae = ""
    space = f"the {net.size} × {net.size} pixels"
    if net.codec.factor > 1:
        space = f"the {net.codec.channels} × {net.size // net.codec.factor}² latents of films of {net.size} pixels"
        source = vae_of(settings)
        vae = f" Autoencoder: {'trained on the same films' if source == 'train' else f'of {source}'}."
        if source != "train":
            licence += f", and those of the autoencoder of {source}"
    plain = {k: v for k, v in as_dict(settings).items() if isinstance(v, str | int | float)}
    rows = [f"| {name} | {value} |" for name, value in plain.items()]
    return CARD.format(
        licence_name=licence.replace(" ", "-"), parameters=sum(p.numel() for p in net.parameters()) / 1e6, space=space,
        code=code, datasets=names, start=start, batch=settings.batch, seed=settings.seed, vae=vae,
        losses=loss_words(trainer.losses), flips=flip_words(told["judge_flips"]), judge=JUDGES[judge == "packaged"],
        licence=licence[0].upper() + licence[1:],
        settings="\n".join(rows), **{k: v for k, v in told.items() if k != "judge_flips"},
    ), licence  # fmt: skip


def loss_words(losses: Sequence[tuple[int, float]]) -> str:
    """First, middle and last noted loss in words."""
    if not losses:
        return "Too few steps to note one."
    chosen = [losses[0], losses[len(losses) // 2], losses[-1]]
    return "Mean " + ", ".join(f"{loss:.4f} at step {step}" for step, loss in dict.fromkeys(chosen)) + "."


def flip_words(flips: dict[str, dict[str, Any]]) -> str:
    """The judge's flips of the fixed set in words."""
    words = {"insert": "insertions", "delete": "deletions"}
    parts = [
        f"Of {row['n']} fixed {words[d]} it sees {row['flips']:.2f}, of their shams {row['sham_flips']:.2f}."
        for d, row in flips.items()
    ]
    return " ".join(parts) or "No film had a finding that the judge can judge."
