"""Training one unit: a backbone, an arm and a seed. It can be killed at any point and goes on to the same numbers.

Everything random is a function of (seed, step): the order of films, the augmentation, dropout. So a checkpoint holds
the network, its moving average, the optimiser and the step, and needs no generator states.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import torchbox
from ..errors import SettingError
from ..metrics.auprc import auprc
from ..progress import Progress
from ..workspace import atomic_write
from .arms import Cases, Phase
from .calibration import log_loss, sigmoid
from .feed import Images, ahead, as_input, training_batches
from .settings import FinetuneSettings

CHECKPOINT = "checkpoint.pt"
#: Light and label-preserving: no mirror image, which would move the heart to the other side.
ROTATION, SHIFT, ZOOM, CONTRAST, BRIGHTNESS = np.deg2rad(5), 0.04, 0.05, 0.1, 0.1
#: Share of the steps over which a cosine schedule warms up.
WARM_UP = 0.05


def augment(images: Any, rng: np.random.Generator) -> Any:
    """Small rotations, shifts, zooms and changes of contrast; float tensor (B, 1, S, S) in [0, 255], same out."""
    torch = torchbox.torch()
    n = len(images)
    angle, zoom = rng.uniform(-ROTATION, ROTATION, n), 1 + rng.uniform(-ZOOM, ZOOM, n)
    theta = np.zeros((n, 2, 3), dtype=np.float32)
    theta[:, 0, 0] = theta[:, 1, 1] = np.cos(angle) / zoom
    theta[:, 0, 1], theta[:, 1, 0] = -np.sin(angle) / zoom, np.sin(angle) / zoom
    theta[:, :, 2] = rng.uniform(-2 * SHIFT, 2 * SHIFT, (n, 2))  # the grid runs from -1 to 1: 2 · share of the side
    contrast = 1 + rng.uniform(-CONTRAST, CONTRAST, (n, 1, 1, 1)).astype(np.float32)
    brightness = 255 * rng.uniform(-BRIGHTNESS, BRIGHTNESS, (n, 1, 1, 1)).astype(np.float32)
    grid = torch.nn.functional.affine_grid(
        torch.from_numpy(theta).to(images.device), list(images.shape), align_corners=False
    )
    moved = torch.nn.functional.grid_sample(images, grid, align_corners=False, padding_mode="zeros")
    scale, offset = (torch.from_numpy(a).to(images.device) for a in (contrast, brightness))
    return (moved * scale + offset).clamp(0, 255)


def masked_bce(logits: Any, y: Any, known: Any) -> Any:
    """Mean binary cross-entropy over the known labels, 0 when none is known. All (B, K); known is 0 or 1."""
    torch = torchbox.torch()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), y, reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)


def rate(settings: FinetuneSettings, step: int, steps: int) -> float:
    """The learning rate of a step (from 0) of a stretch of `steps`."""
    if settings.schedule == "constant":
        return settings.lr
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return settings.lr * (step + 1) / warm
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def predict(model: Any, ids: Sequence[str], images: Images, batch: int, device: str) -> np.ndarray:
    """Logits of films, float32 (N, 14), the network in evaluation mode."""
    torch = torchbox.torch()
    model.eval()
    parts = [np.zeros((0, 14), dtype=np.float32)]
    films = (images(ids[start : start + batch]) for start in range(0, len(ids), batch))
    with torch.inference_mode(), torchbox.autocast(device), contextlib.closing(ahead(films)) as ready:
        for part in ready:
            parts.append(model(as_input(part, device)).float().cpu().numpy())
    return np.concatenate(parts)


def validation_score(logits: np.ndarray, cases: Cases) -> tuple[float, float]:
    """(macro AUPRC over the findings that are defined on the validate films, NaN when none is; log loss)."""
    prob = sigmoid(logits)
    scores = [auprc(cases.y[k, i], prob[k, i]) for i, k in enumerate(cases.known.T)]
    defined = [s for s in scores if not np.isnan(s)]
    loss = log_loss(logits[cases.known], cases.y[cases.known]) if cases.known.any() else float("nan")
    return (float(np.mean(defined)) if defined else float("nan")), loss


def better(score: tuple[float, float], best: tuple[float, float] | None) -> bool:
    """Whether a check beats the best so far: by AUPRC, then by log loss; by log loss where no AUPRC is defined."""
    if best is None:
        return True
    if np.isnan(score[0]) or score[0] == best[0]:
        return score[1] < best[1]
    return score[0] > best[0]


def _copy(state: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


class Trainer:
    """One unit's training. `run` trains, and leaves the network with the weights of its best check.

    phases: what is learned from, in turn; each starts with a new optimiser (and a new moving average). Checks count
    from the last phase only: before it the network has not seen what it is to learn.
    """

    def __init__(
        self, model: Any, folder: Path, phases: Sequence[Phase], validation: Cases, images: Images,
        settings: FinetuneSettings, seed: int, device: str,
    ) -> None:  # fmt: skip
        self.model = model.to(device)
        self.folder = folder
        self.phases = phases
        self.validation = validation
        self.images = images
        self.settings = settings
        self.seed = seed
        self.device = device
        self.steps = sum(phase.steps for phase in phases)
        self.state: dict[str, Any] = {
            "step": 0, "best_step": 0, "best": None, "log": [], "loss": 0.0, "since": 0, "worse": 0,
        }  # fmt: skip
        self.best_weights: dict[str, Any] | None = None
        self.average: dict[str, Any] | None = None
        self.optimiser: Any = None

    def run(self, progress: Progress) -> dict[str, Any]:
        """Train to the end, from the checkpoint where there is one; a checkpoint is written at every check.

        Returns: best_step, steps (taken), validation_auprc, validation_loss, log (a list of checks: step, train_loss,
        validation_auprc, validation_loss), clock ({films, seconds} of this call's training steps, checks left out).
        Raises: SettingError when the loss is no longer a number; Cancelled when `progress` says so.
        """
        torch = torchbox.torch()
        self._new_optimiser()
        self._resume()
        forward = torch.compile(self.model) if self.settings.compile else self.model
        clock = {"films": 0, "seconds": 0.0}
        total = torch.zeros((), device=self.device)
        ready = ahead(
            training_batches(self.phases, self.state["step"], self.settings.batch, self.images, self.seed, self.device)
        )
        devices = [torch.device(self.device)] if self.device.startswith("cuda") else []
        with torch.random.fork_rng(devices=devices), contextlib.closing(ready):
            while self.state["step"] < self.steps and not self._stopped():
                progress(self.state["step"], self.steps, f"step {self.state['step']} of {self.steps}")
                began = time.perf_counter()
                batch = next(ready)
                total += self._step(forward, *batch)
                self.state["step"] += 1
                self.state["since"] += 1
                check = self.state["step"] % self.settings.check_every == 0 or self.state["step"] == self.steps
                if check:
                    self.state["loss"] = total.item()  # waits for the GPU, so the clock below is right
                    total.zero_()
                clock["films"] += len(batch[0])
                clock["seconds"] += time.perf_counter() - began
                if check:
                    self._check()
        self.model.load_state_dict(self.best_weights)
        progress(self.steps, self.steps, "trained")
        names = ("step", "train_loss", "validation_auprc", "validation_loss")
        return {
            "best_step": self.state["best_step"],
            "steps": self.state["step"],
            "validation_auprc": self.state["best"][0],
            "validation_loss": self.state["best"][1],
            "log": [dict(zip(names, check)) for check in self.state["log"]],
            "clock": clock,
        }

    def _phase(self, step: int) -> tuple[int, int]:
        """(which phase a step is in, its first step)."""
        first = 0
        for number, phase in enumerate(self.phases):
            if step < first + phase.steps:
                return number, first
            first += phase.steps
        return len(self.phases) - 1, first - self.phases[-1].steps

    def _new_optimiser(self) -> None:
        self.optimiser = torchbox.torch().optim.AdamW(self.model.parameters(), lr=self.settings.lr, fused=True)
        self.average = _copy(self.model.state_dict()) if self.settings.ema else None

    def _step(self, forward: Any, films: Any, y: Any, known: Any) -> Any:
        """One optimiser step; returns the loss, which stays on the device."""
        torch = torchbox.torch()
        step = self.state["step"]
        number, first = self._phase(step)
        if step == first and number:
            self._new_optimiser()
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.settings, step - first, self.phases[number].steps)
        # dropout, stochastic depth
        torch.manual_seed(int(np.random.default_rng([self.seed, 1, step]).integers(2**31)))
        x = augment(films.float().unsqueeze(1), np.random.default_rng([self.seed, 2, step]))
        self.model.train()
        with torchbox.autocast(self.device):
            logits = forward(x)
        loss = masked_bce(logits, y, known)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        if self.average is not None:
            with torch.no_grad():
                for name, tensor in self.model.state_dict().items():
                    kept = self.average[name]
                    if tensor.is_floating_point():
                        kept.lerp_(tensor, 1 - self.settings.ema)
                    else:
                        kept.copy_(tensor)
        return loss.detach()

    def _stopped(self) -> bool:
        return bool(self.settings.patience) and self.state["worse"] >= self.settings.patience

    def _check(self) -> None:
        """Score the validate films (in the last phase), keep the best weights, write the checkpoint."""
        state = self.state
        loss, state["loss"] = state["loss"] / state["since"], 0.0
        state["since"] = 0
        if not math.isfinite(loss):
            raise SettingError(
                f"lr = {self.settings.lr!r} made the loss {loss} by step {state['step']}.", "Use a lower learning rate."
            )
        last = len(self.phases) - 1
        if self._phase(state["step"] - 1)[0] == last:
            weights = _copy(self.model.state_dict())
            if self.average is not None:
                self.model.load_state_dict(self.average)
            score = validation_score(self._validate(), self.validation)
            if better(score, state["best"]):
                state["best"], state["best_step"], state["worse"] = list(score), state["step"], 0
                self.best_weights = _copy(self.model.state_dict())
            else:
                state["worse"] += 1
            if self.average is not None:
                self.model.load_state_dict(weights)
            state["log"].append([state["step"], loss, *score])
        self._save()

    def _validate(self) -> np.ndarray:
        return predict(self.model, self.validation.ids, self.images, self.settings.batch, self.device)

    def _save(self) -> None:
        content = {
            "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "average": self.average,
            "best_weights": self.best_weights, "state": json.dumps(self.state),
        }  # fmt: skip
        with atomic_write(self.folder / CHECKPOINT) as stream:
            torchbox.torch().save(content, stream)

    def _resume(self) -> None:
        saved = self.folder / CHECKPOINT
        if not saved.exists():
            return
        kept = torchbox.torch().load(saved, map_location=self.device, weights_only=True)
        self.model.load_state_dict(kept["model"])
        self.optimiser.load_state_dict(kept["optimiser"])
        self.average, self.best_weights = kept["average"], kept["best_weights"]
        self.state = json.loads(kept["state"])
