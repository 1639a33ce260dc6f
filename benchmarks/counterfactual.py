"""How good are the edits? Measured on the phantom, where the true counterfactual of every film is known.

    python benchmarks/counterfactual.py --films 16 [--editor FOLDER] [--judge FOLDER] [--grid edits.png] [--json]

For each finding, films of fresh phantom persons (never seen in training) with it are to lose it, and films without it
are to get it. Only sources on which the judge sees what is drawn count, as `plan` screens them. Shown are the shares,
with Wilson's 95% interval, of edits that flip the judge, of shams that do, of clean flips (nothing else crosses its
threshold; beside it the share that the true counterfactual reaches) and of edits that pass every gate; and, where
there is one truth, the PSNR inside the ROI against the true counterfactual beside that of the unedited source.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cars.gates import collateral, passed
from cars.generators.cars_unet import CarsGenerator
from cars.imaging import save_png, square
from cars.phantom import draw_finding, render, sample_anatomy, sample_film, with_finding, without_finding
from cars.schema import EDITABLE, FINDINGS
from cars.segmenters import SEGMENTERS
from cars.synth.data import SEGMENT_SIZE
from cars.synth.editing import Models, Outcome, Source, edit_films, margin
from cars.synth.judge import Judge
from cars.synth.roi import roi_for
from cars.synth.settings import SynthSettings

SIZE = 256
SEED = 777_000
#: What is counted of the edits of one finding and direction.
COUNTS = (
    "n", "untrusted", "flip", "sham", "truth_flip", "clean", "truth_clean", "anatomy", "passed", "inverted",
)  # fmt: skip
#: The place of these follows from anatomy and side; the others may lie anywhere, so an insertion has no one truth.
PLACED = ("Cardiomegaly", "Edema", "Pleural Effusion", "Pneumothorax")


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share."""
    if n == 0:
        return 0.0, 1.0
    z, p = 1.96, k / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 films inside a region, dB."""
    error = float(((a.astype(float) - b.astype(float))[where] ** 2).mean())
    return 10 * math.log10(255**2 / max(error, 1e-3))


def case(finding: str, direction: str, number: int) -> tuple[Source, np.ndarray]:
    """A source to edit and its true counterfactual, both at SIZE pixels."""
    rng = np.random.default_rng([SEED, FINDINGS.index(finding), direction == "insert", number])
    sex, age = str(rng.choice(["F", "M"])), int(rng.integers(18, 92))
    anatomy = sample_anatomy(rng, sex, age)
    view = str(rng.choice(["PA", "AP"]))
    bare = sample_film(rng, anatomy, view)
    drawn = draw_finding(rng, finding, anatomy, severity=float(rng.uniform(0.4, 1.0)))
    ill = with_finding(bare, drawn)
    spec, truth = (ill, without_finding(ill, finding)) if direction == "delete" else (bare, ill)
    film = render(spec, SIZE, masks=False)
    labels = {f: int(f in spec.findings) for f in FINDINGS}
    roi = None
    if direction == "insert":
        side = drawn.side if drawn.side in ("left", "right") else None
        masks = render(bare, SEGMENT_SIZE, masks=False).masks
        roi = roi_for(finding, direction, masks, rng, side=side)
        if drawn.side == "both" and finding == "Pleural Effusion":
            for each in ("left", "right"):
                roi |= roi_for(finding, direction, masks, rng, side=each)
    changes = {finding: direction}
    source = Source(film.image, labels, changes, view, sex, float(age), number, roi)
    return source, render(truth, SIZE, masks=False).image


def measure(
    models: Models, settings: SynthSettings, films: int, tries: int, findings: list[str]
) -> tuple[list[dict], list[np.ndarray]]:
    """One row a finding and direction, and strips of a few films each: source with its ROI, edit, sham, truth."""
    rows, strips = [], []
    for finding in findings:
        for direction in ("insert", "delete"):
            cases = [case(finding, direction, n) for n in range(tries)]
            kept = [c for c in cases if _seen(models.judge, c[0])][:films]
            outcomes = edit_films([source for source, _ in kept], models, settings) if kept else []
            rows.append(summarise(finding, direction, kept, outcomes, models.judge) | {"screened": len(cases)})
            made = [(s, o, truth) for (s, truth), o in zip(kept, outcomes) if o.error is None]
            strips += [_strip(*each) for each in made[:3]]
            say(rows[-1])
    return rows, strips


def _seen(judge: Judge, source: Source) -> bool:
    """Whether the judge sees the source as it is before the edit."""
    probabilities = judge.probabilities(square(source.film, judge.size)[None])[0]
    turned = {f: "delete" if d == "insert" else "insert" for f, d in source.changes.items()}
    return margin(probabilities, judge.thresholds, turned) >= 0


def summarise(
    finding: str, direction: str, kept: list[tuple[Source, np.ndarray]], outcomes: list[Outcome], judge: Judge
) -> dict:
    counts: dict[str, int] = defaultdict(int)
    decibels: list[tuple[float, float]] = []
    outside = 0.0
    for (source, truth), o in zip(kept, outcomes):
        if o.error is not None:
            counts["untrusted"] += 1
            continue
        values = {g.measure: g.value for g in o.gates}
        films = (source.film, o.edited, o.sham, truth)
        before, *seen = judge.probabilities(np.stack([square(film, judge.size) for film in films]))
        flip, sham, true = (margin(p, judge.thresholds, source.changes) >= 0 for p in seen)
        counts["truth_flip"] += true
        counts["truth_clean"] += true and collateral(before, seen[2], judge.thresholds, source.changes) == 0
        counts["n"] += 1
        counts["flip"] += flip
        counts["sham"] += sham
        counts["clean"] += flip and values["other findings that cross"] == 0
        counts["anatomy"] += passed(o.gates, "anatomy")
        counts["passed"] += o.passed
        counts["inverted"] += o.mode == "inversion"
        outside = max(outside, values["greatest change outside the ROI"])
        if direction == "delete" or finding in PLACED:
            decibels.append((psnr(o.edited, truth, o.roi), psnr(source.film, truth, o.roi)))
    edited, source_db = (float(np.mean(column)) for column in zip(*decibels)) if decibels else (math.nan, math.nan)
    return {
        "finding": finding, "direction": direction, "outside": outside, "db": edited, "db_source": source_db,
        **{k: int(counts[k]) for k in COUNTS},
    }  # fmt: skip


def _strip(source: Source, outcome: Outcome, truth: np.ndarray) -> np.ndarray:
    edge = outcome.roi ^ np.pad(outcome.roi, 1)[2:, 2:][: SIZE, : SIZE]
    framed = np.where(edge, 255, source.film).astype(np.uint8)
    return np.concatenate([framed, outcome.edited, outcome.sham, truth], axis=1)


def say(row: dict) -> None:
    def share(name: str) -> str:
        low, high = wilson(row[name], row["n"])
        return f"{row[name] / max(1, row['n']):4.2f} [{low:.2f}, {high:.2f}]"

    print(
        f"{row['finding']:18} {row['direction']:6} n={row['n']:3} flip {share('flip')} sham {share('sham')} "
        f"clean {share('clean')} (truth {share('truth_clean')[:4]}) passed {share('passed')} "
        f"inside {row['db']:5.1f} dB (source {row['db_source']:5.1f}) outside {row['outside']:.0f}",
        file=sys.stderr,
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=16, help="films per finding and direction")
    parser.add_argument("--editor", type=Path, help="an editor's folder; default: the packaged one")
    parser.add_argument("--judge", type=Path, help="a judge's folder; default: the packaged one")
    parser.add_argument("--mode", default="auto", choices=("auto", "inversion", "inpaint"))
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--findings", default=",".join(EDITABLE), help="only these, separated by commas")
    parser.add_argument("--grid", type=Path, help="write source, edit, sham and truth of a few films here (PNG)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    generator, segmenter = CarsGenerator(options.editor).load("cpu"), SEGMENTERS.get("cars")().load("cpu")
    models = Models(generator, segmenter, Judge.load(options.judge))
    settings = SynthSettings(mode=options.mode, guidance=options.guidance)
    rows, strips = measure(models, settings, options.films, 2 * options.films, options.findings.split(","))
    if options.grid:
        save_png(options.grid, np.concatenate(strips))
    if options.json:
        print(json.dumps({"name": "counterfactual", "rows": flat(rows), "cells": rows}))


def flat(rows: list[dict]) -> list[dict]:
    """The rows that every benchmark prints: what, ours, reference, ratio, unit."""
    table = []
    for r in rows:
        n = max(1, r["n"])
        what = f"{r['direction']} {r['finding']} (n = {r['n']})"
        pairs = [("judge flips, edit against sham", r["flip"] / n, r["sham"] / n, "share")]
        if not math.isnan(r["db"]):
            pairs.append(("PSNR in the ROI, edit against unedited source", r["db"], r["db_source"], "dB"))
        for name, ours, reference, unit in pairs:
            ratio = ours / reference if reference else None
            row = {"what": f"{what}: {name}", "ours": ours, "reference": reference, "ratio": ratio, "unit": unit}
            table.append(row)
        rate = {"ours": r["passed"] / n, "reference": None, "ratio": None, "unit": "share"}
        table.append({"what": f"{what}: passes all gates", **rate})
    return table


if __name__ == "__main__":
    main()
