"""Make data/weights/judge: the command that made the shipped judge.

    python data/weights/train_judge.py --minutes 35 [--patients 11000] [--out FOLDER]

Phantom films only, one or two of each patient; an eighth of the patients are for validation. A first film carries none
to three findings. For seven patients in ten a second film is the same but for one finding more or less, so that the
judge learns the finding and not what tends to come with it. Where each finding lies is taught on a coarse map.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cars import phantom
from cars.nets.judge import CELLS, SIZES, torch
from cars.schema import FINDINGS, HIERARCHY
from cars.synth.judge import Judge
from cars.synth.judge_training import train_judge

#: Seeds the persons, apart from those of tests and benchmarks.
POPULATION = 1000


def codes(spec: phantom.FilmSpec) -> list[int]:
    """The 14 codes of a film: present or absent, since the phantom knows."""
    return [int(finding in spec.findings) for finding in FINDINGS]


def cells(film: phantom.Film) -> np.ndarray:
    """The share of each of 8 × 8 cells of a film that each finding covers, in 1/255, rounded up: uint8 (14, 8, 8)."""
    shares = np.zeros((len(FINDINGS), CELLS, CELLS), np.uint8)
    for finding, mask in film.finding_masks.items():
        side = mask.shape[0] // CELLS
        # axes: cell row, row in the cell, cell column, column in the cell
        share = np.ceil(255 * mask.reshape(CELLS, side, CELLS, side).mean((1, 3)))
        for name in (finding, *(parent for parent, children in HIERARCHY.items() if finding in children)):
            row = FINDINGS.index(name)
            shares[row] = np.maximum(shares[row], share.astype(np.uint8))
    return shares


def films_of(patient: int, size: int, seed: int) -> list[tuple[np.ndarray, list[int], int, np.ndarray]]:
    """One or two films of a patient: pixels, codes, the patient's number, and the findings' places."""
    rng = np.random.default_rng([seed, patient])
    anatomy = phantom.sample_anatomy(rng, "FM"[int(rng.integers(2))], int(rng.integers(18, 92)))
    spec = phantom.sample_film(rng, anatomy, "PA" if rng.random() < 0.6 else "AP")
    chosen = [str(f) for f in rng.permutation(phantom.DRAWABLE)[: int(rng.integers(0, 4))]]
    for finding in chosen:
        spec = phantom.with_finding(spec, phantom.draw_finding(rng, finding, anatomy))
    specs = [spec]
    if rng.random() < 0.7:
        other = str(rng.choice(phantom.DRAWABLE))
        if other in chosen:
            specs.append(phantom.without_finding(spec, other))
        else:
            specs.append(phantom.with_finding(spec, phantom.draw_finding(rng, other, anatomy)))
    films = [(spec, phantom.render(spec, size)) for spec in specs]
    return [(film.image, codes(spec), patient, cells(film)) for spec, film in films]


def phantom_films(patients: int, size: int, seed: int) -> tuple[np.ndarray, ...]:
    """Films uint8 (N, S, S), codes int8 (N, 14), the patient of each (N,) and places uint8 (N, 14, 8, 8)."""
    with ProcessPoolExecutor() as pool:
        films = [f for made in pool.map(partial(films_of, size=size, seed=seed), range(patients), chunksize=100)
                 for f in made]  # fmt: skip
    images, labels, owner, places = zip(*films, strict=True)
    return np.stack(images), np.array(labels, dtype=np.int8), np.array(owner), np.stack(places)


def history(judge: Judge) -> str:
    """What a judge was trained on, its own start included."""
    run = f"{judge.config['train_films']} films, {judge.config['epochs_done']} epochs, {judge.config['seconds']:.0f} s"
    before = judge.config["about"].get("earlier_runs")
    return f"{before}; then {run}" if before else run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=35.0)
    parser.add_argument("--patients", type=int, default=11_000)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=Path, help="a judge's folder to go on from")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "judge")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images, labels, owner, places = phantom_films(options.patients, SIZES["small"], POPULATION)
    validation = owner % 8 == 0

    def show(done: int, total: int, message: str = "") -> None:
        if done % 50 == 0:
            print(f"{done}/{total} {message}", flush=True)

    start = Judge.load(options.start, "cpu") if options.start else None
    earlier = {"earlier_runs": history(start)} if start else {}
    folder = train_judge(
        images, labels, validation, options.out,
        minutes=options.minutes, seed=options.seed, device="cpu", progress=show,
        start=start, places=places,
        about={
            "data": f"{len(images)} phantom films (cars.phantom, synthetic) of {options.patients} patients; "
            "no real film was used, so train a judge on your own films before editing real ones",
            "made_by": "data/weights/train_judge.py",
            **earlier,
        },
    )  # fmt: skip
    for finding, value in Judge.load(folder).auroc.items():
        print(f"{finding:28s} {value:.3f}")


if __name__ == "__main__":
    main()
