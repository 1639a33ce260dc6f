"""Training the editor: one network learns to denoise under a vector and to inpaint a region.

Every step draws its films, ROIs, labels and noise from (seed, step) alone (loop.py). Loss: v-prediction with min-SNR
weights (Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy", arXiv 2303.09556), counted
fully inside the ROI. An editor in latents learns from latents that were made once; ROIs and labels are of the films.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..schema import FINDINGS, NOT_MENTIONED
from .data import EditorData, local_labels, training_roi
from .loop import Budget, Loop

__all__ = ["Batch", "Budget", "Trainer", "draw_batch"]

#: Share of examples whose whole vector is hidden, and share of the other tokens that are.
DROP_VECTOR, DROP_TOKEN = 0.11, 0.15
SNR_CAP = 5.0
#: Weight of the loss outside the ROI, where the film is given anyway.
OUTSIDE = 0.1


@dataclass
class Batch:
    """One step's input, on the CPU: films (B, 1, S, S) in [-1, 1] or their latents (B, C, s, s), tokens (B, 17), and in
    the films' size or the latents' roi (B, 1, s, s), masks (B, 3, s, s); hide (B,)."""

    films: Any
    tokens: Any
    roi: Any
    masks: Any
    hide: Any


def draw_batch(data: EditorData, batch: int, rng: np.random.Generator, latents: np.ndarray | None = None) -> Batch:
    """A random batch: films, a ROI for each, and the labels of what the ROI shows, some of them hidden.

    latents: (N, C, s, s) float, what stands for the films; ROI and outlines are then brought to their size.
    """
    from ..nets.concept_unet import UNKNOWN, encode, torch

    rows = rng.integers(len(data), size=batch)
    rois, hides, labels = [], [], []
    for row in rows:
        places = data.place_of(row)
        roi, hide = training_roi(data, row, places, rng)
        rois.append(roi)
        hides.append(hide)
        labels.append(local_labels(data.vectors[row], places, roi))
    vectors = np.stack(labels)
    vectors[rng.random(vectors.shape) < DROP_TOKEN] = NOT_MENTIONED
    tokens = encode(vectors, data.view[rows].tolist(), data.sex[rows].tolist(), data.age[rows].tolist())
    patient = np.arange(len(FINDINGS), tokens.shape[1])
    tokens[:, patient] = np.where(rng.random((batch, len(patient))) < DROP_TOKEN, UNKNOWN[patient], tokens[:, patient])
    tokens[rng.random(batch) < DROP_VECTOR] = UNKNOWN
    roi, masks = torch.from_numpy(np.stack(rois)).float()[:, None], torch.from_numpy(data.masks[rows]).float()
    if latents is None:
        films = torch.from_numpy(data.images[rows].astype(np.float32))[:, None] / 127.5 - 1
    else:
        films = torch.from_numpy(latents[rows].astype(np.float32))
        # as Latents.cells and Latents.shares do, from the size at which ROIs are drawn
        roi = torch.nn.functional.adaptive_max_pool2d(roi, films.shape[-1])
        masks = torch.nn.functional.adaptive_avg_pool2d(masks, films.shape[-1])
    return Batch(films, torch.from_numpy(tokens), roi, masks, torch.from_numpy(np.array(hides)))


@dataclass
class Trainer(Loop):
    """An editor in training. net: ConceptUNet. data: EditorData. latents: (N, C, s, s), where net works on latents."""

    latents: Any = None
    name = "the editor"

    def __post_init__(self) -> None:
        from ..nets.concept_unet import scheduler

        super().__post_init__()
        self.alphas = scheduler().alphas_cumprod.to(self.device)

    def draw(self) -> tuple[Any, ...]:
        from ..nets.concept_unet import torch

        b = draw_batch(self.data, self.batch, np.random.default_rng([self.seed, self.step]), self.latents)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        steps = torch.randint(0, 1000, (self.batch,), generator=generator)
        noise = torch.randn(b.films.shape, generator=generator)
        return b.films, b.tokens, b.roi, b.masks, b.hide, steps, noise

    def errors(self, *rows: Any) -> Any:
        from ..nets.concept_unet import context_of

        films, tokens, roi, masks, hide, steps, noise = rows
        alpha = self.alphas[steps][:, None, None, None]
        noisy = alpha.sqrt() * films + (1 - alpha).sqrt() * noise
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * films
        predicted = self.net(noisy, steps, tokens, context_of(films, roi, masks, hide))
        snr = alpha / (1 - alpha)
        weight = snr.clamp(max=SNR_CAP) / (snr + 1)
        inside = roi + OUTSIDE * (1 - roi)
        # per example: a mean over the ROI, so that a small lesion counts as much as a whole film
        error = (inside * (predicted.float() - target) ** 2).mean(1).sum((1, 2)) / inside.sum((1, 2, 3))
        return weight.flatten() * error
