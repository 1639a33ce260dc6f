"""The plain way to edit: one film at a time, one forward pass a question, formulas as the papers print them.

`PlainGenerator` has the network, noise and ROI of the cars generator and none of its batching: three passes a step of
an inversion, two of an inpainting, and every sham is walked though its result is known. Benchmarks compare with it, and
tests ask that both give the same films.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cars.generators import EditRequest, EditResult, check
from cars.generators.cars_unet import CarsGenerator, _Walk


class PlainGenerator(CarsGenerator):
    """The cars generator without any batching."""

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        check(requests, self.size)
        from cars.torchbox import torch

        results = []
        with torch().inference_mode():
            for request in requests:
                walk = _Walk(self.net, [request], request.steps, self.device)
                final = inverted(walk, request.skip) if request.mode == "inversion" else inpainted(walk)
                results += walk.results(final)
        return results


def predicted(walk: Any, x: Any, level: int, condition: Any) -> Any:
    """v of one film under one condition."""
    step = walk.torch.tensor([walk.steps[level]], device=x.device)
    return walk.net(x, step, condition, walk.context).float()


def mean(walk: Any, x: Any, v: Any, level: int) -> Any:
    """μ of DDPM's posterior q(x_next | x, x_0) with x_0 as predicted (Ho et al. 2020, arXiv 2006.11239, equation 7)."""
    a, b = walk.alpha[level], walk.alpha[level + 1]
    clean = walk.net.codec.bounded(a**0.5 * x - (1 - a) ** 0.5 * v)
    step = a / b  # α of this step, ᾱ_t / ᾱ_(t − 1)
    return (b**0.5 * (1 - step) * clean + step**0.5 * (1 - b) * x) / (1 - a)


def sigma(walk: Any, level: int) -> float:
    """√β̃ of the same posterior."""
    a, b = walk.alpha[level], walk.alpha[level + 1]
    return ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5


def noised(walk: Any, level: int) -> Any:
    a = walk.alpha[level]
    return a**0.5 * walk.source + (1 - a) ** 0.5 * walk.noise[level]


def outside_put_back(walk: Any, x: Any, level: int) -> Any:
    """The film's own latent of the next level outside the ROI, but at the end."""
    return x if level + 1 == len(walk.steps) else walk.torch.where(walk.roi > 0, x, noised(walk, level + 1))


def guided(walk: Any, x: Any, level: int) -> Any:
    before, after = (predicted(walk, x, level, tokens) for tokens in (walk.before, walk.after))
    return before + walk.guidance * (after - before)


def inverted(walk: Any, skip: float) -> Any:
    """Edit-friendly inversion, level after level."""
    first = int(skip * len(walk.steps))
    x = noised(walk, first)
    for level in range(first, len(walk.steps)):
        own = predicted(walk, noised(walk, level), level, walk.before)
        residual = noised(walk, level + 1) - mean(walk, noised(walk, level), own, level)
        x = outside_put_back(walk, mean(walk, x, guided(walk, x, level), level) + residual, level)
    return x


def inpainted(walk: Any) -> Any:
    """The ROI from noise, level after level."""
    x = walk.torch.where(walk.roi > 0, walk.noise[0], noised(walk, 0))
    fresh = walk.torch.flip(walk.noise, dims=(0,)).roll(1, dims=-1)
    for level in range(len(walk.steps)):
        x = mean(walk, x, guided(walk, x, level), level) + sigma(walk, level) * fresh[level]
        x = outside_put_back(walk, x, level)
    return x
