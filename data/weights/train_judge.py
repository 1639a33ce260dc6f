"""Make data/weights/judge: the command that made the shipped judge.

    python data/weights/train_judge.py --minutes 7 [--patients 5000] [--out FOLDER]

Phantom films only, one or two of each patient; a sixth of the patients are for validation. A first film carries none to
three findings. For six patients in ten a second film is the same but for one finding more or less, so that the judge
learns the finding and not what tends to come with it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cars import phantom
from cars.nets.judge import SIZES, torch
from cars.schema import FINDINGS
from cars.synth.judge import Judge
from cars.synth.judge_training import train_judge


def codes(spec: phantom.FilmSpec) -> list[int]:
    """The 14 codes of a film: present or absent, since the phantom knows."""
    return [int(finding in spec.findings) for finding in FINDINGS]


def phantom_films(patients: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Films uint8 (N, S, S), codes int8 (N, 14) and the patient of each film (N,), one or two films a patient."""
    rng = np.random.default_rng(seed)
    images, labels, owner = [], [], []
    for patient in range(patients):
        anatomy = phantom.sample_anatomy(rng, "FM"[int(rng.integers(2))], int(rng.integers(18, 92)))
        spec = phantom.sample_film(rng, anatomy, "PA" if rng.random() < 0.6 else "AP")
        chosen = [str(f) for f in rng.permutation(phantom.DRAWABLE)[: int(rng.integers(0, 4))]]
        for finding in chosen:
            spec = phantom.with_finding(spec, phantom.draw_finding(rng, finding, anatomy))
        specs = [spec]
        if rng.random() < 0.6:
            other = str(rng.choice(phantom.DRAWABLE))
            if other in chosen:
                specs.append(phantom.without_finding(spec, other))
            else:
                specs.append(phantom.with_finding(spec, phantom.draw_finding(rng, other, anatomy)))
        for each in specs:
            images.append(phantom.render(each, size, masks=False).image)
            labels.append(codes(each))
            owner.append(patient)
    return np.stack(images), np.array(labels, dtype=np.int8), np.array(owner)


def history(judge: Judge) -> str:
    """What a judge was trained on, its own start included."""
    run = f"{judge.config['train_films']} films, {judge.config['epochs_done']} epochs, {judge.config['seconds']:.0f} s"
    before = judge.config["about"].get("earlier_runs")
    return f"{before}; then {run}" if before else run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--patients", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--start", type=Path, help="a judge's folder to go on from")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "judge")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images, labels, owner = phantom_films(options.patients, SIZES["small"], options.seed)
    validation = owner % 6 == 0

    def show(done: int, total: int, message: str = "") -> None:
        if done % 50 == 0:
            print(f"{done}/{total} {message}", flush=True)

    start = Judge.load(options.start, "cpu") if options.start else None
    earlier = {"earlier_runs": history(start)} if start else {}
    folder = train_judge(
        images, labels, validation, options.out,
        minutes=options.minutes, seed=options.seed, device="cpu", progress=show,
        start=start,
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
