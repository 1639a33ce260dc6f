"""Training a judge: masked binary cross-entropy with a heavier weight for what is small or rare, resumable by epoch."""

from __future__ import annotations

import io
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..nets.judge import SIZES, build, to_input, torch
from ..progress import Progress, silent
from ..provenance import code_version, digest, file_digest
from ..schema import FINDINGS
from ..torchbox import autocast
from ..torchbox import device as choose_device
from ..workspace import atomic_write, write_json, write_text
from .judge import LEAST_TRAIN, Judge, targets, validated

__all__ = ["SIZES", "train_judge"]

F = torch.nn.functional

#: Extra weight in the loss of findings that cover few pixels, which a network otherwise learns last.
SMALL = {"Lung Lesion": 6.0, "Support Devices": 3.0, "Fracture": 3.0, "Pleural Other": 3.0, "Atelectasis": 1.5}
#: Weights a positive film up to this much where positives are rare.
MOST_POSITIVE_WEIGHT = 8.0
#: How a network that starts from ImageNet is trained: its body learns slower than its new head, its positives weigh
#: (negatives / positives) to this power, and small findings weigh no more than others, for a few hundred real films
#: hold too few of them to be worth the noise. Compared on validation patients only (docs/synthesis.md).
BODY_RATE, POSITIVE_POWER = 0.3, 0.5
#: Weight of the places in the loss; how much a cell with a finding weighs; the share of a cell that counts as in it.
PLACE_WEIGHT, PLACE_POSITIVE, LEAST_SHARE = 2.0, 6.0, 0.02
#: Decay per step of the averaged weights, which are the ones that are kept.
EMA = 0.98
#: An epoch, after which a checkpoint is written, has at most this many films.
EPOCH_FILMS = 4096


def changed(x: Any, generator: Any, places: Any = None) -> tuple[Any, Any]:
    """Mild random changes of (B, 1, S, S) films in [-1, 1]: turn, zoom, shift, exposure, contrast, noise, blur.

    places: (B, 14, C, C) shares of coarse cells, turned and shifted with the films, or None. Returns: films and places.
    """
    n = len(x)

    def uniform(low: float, high: float, *shape: int) -> Any:
        return (low + (high - low) * torch.rand(n, *shape, generator=generator)).to(x.device)

    turn, zoom = uniform(-0.09, 0.09), torch.exp(uniform(-0.12, 0.12))
    theta = torch.zeros(n, 2, 3, device=x.device)
    theta[:, 0, 0], theta[:, 0, 1] = zoom * torch.cos(turn), -zoom * torch.sin(turn)
    theta[:, 1, 0], theta[:, 1, 1] = zoom * torch.sin(turn), zoom * torch.cos(turn)
    theta[:, :, 2] = uniform(-0.08, 0.08, 2)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, align_corners=False, padding_mode="border")
    if places is not None:
        coarse = F.affine_grid(theta, list(places.shape), align_corners=False)
        places = F.grid_sample(places, coarse, align_corners=False)
    x = ((x + 1) / 2).clamp(1e-4, 1) ** torch.exp(uniform(-0.25, 0.25, 1, 1, 1)) * 2 - 1
    x = x * uniform(0.8, 1.2, 1, 1, 1) + uniform(-0.12, 0.12, 1, 1, 1)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    # an edited film is a little smoother inside its ROI; a judge must not take sharpness for health
    x = x + uniform(-0.4, 0.7, 1, 1, 1) * (blurred - x)
    return x + uniform(0, 0.04, 1, 1, 1) * torch.randn(x.shape, generator=generator).to(x.device), places


