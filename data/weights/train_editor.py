"""Make the editor that comes with CARS: data/weights/editor, trained on phantom films only.

    python data/weights/train_editor.py --work /some/folder --minutes 60

Films, checkpoint and loss log lie in --work; run it again to go on.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

from cars.nets.concept_unet import ConceptUNet, load, save, torch
from cars.phantom import render
from cars.provenance import code_version, digest, file_digest
from cars.synth.data import EditorData, phantom_data
from cars.synth.training import Budget, Trainer
from cars.workspace import write_text

HERE = Path(__file__).resolve().parent
log = logging.getLogger("train_editor")
_said = [0.0]

CARD = """# The editor "cars"

A {parameters:.2f} M-parameter diffusion UNet at 64 px (`cars.nets.concept_unet.ConceptUNet`) that inserts and
deletes CheXpert findings inside a region of a frontal chest film. Licence: Apache-2.0, like CARS.

**Data.** {films} phantom films (`cars.synth.data.phantom_data`, seed {seed}); no patient's film was used, and it has
never seen a real one. On a real data set run `cars train-generator` first: it starts from these weights.

**Training.** Start: {start}. {steps} optimiser steps of {batch} films, {minutes:.0f} minutes on {threads} CPU thread(s)
of a busy machine; AdamW, v-prediction, min-SNR weights. Saved is the moving average of the weights, as float16. Last
mean loss {loss:.4f}.

**Made by** `data/weights/train_editor.py`, code {code}, on {date}.

**Results.** `python benchmarks/counterfactual.py` measures it against the phantom's true counterfactuals;
docs/synthesis.md has the table.

**Not for** diagnosis, nor for films that are not frontal chest radiographs.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for films, checkpoint, log and grids")
    parser.add_argument("--out", type=Path, default=HERE / "editor", help="where the finished editor is saved")
    parser.add_argument("--films", type=int, default=6000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=7e-4)
    parser.add_argument("--seed", type=int, default=20_000)
    parser.add_argument("--start", type=Path, help="an editor's folder to start from")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    look = digest([file_digest(p) for p in sorted(Path(render.__code__.co_filename).parent.glob("*.py"))], length=8)
    stored = options.work / f"films-{options.films}-{options.seed}-{look}.npz"
    if not stored.exists():
        data = phantom_data(options.films, 64, options.seed, progress=_say)
        stored.parent.mkdir(parents=True, exist_ok=True)
        data.save(stored.with_suffix(".tmp.npz"))
        stored.with_suffix(".tmp.npz").rename(stored)
    data = EditorData.read(stored)
    torch.manual_seed(options.seed)
    net = load(options.start)[0].train() if options.start else ConceptUNet(64)
    trainer = Trainer(net, data, options.batch, options.rate, options.seed)
    checkpoint = options.work / "checkpoint.pt"
    if checkpoint.exists():
        trainer.restore(checkpoint)
        log.info("going on from step %d", trainer.step)
    trainer.run(Budget(seconds=60 * options.minutes), checkpoint, _say, lambda t: _log_losses(t, options.work))
    card = CARD.format(
        parameters=sum(p.numel() for p in net.parameters()) / 1e6, films=len(data), seed=options.seed,
        batch=options.batch, start=_start(options.start), steps=trainer.step, minutes=trainer.seconds / 60,
        threads=options.threads, loss=trainer.losses[-1][1],
        code=code_version(), date=time.strftime("%Y-%m-%d"),
    )  # fmt: skip
    save(trainer.ema, options.out, card, trained_on="phantom", films=len(data), steps=trainer.step, seed=options.seed)
    log.info("saved %s", options.out)


def _start(folder: Path | None) -> str:
    if folder is None:
        return "random weights"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return f"an earlier run of this script ({config['steps']} steps on {config['films']} films, seed {config['seed']})"


def _say(done: int, total: int, message: str) -> None:
    if done in (0, total) or time.monotonic() - _said[0] > 20:
        _said[0] = time.monotonic()
        log.info("%d/%d %s", done, total, message)


def _log_losses(trainer: Trainer, folder: Path) -> None:
    write_text(folder / "losses.csv", "step,loss\n" + "".join(f"{s},{loss:.6f}\n" for s, loss in trainer.losses))


if __name__ == "__main__":
    main()
