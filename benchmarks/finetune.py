"""How fast do training and evaluation run, against a bare timm loop in the same run?

ours        cars.evaluate's trainer with all that it does: films read from the workspace's decoded cache, augmentation,
            masked loss, seeded dropout, progress; and its `predict`
reference   the shortest loop that trains the same network: batches that lie in memory already, as uint8 on the device,
            normalised, timm's model, binary cross-entropy, AdamW as PyTorch has it; no reading, no augmentation

Both take turns, round by round, the first of a round last in the next, so that other work on the machine hurts both
alike. Speeds are those of the best round; the ratio is the median of the rounds' own ratios, with the lowest and the
highest. On a CPU the seconds are processor seconds (of all threads, the reading one included); on a GPU they are by the
clock. `reading` is how many films per second the cache alone delivers: far above training, data loading is no
bottleneck.

    python benchmarks/finetune.py [--json] [--backbones small] [--size 64] [--batch 32] [--steps 6] [--rounds 3]
        [--threads 1] [--device auto] [--compile]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cars import torchbox
from cars.backbones import BACKBONES
from cars.evaluate.arms import Cases, Phase
from cars.evaluate.settings import BACKBONE_GROUPS, FinetuneSettings
from cars.evaluate.training import Trainer, predict
from cars.filmcache import FilmCache, film_cache
from cars.imaging import save_png
from cars.workspace import Workspace

#: Films in the made-up workspace, and steps that are not timed.
FILMS, WARM = 256, 2


def seconds(device: str) -> float:
    """Processor seconds on a CPU; seconds by the clock on a GPU, after its work is done."""
    if device == "cpu":
        return time.process_time()
    torchbox.torch().cuda.synchronize()
    return time.perf_counter()


def films(folder: Path, size: int) -> tuple[FilmCache, Cases]:
    """A cache of noisy films, and cases over them."""
    rng = np.random.default_rng(0)
    workspace, paths = Workspace.create(folder), {}
    for n in range(FILMS):
        paths[f"film{n}"] = folder / "source" / f"{n}.png"
        save_png(paths[f"film{n}"], rng.integers(0, 256, (size, size)).astype(np.uint8))
    rows = pd.DataFrame({"film_id": list(paths), "subject_id": list(paths), "path": "", "origin": "real"})
    y = (rng.random((FILMS, 14)) < 0.3).astype(np.float32)
    return film_cache(workspace, size, paths=paths, workers=1), Cases(rows, y, np.ones((FILMS, 14), dtype=bool))


def ours_training(name: str, cache: FilmCache, cases: Cases, args: argparse.Namespace) -> float:
    """Films per second of the trainer's steps, the last one (which checks) left out."""
    settings = FinetuneSettings(
        name, batch=args.batch, steps=WARM + args.steps + 1, check_every=10_000, compile=args.compile
    )
    model = BACKBONES.get(name).build(14, weights="random", in_size=args.size)
    marks: dict[int, float] = {}

    def mark(done: int, total: int, message: str = "") -> None:
        marks.setdefault(done, seconds(args.device))

    with tempfile.TemporaryDirectory() as folder:
        few = Cases(cases.rows.head(2), cases.y[:2], cases.known[:2])
        phases = (Phase(cases, settings.steps),)
        Trainer(model, Path(folder), phases, few, cache.images, settings, 0, args.device).run(mark)
    return args.steps * args.batch / (marks[WARM + args.steps] - marks[WARM])


