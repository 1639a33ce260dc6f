"""Baseline: SDEdit on the cars editor.

Noise the film part of the way and denoise it under the target vector (Meng et al. 2021, "SDEdit: Guided Image Synthesis
and Editing with Stochastic Differential Equations", arXiv 2108.01073). Here only the ROI is noised and redrawn, with
the same network, guidance and blending as the cars editor has, so the two differ in the way of editing alone.
"""

from __future__ import annotations

from typing import Any

from . import GENERATORS
from ._sampler import Walk
from .cars_unet import CarsGenerator

#: Share of the noisiest steps that is left out where a request does not say: the paper keeps 0.3 to 0.6 of them.
SKIP = 0.4


@GENERATORS.register("sdedit")
class SDEdit(CarsGenerator):
    """The film noised to 60% of the steps, or to 1 − skip, and denoised under the target vector."""

    modes = ("inpaint",)
    baseline = True

    def walked(self, walk: Walk, mode: str, skip: float) -> Any:
        return walk.inpaint(int((skip or SKIP) * len(walk.steps)))
