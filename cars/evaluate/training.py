"""Training one unit: a backbone, an arm and a seed. It can be killed at any point and goes on to the same numbers.

Everything random is a function of (seed, step): the order of films, the augmentation, dropout. So a checkpoint holds
the network, the optimiser and the step, and needs no generator states.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import torchbox
from ..errors import SettingError
from ..metrics.auprc import auprc
from ..progress import Progress
from ..workspace import atomic_write
from .arms import Cases
from .calibration import log_loss, sigmoid
from .settings import FinetuneSettings

#: film ids → uint8 (B, S, S)
Images = Callable[[Sequence[str]], np.ndarray]
CHECKPOINT = "checkpoint.pt"
#: Light and label-preserving: no mirror image, which would move the heart to the other side.
ROTATION, SHIFT, ZOOM, CONTRAST, BRIGHTNESS = np.deg2rad(5), 0.04, 0.05, 0.1, 0.1


def batch_rows(films: int, batch: int, step: int, seed: int) -> np.ndarray:
    """The rows of a step's batch, int (batch,): each epoch is a permutation of all films, run through end to end."""
    positions = np.arange(step * batch, (step + 1) * batch)
    orders = {e: np.random.default_rng([seed, 0, e]).permutation(films) for e in (positions // films).tolist()}
    return np.array([orders[p // films][p % films] for p in positions.tolist()])


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


def as_input(films: np.ndarray, device: str) -> Any:
    """uint8 (B, S, S) → float32 tensor (B, 1, S, S) in [0, 255]; backbones normalise inside."""
    torch = torchbox.torch()
    return torch.from_numpy(films).to(device).float().unsqueeze(1)


def predict(model: Any, ids: Sequence[str], images: Images, batch: int, device: str) -> np.ndarray:
    """Logits of films, float32 (N, 14), the network in evaluation mode."""
    torch = torchbox.torch()
    model.eval()
    parts = [np.zeros((0, 14), dtype=np.float32)]
    with torch.inference_mode(), torchbox.autocast(device):
        for start in range(0, len(ids), batch):
            parts.append(model(as_input(images(ids[start : start + batch]), device)).float().cpu().numpy())
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


def train(
    model: Any,
    folder: Path,
    training: Cases,
    validation: Cases,
    images: Images,
    settings: FinetuneSettings,
    seed: int,
    device: str,
    progress: Progress,
) -> dict[str, Any]:
    """Train `model` for settings.steps steps and leave it with the weights of its best check on the validate films.

    A checkpoint is written to `folder` at every check, and read again when there is one.

    Returns: best_step, validation_auprc, validation_loss, log (a list of checks: step, train_loss, validation_auprc,
    validation_loss).
    Raises: SettingError when the loss is no longer a number; Cancelled when `progress` says so.
    """
    torch = torchbox.torch()
    model.to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.lr)
    state: dict[str, Any] = {"step": 0, "best_step": 0, "best": None, "log": [], "loss": 0.0, "since": 0}
    best_weights = None
    saved = folder / CHECKPOINT
    if saved.exists():
        kept = torch.load(saved, map_location=device, weights_only=True)
        model.load_state_dict(kept["model"])
        optimiser.load_state_dict(kept["optimiser"])
        best_weights, state = kept["best_weights"], json.loads(kept["state"])
    with torch.random.fork_rng(devices=[torch.device(device)] if device.startswith("cuda") else []):
        while state["step"] < settings.steps:
            step = state["step"]
            progress(step, settings.steps, f"step {step} of {settings.steps}")
            torch.manual_seed(int(np.random.default_rng([seed, 1, step]).integers(2**31)))  # dropout, stochastic depth
            rows = batch_rows(len(training), settings.batch, step, seed)
            films = as_input(images([training.ids[r] for r in rows]), device)
            films = augment(films, np.random.default_rng([seed, 2, step]))
            y = torch.from_numpy(training.y[rows]).to(device)
            known = torch.from_numpy(training.known[rows].astype(np.float32)).to(device)
            model.train()
            with torchbox.autocast(device):
                logits = model(films)
            loss = masked_bce(logits, y, known)
            if not torch.isfinite(loss):
                raise SettingError(
                    f"lr = {settings.lr!r} made the loss {loss.item()} at step {step}.", "Use a lower learning rate."
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            state["step"], state["since"], state["loss"] = step + 1, state["since"] + 1, state["loss"] + loss.item()
            if state["step"] % settings.check_every and state["step"] < settings.steps:
                continue
            score = validation_score(predict(model, validation.ids, images, settings.batch, device), validation)
            state["log"].append([state["step"], state["loss"] / state["since"], *score])
            state["loss"], state["since"] = 0.0, 0
            if better(score, state["best"]):
                state["best"], state["best_step"] = list(score), state["step"]
                best_weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            with atomic_write(saved) as stream:
                content = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
                torch.save({**content, "best_weights": best_weights, "state": json.dumps(state)}, stream)
    model.load_state_dict(best_weights)
    progress(settings.steps, settings.steps, "trained")
    names = ("step", "train_loss", "validation_auprc", "validation_loss")
    return {
        "best_step": state["best_step"],
        "validation_auprc": state["best"][0],
        "validation_loss": state["best"][1],
        "log": [dict(zip(names, check)) for check in state["log"]],
    }