def bare_model(name: str, args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """timm's model as it comes, and the mean and standard deviation of its films."""
    torch = torchbox.torch()
    import timm

    backbone = BACKBONES.get(name)
    architecture, options = backbone.architecture(args.size)
    model = timm.create_model(architecture, pretrained=False, num_classes=14, **options)
    model = model.to(args.device, memory_format=torch.channels_last)
    mean, std = (torch.tensor(v, device=args.device).view(1, 3, 1, 1) for v in (backbone.mean, backbone.std))
    return model, mean, std


def as_batch(part: Any, mean: Any, std: Any) -> Any:
    """uint8 (B, S, S) → normalised float (B, 3, S, S)."""
    x = (part[:, None].float() / 255 - mean) / std
    return x.contiguous(memory_format=torchbox.torch().channels_last)


def bare_training(name: str, held: Any, y: Any, args: argparse.Namespace) -> float:
    """Films per second of the shortest loop."""
    torch = torchbox.torch()
    model, mean, std = bare_model(name, args)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loss_of = torch.nn.BCEWithLogitsLoss()
    model.train()
    began = 0.0
    for step in range(WARM + args.steps):
        if step == WARM:
            began = seconds(args.device)
        first = step * args.batch % (FILMS - args.batch + 1)
        part = slice(first, first + args.batch)
        with torchbox.autocast(args.device):
            loss = loss_of(model(as_batch(held[part], mean, std)).float(), y[part])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return args.steps * args.batch / (seconds(args.device) - began)


def ours_evaluation(name: str, cache: FilmCache, cases: Cases, args: argparse.Namespace) -> float:
    model = BACKBONES.get(name).build(14, weights="random", in_size=args.size).to(args.device)
    predict(model, cases.ids[: args.batch], cache.images, args.batch, args.device)
    began = seconds(args.device)
    predict(model, cases.ids, cache.images, args.batch, args.device)
    return FILMS / (seconds(args.device) - began)


def bare_evaluation(name: str, held: Any, args: argparse.Namespace) -> float:
    torch = torchbox.torch()
    model, mean, std = bare_model(name, args)
    model.eval()
    with torch.inference_mode(), torchbox.autocast(args.device):
        model(as_batch(held[: args.batch], mean, std))
        began = seconds(args.device)
        found = [model(as_batch(part, mean, std)).float().cpu() for part in held.split(args.batch)]
        assert sum(len(f) for f in found) == FILMS
        return FILMS / (seconds(args.device) - began)


def in_turn(pair: Sequence[Callable[[], float]], number: int) -> list[float]:
    """What both give; the second one first in every other round."""
    order = (0, 1) if number % 2 == 0 else (1, 0)
    found = {which: pair[which]() for which in order}
    return [found[0], found[1]]


def reading(cache: FilmCache, cases: Cases, args: argparse.Namespace) -> float:
    ids, began = cases.ids, time.perf_counter()
    for start in range(0, FILMS, args.batch):
        cache.images(ids[start : start + args.batch])
    return FILMS / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--backbones", default="small")
    parser.add_argument("--device", default="auto")
    for name, value in (("size", 64), ("batch", 32), ("steps", 6), ("rounds", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    torch = torchbox.torch()
    torch.set_num_threads(args.threads)
    args.device = torchbox.device(args.device)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cache, cases = films(Path(folder) / "ws", args.size)
        held = torch.from_numpy(cache.images(cases.ids)).to(args.device)
        y = torch.from_numpy(cases.y).to(args.device)
        for name in (n for part in args.backbones.split(",") for n in BACKBONE_GROUPS.get(part, (part,))):
            pairs = {
                "training": (
                    partial(ours_training, name, cache, cases, args), partial(bare_training, name, held, y, args)
                ),
                "evaluation": (
                    partial(ours_evaluation, name, cache, cases, args), partial(bare_evaluation, name, held, args)
                ),
            }  # fmt: skip
            for what, pair in pairs.items():
                speeds = np.array([in_turn(pair, number) for number in range(args.rounds)])
                ratios = speeds[:, 0] / speeds[:, 1]
                ours, bare = speeds.max(axis=0).tolist()
                spread = [float(f(ratios)) for f in (np.median, np.min, np.max)]
                rows.append([f"{name}, {what}", ours, bare, *spread, "films/s"])
        speed = max(reading(cache, cases, args) for _ in range(3))
        rows.append(["reading from the cache", speed, None, None, None, None, "films/s"])
    if args.json:
        named = [dict(zip(("what", "ours", "reference", "ratio", "low", "high", "unit"), row)) for row in rows]
        print(json.dumps({"name": "finetune", "rows": named}))
        return
    print(f"{args.device}, {args.size} px, batch {args.batch}, {args.rounds} rounds of {args.steps} steps")
    print(f"{'':<36} {'ours':>9} {'bare':>9} {'ratio':>6} {'from':>6} {'to':>6}")
    for what, ours, *rest, unit in rows:
        bare, *ratios = (float("nan") if v is None else v for v in rest)
        print(f"{what:<36} {ours:>9,.0f} {bare:>9,.0f} {' '.join(f'{r:>6.2f}' for r in ratios)} {unit}")


if __name__ == "__main__":
    main()
