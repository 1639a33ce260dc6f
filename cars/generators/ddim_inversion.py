"""Baseline: plain DDIM inversion on the cars editor.

Walk the film up to noise by the sampler's own deterministic steps under the source vector, and down again under the
target vector (Song et al. 2021, "Denoising Diffusion Implicit Models", arXiv 2010.02502). It has no noise of its own to
replay, so even the unchanged vector gives the film back only nearly, and guidance makes that worse. Outside the ROI the
film's own latents of the way up are put back after every step.
"""

from __future__ import annotations

from typing import Any

from . import GENERATORS, EditRequest
from ._sampler import Walk
from .cars_unet import CarsGenerator


@GENERATORS.register("ddim-inversion")
class DDIMInversion(CarsGenerator):
    """Up under the source vector, down under the target vector; the seed plays no part."""

    modes = ("inversion",)
    baseline = True
    deterministic = True

    def keeps(self, request: EditRequest) -> bool:
        return False

    def walked(self, walk: Walk, mode: str, skip: float) -> Any:
        first = int(skip * len(walk.steps))
        x, way = walk.source, {}
        for level in reversed(range(first, len(walk.steps))):
            x = way[level] = raised(walk, x, level)
        for level in range(first, len(walk.steps)):
            x = lowered(walk, x, walk.guided(x, level), level)
            if level + 1 < len(walk.steps):
                x = walk.blend(x, way[level + 1])
        return x


def raised(walk: Walk, x: Any, level: int) -> Any:
    """x of the less noisy level after `level`, carried up to `level`.

    The network is asked at the level that is to be reached, since it has not seen films without noise.
    """
    a, b = walk.alpha[level], walk.alpha[level + 1]
    [v] = walk.ask((x, level, walk.before, walk.rows))
    noise = a**0.5 * v + (1 - a) ** 0.5 * x
    return (a / b) ** 0.5 * (x - (1 - b) ** 0.5 * noise) + (1 - a) ** 0.5 * noise


def lowered(walk: Walk, x: Any, v: Any, level: int) -> Any:
    """x of `level` carried down to the next by the prediction v, without fresh noise (η = 0)."""
    clean, noise = walk.clean_and_noise(x, v, level)
    b = walk.alpha[level + 1]
    return b**0.5 * clean + (1 - b) ** 0.5 * noise
