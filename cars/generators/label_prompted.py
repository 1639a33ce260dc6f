"""Baseline: a whole film drawn from labels alone, in the manner of CoRPA.

CoRPA ("CoRPA: Adversarial Image Generation for Chest X-rays Using Concept Vector Perturbations and Generative Models",
2025, arXiv 2502.05214) turns a perturbed concept vector into a prompt of six labels and lets a text-to-image model draw
a new film. Here the cars editor draws it: its vector is collapsed to the six labels, the ROI is the whole film, and
neither the film nor its outlines are shown. What CARS asks of every generator stays: only the finding's ROI of the new
film goes into the source; `drift` says how far the rest of the new film is from the source's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..schema import ABSENT, FINDINGS, NOT_MENTIONED, PRESENT
from . import GENERATORS, EditRequest, EditResult, check
from .cars_unet import CarsGenerator

#: Label → the findings that are lost in it. Fracture and Support Devices are not among CoRPA's concepts.
LABELS: dict[str, tuple[str, ...]] = {
    "Lung Lesion": ("Lung Lesion",),
    "Pneumonia": ("Pneumonia", "Consolidation"),
    "Pleural Effusion": ("Pleural Effusion", "Pleural Other"),
    "Pneumothorax": ("Pneumothorax", "Atelectasis"),
    "Cardiomegaly": ("Cardiomegaly", "Enlarged Cardiomediastinum"),
    "Lung Opacity": ("Lung Opacity", "Edema"),
}


def collapsed(vector: np.ndarray) -> np.ndarray:
    """A vector of 14 codes as its six labels and "No Finding" tell it: int8 (14,), all else not mentioned."""
    result = np.full(len(FINDINGS), NOT_MENTIONED, np.int8)
    for label, findings in LABELS.items():
        codes = [int(vector[FINDINGS.index(finding)]) for finding in findings]
        if PRESENT in codes:
            result[FINDINGS.index(label)] = PRESENT
        elif ABSENT in codes:
            result[FINDINGS.index(label)] = ABSENT
    result[FINDINGS.index("No Finding")] = vector[FINDINGS.index("No Finding")]
    return result


@GENERATORS.register("label-prompted")
class LabelPrompted(CarsGenerator):
    """A new film from the six labels, guided away from no labels at all; its ROI is pasted into the source."""

    modes = ("inpaint",)
    baseline = True

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        if self.net is None:
            self.load()
        check(requests, self.size)
        nothing = np.full(len(FINDINGS), NOT_MENTIONED, np.int8)
        prompts = [
            replace(
                r, roi=np.ones_like(r.roi), masks=np.zeros_like(r.masks), vector_from=nothing,
                vector_to=collapsed(r.vector_to), mode="inpaint",
            )
            for r in requests
        ]  # fmt: skip
        results = []
        for request, drawn in zip(requests, super().edit(prompts)):
            edited = np.where(request.roi, drawn.edited, request.image).astype(np.float32)
            outside = np.abs(drawn.edited - request.image)[~request.roi]
            results.append(EditResult(edited, float(outside.mean()) if outside.size else 0.0))
        return results