def train_judge(
    images: np.ndarray,
    labels: np.ndarray,
    validation: np.ndarray,
    folder: Path,
    *,
    arch: str = "small",
    minutes: float | None = None,
    epochs: int | None = None,
    seed: int = 0,
    batch: int = 32,
    rate: float | None = None,
    device: str = "auto",
    start: Judge | None = None,
    places: np.ndarray | None = None,
    about: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> Path:
    """Train a judge and save it in `folder`; a complete folder of the same inputs is returned as it is.

    A checkpoint is written after each epoch and an interrupted training goes on from it. With `epochs` alone the result
    does not depend on the interruption; with `minutes` the time already spent counts.

    Args:
        images: (N, S, S) uint8 films. labels: (N, 14) int8 finding codes. validation: (N,) bool, films that choose
            the thresholds and the epoch that is kept, and never enter the loss. The caller sees to it that no patient
            is on both sides.
        minutes, epochs: the training ends at whichever comes first; at least one must be given.
        start: a judge of the same architecture to go on from; None starts from random (small) or ImageNet weights.
        places: (N, 14, 8, 8) uint8, the share of each coarse cell of the film that each finding covers, in 1/255; only
            architecture "small" learns from it.
        about: entries for config.json and the card: where the films come from.

    Raises: DataError when shapes disagree, one side is empty, or no finding has enough positives and negatives.
    """
    n = len(images)
    if labels.shape != (n, len(FINDINGS)) or validation.shape != (n,) or images.dtype != np.uint8:
        raise DataError(
            f"images {images.dtype} {images.shape}, labels {labels.shape}, validation {validation.shape} do not fit.",
            "Pass uint8 (N, S, S), int8 (N, 14) and bool (N,).",
        )
    if not minutes and not epochs:
        raise DataError("A training needs an end.", "Give minutes or epochs.")
    target, counts = targets(labels)
    train = np.flatnonzero(~validation)
    positives = (target[train] * counts[train]).sum(axis=0)
    negatives = ((1 - target[train]) * counts[train]).sum(axis=0)
    trained = (positives >= LEAST_TRAIN) & (negatives >= LEAST_TRAIN)
    if not trained.any() or not validation.any():
        raise DataError(
            f"No finding has {LEAST_TRAIN} positive and {LEAST_TRAIN} negative films to train a judge on.",
            "Ingest more films.",
        )
    folder = Path(folder)
    pretrained = arch != "small"
    rate = rate or (1e-3 if pretrained else 2e-3)
    if start and start.config["arch"] != arch:
        raise DataError(f"A judge {arch!r} cannot start from one of {start.config['arch']!r}.", "Pass one of its kind.")
    settings = {
        "arch": arch, "minutes": minutes, "epochs": epochs, "seed": seed, "batch": batch, "rate": rate,
        "start": start.revision if start else None, "ema": EMA, "body_rate": BODY_RATE if pretrained else 1.0,
        "places": places is not None,
    }  # fmt: skip
    # a digest of every film would read them all twice; labels, sides and a sample of pixels tell two inputs apart
    sample = images[:: max(1, n // 64), ::7, ::7].tobytes().hex()
    key = digest(settings, labels.tolist(), validation.tolist(), sample)
    if (folder / "config.json").is_file() and f'"inputs": "{key}"' in (folder / "config.json").read_text("utf-8"):
        return folder
    net = build_seeded(arch, seed)
    if start:
        net.load_state_dict(start.net.state_dict())
    run = _Run(net, SIZES[arch], choose_device(device), rate, seed, folder / "checkpoint.pt", key)
    run.restore()
    rarity = (negatives / np.maximum(positives, 1)) ** (POSITIVE_POWER if pretrained else 1.0)
    weight = torch.tensor(np.clip(rarity, 1, MOST_POSITIVE_WEIGHT), dtype=torch.float32)
    small = {} if pretrained else SMALL
    scale = torch.tensor([small.get(f, 1.0) * t for f, t in zip(FINDINGS, trained, strict=True)], dtype=torch.float32)
    held = np.flatnonzero(validation)
    while not run.ended(minutes, epochs):
        run.epoch(images, target, counts, places, train, batch, weight, scale, minutes, epochs, progress)
        probability = run.predict(images[held])
        run.keep(validated(probability, labels[held], trained))
        run.save()
    run.average = run.best
    run.net.load_state_dict(run.best)
    result = validated(run.predict(images[held]), labels[held], trained)
    if not result:
        raise DataError(
            "No finding has enough positive and negative validation films to choose a threshold.", "Ingest more films."
        )
    config = {
        "arch": arch, "size": SIZES[arch], "findings": list(FINDINGS), "settings": settings, "inputs": key,
        "validation": result, "train_films": len(train), "validation_films": len(held), "epochs_done": run.done,
        "seconds": round(run.seconds, 1), "loss": run.losses, "code_version": code_version(), "about": about or {},
    }  # fmt: skip
    return _write(folder, run.net, config)


def _place_loss(where: Any, lies: Any, mask: Any) -> Any:
    """Cross-entropy of (B, 14, C, C) cell logits; a cell with a finding weighs as much as PLACE_POSITIVE others."""
    loss = F.binary_cross_entropy_with_logits(
        where, (lies > LEAST_SHARE).float(), pos_weight=where.new_tensor(PLACE_POSITIVE), reduction="none"
    )
    return (loss.mean(dim=(2, 3)) * mask).sum() / mask.sum().clamp(min=1)


def _groups(net: Any) -> list[dict[str, Any]]:
    """The optimiser's groups: `part` is the share of the rate that each learns at."""
    head = getattr(getattr(net, "net", None), "classifier", None)
    if head is None:
        return [{"params": list(net.parameters()), "part": 1.0}]
    new = {id(p) for p in head.parameters()}
    return [
        {"params": [p for p in net.parameters() if id(p) in new], "part": 1.0},
        {"params": [p for p in net.parameters() if id(p) not in new], "part": BODY_RATE},
    ]


def build_seeded(arch: str, seed: int) -> Any:
    """The network, its random start decided by the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(arch, pretrained=True)


class _Run:
    """The state of a training: network, optimizer, best weights so far, losses, time spent."""

    def __init__(self, net: Any, size: int, device: str, rate: float, seed: int, file: Path, key: str) -> None:
        self.size, self.device, self.file, self.key, self.rate, self.seed = size, device, file, key, rate, seed
        self.net = net.to(device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(_groups(net), lr=rate, weight_decay=0.02)
        #: the moving average of the weights and buffers: what is scored and kept
        self.average = {name: value.detach().clone() for name, value in net.state_dict().items()}
        self.steps = 0
        self.best: dict[str, Any] = {}
        self.score, self.seconds, self.done = -1.0, 0.0, 0
        self.losses: list[float] = []

    def restore(self) -> None:
        """Go on from the checkpoint when there is one of the same inputs."""
        if not self.file.is_file():
            return
        state = torch.load(self.file, map_location=self.device, weights_only=True)
        if state["key"] != self.key:
            return
        self.net.load_state_dict(state["net"])
        self.average, self.steps = state["average"], state["steps"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.score, self.losses = state["best"], state["score"], state["losses"]
        self.seconds, self.done = state["seconds"], state["done"]

    def save(self) -> None:
        stream = io.BytesIO()
        torch.save(
            {
                "key": self.key, "net": self.net.state_dict(), "average": self.average, "steps": self.steps,
                "optimizer": self.optimizer.state_dict(),
                "best": self.best, "score": self.score, "losses": self.losses,
                "seconds": self.seconds, "done": self.done,
            },
            stream,
        )  # fmt: skip
        with atomic_write(self.file) as file:
            file.write(stream.getvalue())

    def share(self, extra: float, part: float, minutes: float | None, epochs: int | None) -> float:
        """How much of the training is over, in [0, 1]: extra seconds and a part of an epoch beyond what is counted."""
        by_time = (self.seconds + extra) / (60 * minutes) if minutes else 0.0
        by_epoch = (self.done + part) / epochs if epochs else 0.0
        return min(1.0, max(by_time, by_epoch))

    def ended(self, minutes: float | None, epochs: int | None) -> bool:
        return self.done > 0 and self.share(0.0, 0.0, minutes, epochs) >= 1

    def epoch(
        self, images: np.ndarray, target: np.ndarray, counts: np.ndarray, places: np.ndarray | None,
        train: np.ndarray, batch: int,
        weight: Any, scale: Any, minutes: float | None, epochs: int | None, progress: Progress,
    ) -> None:  # fmt: skip
        """One pass over the training films, EPOCH_FILMS of them at most, cut short when the time is over."""
        start = time.monotonic()
        # seeded by the epoch, so that a resumed training draws what an unbroken one draws
        order = np.random.default_rng((self.seed, self.done)).permutation(train)[:EPOCH_FILMS]
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.done)
        weight, scale = weight.to(self.device), scale.to(self.device)
        losses = []
        self.net.train()
        for first in range(0, len(order), batch):
            over = self.share(time.monotonic() - start, first / len(order), minutes, epochs)
            if over >= 1:
                break
            rate = self.rate * min(1.0, 15 * over + 0.05) * 0.5 * (1 + math.cos(math.pi * over))
            for group in self.optimizer.param_groups:
                group["lr"] = group["part"] * rate
            rows = order[first : first + batch]
            lies = None if places is None else torch.from_numpy(places[rows]).to(self.device).float() / 255
            x, lies = changed(to_input(images[rows], self.size, self.device), generator, lies)
            y = torch.from_numpy(target[rows]).to(self.device)
            mask = torch.from_numpy(counts[rows]).to(self.device) * scale
            with autocast(self.device), torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(rows[0]))  # dropout's draw, the same in a resumed training
                x = x.contiguous(memory_format=torch.channels_last)
                logits, where = (self.net(x), None) if lies is None else self.net.located(x)
            loss = F.binary_cross_entropy_with_logits(logits.float(), y, pos_weight=weight, reduction="none")
            loss = (loss * mask).sum() / mask.sum().clamp(min=1)
            if where is not None:
                loss = loss + PLACE_WEIGHT * _place_loss(where.float(), lies, mask)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimizer.step()
            self._into_average()
            losses.append(float(loss.detach()))
            progress(round(1000 * over), 1000, f"judge: epoch {self.done + 1}, loss {np.mean(losses[-50:]):.3f}")
        self.seconds += time.monotonic() - start
        self.losses.append(round(float(np.mean(losses)), 5) if losses else float("nan"))
        self.done += 1

    def predict(self, images: np.ndarray) -> np.ndarray:
        """(N, 14) probabilities of the averaged weights; the network's own come back afterwards."""
        own = {name: value.detach().clone() for name, value in self.net.state_dict().items()}
        self.net.load_state_dict(self.average)
        self.net.eval()
        with torch.inference_mode():
            parts = [
                torch.sigmoid(self.net(to_input(images[k : k + 64], self.size, self.device)).float()).cpu().numpy()
                for k in range(0, len(images), 64)
            ]
        self.net.load_state_dict(own)
        return np.concatenate(parts)

    def _into_average(self) -> None:
        decay = min(EMA, (1 + self.steps) / (10 + self.steps))  # the first steps would else keep the start's weights
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)
                else:
                    self.average[name].copy_(value)
        self.steps += 1

    def keep(self, result: dict[str, dict[str, Any]]) -> None:
        """Remember the weights when the mean AUROC on the validation films is the best so far."""
        score = float(np.mean([entry["auroc"] for entry in result.values()])) if result else 0.0
        if score > self.score or not self.best:
            self.score = score
            self.best = {name: value.detach().cpu().clone() for name, value in self.average.items()}


def _write(folder: Path, net: Any, config: dict[str, Any]) -> Path:
    """Weights as float16, the card, then config.json, whose presence says that the folder is complete."""
    from safetensors.torch import save

    weights = folder / "model.safetensors"
    (folder / "config.json").unlink(missing_ok=True)
    state = {
        name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in net.state_dict().items()
    }
    with atomic_write(weights) as stream:
        stream.write(save(state))
    write_text(folder / "README.md", card(config))
    write_json(folder / "config.json", {**config, "weights_sha256": file_digest(weights)})
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return folder


def card(config: dict[str, Any]) -> str:
    """The model card: what it was trained on, how, and what it scores."""
    rows = [
        f"| {finding} | {entry['auroc']:.3f} | {entry['threshold']:.3f} | {entry['positives']} / {entry['n']} |"
        for finding, entry in config["validation"].items()
    ]
    missing = [finding for finding in FINDINGS if finding not in config["validation"]]
    about = [f"- {name.replace('_', ' ')}: {value}" for name, value in config["about"].items()]
    lines = [
        f"# Judge: {config['arch']}, {config['size']} × {config['size']}",
        "",
        "A classifier of chest-radiograph findings that decides whether a synthetic edit took. It is none of the",
        "backbones under test, and it is not for clinical use. Uncertain labels do not count; a finding that is not",
        "mentioned counts as absent.",
        "",
        *about,
        f"- {config['train_films']} training films, {config['validation_films']} validation films, "
        f"{config['epochs_done']} epochs, {config['seconds']:.0f} s, seed {config['settings']['seed']}, "
        f"start: {config['settings']['start'] or 'from no other judge'}",
        f"- not judged, for want of films: {', '.join(missing) or 'none'}",
        "",
        "The thresholds and the epoch were chosen on the validation films that give these AUROC, which are a little",
        "hopeful for it. The threshold is that of the greatest sensitivity + specificity.",
        "",
        "| finding | AUROC | threshold | positives / films |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines)
