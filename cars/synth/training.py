"""Training the editor: one network learns to denoise under a vector and to inpaint a region.

Every step draws its films, ROIs, labels and noise from (seed, step) alone, so a run that was killed goes on to the same
losses. Loss: v-prediction with min-SNR weights (Hang et al. 2023, arXiv 2303.09556), counted fully inside the ROI.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ResourceError
from ..progress import Progress, silent
from ..schema import FINDINGS, NOT_MENTIONED
from ..workspace import atomic_write
from .data import EditorData, local_labels, training_roi

#: Share of examples whose whole vector is hidden, and share of the other tokens that are.
DROP_VECTOR, DROP_TOKEN = 0.11, 0.15
SNR_CAP = 5.0
#: Weight of the loss outside the ROI, where the film is given anyway.
OUTSIDE = 0.1
EMA = 0.999
CHECKPOINT_SECONDS = 60.0
LOG_EVERY = 20


@dataclass
class Budget:
    """When to stop: after so many steps, or after so many seconds of training, whichever comes first."""

    steps: int | None = None
    seconds: float | None = None

    def share(self, step: int, seconds: float) -> float:
        """How much of the budget is used, in [0, 1]."""
        used = [done / limit for done, limit in ((step, self.steps), (seconds, self.seconds)) if limit]
        return min(1.0, max(used, default=1.0))


@dataclass
class Batch:
    """One step's input, on the CPU: films (B, 1, S, S) in [-1, 1], tokens (B, 17), roi, masks, hide."""

    films: Any
    tokens: Any
    roi: Any
    masks: Any
    hide: Any


def draw_batch(data: EditorData, batch: int, rng: np.random.Generator) -> Batch:
    """A random batch: films, a ROI for each, and the labels of what the ROI shows, some of them hidden."""
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
    films = torch.from_numpy(data.images[rows].astype(np.float32))[:, None] / 127.5 - 1
    return Batch(
        films,
        torch.from_numpy(tokens),
        torch.from_numpy(np.stack(rois)).float()[:, None],
        torch.from_numpy(data.masks[rows]).float(),
        torch.from_numpy(np.array(hides)),
    )


@dataclass
class Trainer:
    """An editor in training. `state`/`restore` hold everything that a later process needs to go on.

    net: ConceptUNet. data: what it learns from. rate: AdamW's learning rate at its highest.
    """

    net: Any
    data: EditorData
    batch: int = 32
    rate: float = 5e-4
    seed: int = 0
    device: str = "cpu"
    step: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        import copy

        from ..nets.concept_unet import scheduler, torch

        self.net.to(device=self.device, memory_format=torch.channels_last).train()
        self.ema = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.rate, weight_decay=0.01)
        self.alphas = scheduler().alphas_cumprod.to(self.device)

    def advance(self, share: float) -> float:
        """One optimiser step; `share` of the budget is used. Returns the loss."""
        from ..nets.concept_unet import context_of, torch
        from ..torchbox import autocast

        b = draw_batch(self.data, self.batch, np.random.default_rng([self.seed, self.step]))
        films, tokens, roi, masks, hide = (x.to(self.device) for x in (b.films, b.tokens, b.roi, b.masks, b.hide))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        steps = torch.randint(0, 1000, (self.batch,), generator=generator).to(self.device)
        noise = torch.randn(films.shape, generator=generator).to(self.device)
        alpha = self.alphas[steps][:, None, None, None]
        noisy = alpha.sqrt() * films + (1 - alpha).sqrt() * noise
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * films
        # warm up over 200 steps, then fall to a twentieth over the last third of the budget
        warm, cool = min(1.0, (self.step + 1) / 200), max(0.05, min(1.0, 3 * (1 - share)))
        self.optimizer.param_groups[0]["lr"] = self.rate * warm * cool
        with autocast(self.device):
            predicted = self.net(noisy, steps, tokens, context_of(films, roi, masks, hide))
        snr = alpha / (1 - alpha)
        weight = snr.clamp(max=SNR_CAP) / (snr + 1)
        inside = roi + OUTSIDE * (1 - roi)
        # per example: a mean over the ROI, so that a small lesion counts as much as a whole film
        error = (inside * (predicted.float() - target) ** 2).sum((1, 2, 3)) / inside.sum((1, 2, 3))
        loss = (weight.flatten() * error).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(EMA, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.net.parameters()), 1 - decay)
        return float(loss.detach())

    def run(
        self, budget: Budget, checkpoint: Path | None = None, progress: Progress = silent, on_checkpoint: Any = None
    ) -> None:
        """Train until the budget is used; write the checkpoint every minute and at the end.

        on_checkpoint: called with the trainer after each checkpoint (sample grids). Raises: Cancelled from `progress`,
        after writing a checkpoint; ResourceError when the device's memory is too small for the batch.
        """
        last = time.monotonic()
        saved = last
        recent: list[float] = []
        try:
            while (share := budget.share(self.step, self.seconds)) < 1:
                recent.append(self._guarded(share))
                now = time.monotonic()
                self.seconds += now - last
                last = now
                if self.step % LOG_EVERY == 0:
                    self.losses.append((self.step, float(np.mean(recent))))
                    recent = []
                    progress(round(1000 * share), 1000, f"training the editor, step {self.step}")
                if checkpoint is not None and now - saved > CHECKPOINT_SECONDS:
                    self.write(checkpoint)
                    if on_checkpoint is not None:
                        on_checkpoint(self)
                    saved = last = time.monotonic()
        finally:
            if checkpoint is not None:
                self.write(checkpoint)
        if on_checkpoint is not None:
            on_checkpoint(self)
        progress(1000, 1000, f"editor trained for {self.step} steps")

    def _guarded(self, share: float) -> float:
        from ..nets.concept_unet import torch

        try:
            return self.advance(share)
        except torch.OutOfMemoryError:
            raise ResourceError(
                f"The device's memory is too small for a batch of {self.batch} films.",
                f"Run again with --batch {max(1, self.batch // 2)}.",
            ) from None

    def write(self, path: Path) -> None:
        """The whole state, atomically."""
        from ..nets.concept_unet import torch

        state = {
            "net": self.net.state_dict(), "ema": self.ema.state_dict(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "seconds": self.seconds, "losses": self.losses, "seed": self.seed, "batch": self.batch,
        }  # fmt: skip
        with atomic_write(path) as stream:
            torch.save(state, stream)

    def restore(self, path: Path) -> None:
        """Go on from what `write` wrote."""
        from ..nets.concept_unet import torch

        state = torch.load(path, map_location=self.device, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.losses = [(int(step), float(loss)) for step, loss in state["losses"]]
