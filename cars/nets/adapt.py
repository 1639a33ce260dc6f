"""Fine-tuning an encoder on labels, so that its features tell findings apart: short, light, and safe to kill.

Everything random follows from (seed, epoch, step), and a checkpoint is written after each epoch, so a training that was
killed goes on to the same weights. What it may look at is the caller's business; `cars.embed` passes train patients to
learn from and validate patients to stop by, and nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SettingError
from ..progress import Progress
from ..torchbox import autocast
from ..torchbox import torch as load_torch
from ..workspace import atomic_write

torch = load_torch()

#: Shift as a share of the side, zoom, contrast, and brightness as a share of 255. No mirror image: it would put the
#: heart on the right, which no film in the index shows.
SHIFT, ZOOM, CONTRAST, BRIGHTNESS = 0.05, 0.08, 0.15, 0.08


@dataclass(frozen=True)
class Recipe:
    """How an encoder is adapted. lr is the head's; the body learns at lr × body_lr.

    mixup: the Beta parameter of mixup (Zhang et al. 2017, arXiv 1710.09412), 0 for none. ema: decay per step of the
    averaged weights, which are the ones that are kept. positive_power: a finding's positives weigh
    (negatives / positives) ** positive_power.
    """

    epochs: int = 8
    batch: int = 32
    lr: float = 1e-3
    body_lr: float = 0.3
    decay: float = 0.05
    mixup: float = 0.4
    ema: float = 0.98
    positive_power: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Labelled:
    """Films with labels. y: (N, K) float32, 0 or 1. known: (N, K) float32, 1 where y counts."""

    ids: Sequence[str]
    y: np.ndarray
    known: np.ndarray


def adapt(
    net: Any,
    training: Labelled,
    validation: Labelled,
    images: Callable[[Sequence[str]], np.ndarray],
    score: Callable[[np.ndarray, Labelled], float],
    recipe: Recipe,
    checkpoint: Path,
    device: str,
    progress: Progress,
) -> list[dict[str, float]]:
    """Train `net` (encoder.FilmNet) and leave it with the averaged weights of its best epoch.

    Args:
        images: film ids → uint8 (B, S, S).
        score: (logits (N, K), validation) → the figure to stop by, higher is better; NaN counts as the worst.
        checkpoint: written after each epoch, read when it is there, left for the caller to remove.

    Returns: a row per epoch: epoch, loss, score, best.
    Raises: SettingError when the loss is no longer a number; Cancelled when `progress` says so.
    """
    net.to(device)
    head = {id(p) for p in net.head.parameters()}
    groups = [
        {"params": [p for p in net.parameters() if id(p) in head], "peak": recipe.lr},
        {"params": [p for p in net.parameters() if id(p) not in head], "peak": recipe.lr * recipe.body_lr},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=recipe.decay)
    average = {name: value.detach().clone() for name, value in net.state_dict().items()}
    best, log = {name: value.clone() for name, value in average.items()}, []
    if checkpoint.exists():
        kept = torch.load(checkpoint, map_location=device, weights_only=True)
        net.load_state_dict(kept["net"])
        optimiser.load_state_dict(kept["optimiser"])
        average, best, log = kept["average"], kept["best"], json.loads(kept["log"])
    weight = torch.from_numpy(_positive_weight(training, recipe.positive_power)).to(device)
    steps = max(1, len(training.ids) // recipe.batch)
    with torch.random.fork_rng(devices=[torch.device(device)] if device.startswith("cuda") else []):
        for epoch in range(len(log), recipe.epochs):
            rng = np.random.default_rng([recipe.seed, epoch])
            torch.manual_seed(int(rng.integers(2**31)))  # dropout and stochastic depth
            order, total = rng.permutation(len(training.ids)), 0.0
            net.train()
            for step in range(steps):
                _set_rates(optimiser, epoch * steps + step, recipe.epochs * steps)
                rows = order[step * recipe.batch : (step + 1) * recipe.batch]
                x, y, known = _batch(training, rows, images, rng, recipe.mixup, device)
                with autocast(device):
                    logits = net(x)
                loss = _loss(logits, y, known, weight)
                if not torch.isfinite(loss):
                    raise SettingError(f"The loss became {loss.item()} in epoch {epoch}.", "Use a lower learning rate.")
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimiser.step()
                _into_average(average, net, recipe.ema, epoch * steps + step)
                total += float(loss.detach())
                progress(epoch * steps + step + 1, recipe.epochs * steps, f"adapting, epoch {epoch + 1}")
            value = _score_of(net, average, validation, images, score, recipe.batch, device)
            earlier = [row["score"] for row in log if not math.isnan(row["score"])]
            # where no epoch could be scored, the last one is kept
            is_best = not earlier or value > max(earlier)
            if is_best:
                best = {name: tensor.clone() for name, tensor in average.items()}
            log.append({"epoch": epoch + 1, "loss": total / steps, "score": value, "best": is_best})
            state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "average": average, "best": best}
            with atomic_write(checkpoint) as stream:
                torch.save({**state, "log": json.dumps(log)}, stream)
    net.load_state_dict(best)
    return log


def augment(films: Any, rng: np.random.Generator) -> Any:
    """Small shifts, zooms, and changes of contrast and brightness; float (B, 1, S, S) in [0, 255], same out."""
    n = len(films)
    theta = np.zeros((n, 2, 3), np.float32)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 + rng.uniform(-ZOOM, ZOOM, n)
    theta[:, :, 2] = rng.uniform(-2 * SHIFT, 2 * SHIFT, (n, 2))  # the grid runs from -1 to 1: twice the share
    grid = torch.nn.functional.affine_grid(
        torch.from_numpy(theta).to(films.device), list(films.shape), align_corners=False
    )
    moved = torch.nn.functional.grid_sample(films, grid, align_corners=False, padding_mode="zeros")
    contrast = torch.from_numpy(1 + rng.uniform(-CONTRAST, CONTRAST, (n, 1, 1, 1)).astype(np.float32))
    offset = torch.from_numpy(255 * rng.uniform(-BRIGHTNESS, BRIGHTNESS, (n, 1, 1, 1)).astype(np.float32))
    return ((moved - 128) * contrast.to(films.device) + 128 + offset.to(films.device)).clamp(0, 255)


def _batch(
    training: Labelled, rows: np.ndarray, images: Any, rng: np.random.Generator, mixup: float, device: str
) -> tuple[Any, Any, Any]:
    films = torch.from_numpy(images([training.ids[row] for row in rows])).to(device).float()[:, None]
    films = augment(films, rng)
    y, known = (torch.from_numpy(a[rows]).to(device) for a in (training.y, training.known))
    if mixup:
        share = float(rng.beta(mixup, mixup))
        other = torch.from_numpy(rng.permutation(len(rows))).to(device)
        films, y = share * films + (1 - share) * films[other], share * y + (1 - share) * y[other]
        known = known * known[other]
    return films, y, known


def _positive_weight(training: Labelled, power: float) -> np.ndarray:
    """(K,) float32: (negatives / positives) ** power, within 1 to 10."""
    positives = (training.y * training.known).sum(axis=0)
    negatives = ((1 - training.y) * training.known).sum(axis=0)
    return np.clip((negatives / np.maximum(positives, 1)) ** power, 1, 10).astype(np.float32)


def _loss(logits: Any, y: Any, known: Any, weight: Any) -> Any:
    """Mean binary cross-entropy over the known labels, positives weighted; 0 when none is known."""
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), y, pos_weight=weight, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def _set_rates(optimiser: Any, step: int, total: int) -> None:
    """A tenth of the way up linearly, the rest down to zero along a cosine."""
    warm = max(1, total // 10)
    share = (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * share


def _into_average(average: dict[str, Any], net: Any, decay: float, step: int) -> None:
    decay = min(decay, (1 + step) / (10 + step))  # the first steps would else keep the weights of the start
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                average[name].mul_(decay).add_(value, alpha=1 - decay)
            else:
                average[name].copy_(value)


def _score_of(
    net: Any, average: dict[str, Any], validation: Labelled, images: Any, score: Any, batch: int, device: str
) -> float:
    """The score of the averaged weights; the network's own come back afterwards."""
    own = {name: value.detach().clone() for name, value in net.state_dict().items()}
    net.load_state_dict(average)
    logits = predict(net, validation.ids, images, batch, device)
    net.load_state_dict(own)
    return float(score(logits, validation))


def predict(net: Any, ids: Sequence[str], images: Any, batch: int, device: str) -> np.ndarray:
    """Logits (N, K) float32 of films, the network in evaluation mode."""
    net.eval()
    parts = [np.zeros((0, net.head.out_features), np.float32)]
    with torch.inference_mode(), autocast(device):
        for start in range(0, len(ids), batch):
            films = torch.from_numpy(images(ids[start : start + batch])).to(device).float()[:, None]
            parts.append(net(films).float().cpu().numpy())
    return np.concatenate(parts)
