"""How good are the edits? Measured on the phantom, where the true counterfactual of every film is known.

    python benchmarks/counterfactual.py --films 16 [--editor FOLDER] [--judge FOLDER] [--grid edits.png] [--json]
    python benchmarks/counterfactual.py --films 4 --generator cars,baselines

For each finding, films of fresh phantom persons (never seen in training) with it are to lose it, and films without it
are to get it where the true finding lies, since an insertion is told its region. Only sources on which the judge sees
what is drawn count, as `plan` screens them. Every generator gets the same films, ROIs, judge, gates, and at most three
attempts. Shown for each are the shares, with Wilson's 95% interval, of edits that flip the judge, of shams that do, of
clean flips (no other finding changes sides, from surely absent to surely present or back; "strict": none crosses its
threshold; beside them the shares that the true counterfactual reaches) and of edits that pass every gate; against the
true counterfactual PSNR and SSIM inside and outside the ROI beside those of the unedited source, Dice of lungs and
heart, the error of the cardiothoracic ratio, and where the change landed. No vector says how severe a finding is to be.
So an insertion, and beside it its unedited source, is held against the true counterfactual of that severity which the
edit resembles most, out of SEVERITIES and the one drawn at first; "as drawn" keeps to the first. Several generators are
compared in a table at the end.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cars.gates import collateral, passed, unconcerned
from cars.generators import GENERATORS, modes_of, offered
from cars.imaging import save_png, square
from cars.phantom import FilmSpec, draw_finding, render, sample_anatomy, sample_film, with_finding, without_finding
from cars.schema import EDITABLE, FINDINGS
from cars.segmenters import HEART, SEGMENTERS, ctr, dice, grow
from cars.synth.data import SEGMENT_SIZE, fitted
from cars.synth.editing import Models, Outcome, Source, edit_films, margin
from cars.synth.judge import Judge
from cars.synth.roi import roi_for
from cars.synth.settings import SynthSettings

SIZE = 256
SEED = 777_000
#: What is counted of the edits of one finding and direction.
COUNTS = (
    "n", "untrusted", "flip", "sham", "truth_flip", "clean", "truth_clean", "strict", "truth_strict",
    "anatomy", "passed", "inverted",
)  # fmt: skip
#: What is averaged over them, where it is defined.
MEANS = (
    "db", "db_source", "db_drawn", "db_source_drawn", "db_outside",
    "ssim", "ssim_source", "ssim_outside", "lung_dice", "heart_dice", "ctr_error",
    "landed", "landed_truth", "distance", "collateral", "moved", "moved_truth",
)  # fmt: skip
#: Of the true counterfactuals that an insertion is compared with.
SEVERITIES = (0.2, 0.4, 0.6, 0.8, 1.0)
#: The place of these follows from anatomy and side, and `roi_for` finds it; the others are inserted `around` theirs.
PLACED = ("Cardiomegaly", "Edema", "Pleural Effusion", "Pneumothorax")
Z = 1.96


@dataclass
class Case:
    """A source to edit, its true counterfactual as drawn, films uint8 (SIZE, SIZE), and the recipes of those of other
    severities. place: where the finding truly lies, bool (SIZE, SIZE)."""

    source: Source
    truth: np.ndarray
    place: np.ndarray
    others: tuple[FilmSpec, ...] = ()

    @cached_property
    def truths(self) -> list[np.ndarray]:
        """The true counterfactual as drawn, and those of the other severities."""
        return [self.truth, *(render(spec, SIZE, masks=False).image for spec in self.others)]

    def nearest(self, edited: np.ndarray, roi: np.ndarray) -> int:
        """Which of `truths` an edit resembles most inside its ROI."""
        return int(np.argmin([((edited.astype(float) - t)[roi] ** 2).mean() for t in self.truths]))

    def place_of(self, truth: int) -> np.ndarray:
        """Where the finding lies in one of `truths`."""
        (finding,) = self.source.changes
        return render(self.others[truth - 1], SIZE).finding_masks[finding] if truth else self.place


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share."""
    if n == 0:
        return 0.0, 1.0
    p = k / n
    middle, half = p + Z * Z / (2 * n), Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + Z * Z / n)), min(1.0, (middle + half) / (1 + Z * Z / n))


def bootstrap(values: Sequence[float], resamples: int = 2000) -> tuple[float, float, float, int]:
    """Mean, its 95% percentile bootstrap interval, and n, of the values that are defined."""
    known = np.array([v for v in values if not math.isnan(v)])
    if not known.size:
        return math.nan, math.nan, math.nan, 0
    draws = known[np.random.default_rng(0).integers(0, known.size, (resamples, known.size))].mean(axis=1)
    return float(known.mean()), *(float(q) for q in np.quantile(draws, [0.025, 0.975])), int(known.size)


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 films inside a region, dB."""
    error = float(((a.astype(float) - b.astype(float))[where] ** 2).mean())
    return 10 * math.log10(255**2 / max(error, 1e-3))


def ssim(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004) of two uint8 films, the map averaged over a region."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(a, b, data_range=255, full=True)[1][where].mean())


def landing(change: np.ndarray, place: np.ndarray, true_change: np.ndarray) -> tuple[float, float, float]:
    """Where a change lies: its share in the finding's own place (grown by 2% of the side), that of the true change, and
    the distance of their centroids as a share of the side. change, true_change: (H, W) ≥ 0; NaN where there is none."""
    if not change.any() or not true_change.any():
        return math.nan, math.nan, math.nan
    grown = grow(place, 0.02 * place.shape[1])
    grid = np.indices(change.shape)
    centres = [(grid * c).sum((1, 2)) / c.sum() for c in (change, true_change)]
    shares = [float(c[grown].sum() / c.sum()) for c in (change, true_change)]
    return *shares, float(np.linalg.norm(centres[0] - centres[1]) / change.shape[1])


def case(finding: str, direction: str, number: int) -> Case:
    """A source to edit and its true counterfactual, both at SIZE pixels."""
    rng = np.random.default_rng([SEED, FINDINGS.index(finding), direction == "insert", number])
    sex, age = str(rng.choice(["F", "M"])), int(rng.integers(18, 92))
    anatomy = sample_anatomy(rng, sex, age)
    view = str(rng.choice(["PA", "AP"]))
    bare = sample_film(rng, anatomy, view)
    severity, state = float(rng.uniform(0.4, 1.0)), copy.deepcopy(rng)
    drawn = draw_finding(rng, finding, anatomy, severity=severity)
    ill = with_finding(bare, drawn)
    spec, truth = (ill, without_finding(ill, finding)) if direction == "delete" else (bare, ill)
    films = {id(s): render(s, SIZE, masks=s is ill) for s in (spec, truth)}
    place = films[id(ill)].finding_masks[finding]
    labels = {f: int(f in spec.findings) for f in FINDINGS}
    roi, others = None, ()
    if direction == "insert":
        # the same draws with another severity: the finding lies at the same place
        others = tuple(
            with_finding(bare, draw_finding(copy.deepcopy(state), finding, anatomy, severity=s)) for s in SEVERITIES
        )
        masks = render(bare, SEGMENT_SIZE, masks=False).masks
        side = drawn.side if drawn.side in ("left", "right") else None
        roi = roi_for(finding, direction, masks, rng, side=side) if finding in PLACED else around(place, masks)
        if drawn.side == "both" and finding == "Pleural Effusion":
            for each in ("left", "right"):
                roi |= roi_for(finding, direction, masks, rng, side=each)
    changes = {finding: direction}
    source = Source(films[id(spec)].image, labels, changes, view, sex, float(age), number, roi)
    return Case(source, films[id(truth)].image, place, others)


def around(place: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The ellipse about a finding's place, cut to the lungs and a margin: bool (128, 128), as a reader would mark it.

    place: bool (H, W). Its half axes are 2.2 standard deviations of the place along each axis, where a filled ellipse
    has 2, and 8% of the lungs' height (added as squares), which makes a nodule's region as large as `roi_for` does.
    """
    small = fitted(place, SEGMENT_SIZE) if place.shape[0] != SEGMENT_SIZE else place
    y, x = np.nonzero(small if small.any() else fitted(place.astype(np.float32), SEGMENT_SIZE) > 0)
    lungs = masks[0] | masks[1]
    height = np.ptp(np.flatnonzero(lungs.any(axis=1)))
    spread = np.cov(np.stack([y, x])) * 2.2**2 + (0.08 * height) ** 2 * np.eye(2)
    grid = np.indices(small.shape) - np.array([y.mean(), x.mean()])[:, None, None]
    inside = np.einsum("iyx,ij,jyx->yx", grid, np.linalg.inv(spread), grid) <= 1
    return inside & grow(lungs, 0.04 * height)


def measure(
    generators: dict[str, Any], models: Models, settings: SynthSettings, films: int, findings: list[str]
) -> tuple[list[dict], list[np.ndarray]]:
    """One row a generator, finding and direction, and strips of a few films: source with its ROI, edit, sham, truth.

    Twice as many films are drawn as are edited, since the judge must see the source as it is.
    """
    rows, strips = [], []
    for finding in findings:
        for direction in ("insert", "delete"):
            cases = [case(finding, direction, n) for n in range(2 * films)]
            kept = [c for c in cases if _seen(models.judge, c.source)][:films]
            for name, generator in generators.items():
                own = replace(models, generator=generator)
                # what has no inversion may inpaint three times, so that nobody has more tries than the cars editor
                tries = settings if "inversion" in modes_of(generator) else replace(settings, seeds=3)
                outcomes = edit_films([c.source for c in kept], own, tries) if kept else []
                row = summarise(finding, direction, kept, outcomes, own)
                rows.append({"generator": name, **row, "screened": len(cases)})
                made = [(c, o) for c, o in zip(kept, outcomes) if o.error is None]
                strips += [_strip(*each) for each in made[:3]]
                say(rows[-1])
    return rows, strips


def _seen(judge: Judge, source: Source) -> bool:
    """Whether the judge sees the source as it is before the edit."""
    probabilities = judge.probabilities(square(source.film, judge.size)[None])[0]
    turned = {f: "delete" if d == "insert" else "insert" for f, d in source.changes.items()}
    return margin(probabilities, judge.thresholds, turned) >= 0


def summarise(finding: str, direction: str, kept: list[Case], outcomes: list[Outcome], models: Models) -> dict:
    """Counts of COUNTS, and for each of MEANS all values ("values") and their mean, of one finding and direction."""
    judge, counts, values = models.judge, defaultdict(int), defaultdict(list)
    outside = 0.0
    for c, o in zip(kept, outcomes):
        if o.error is not None:
            counts["untrusted"] += 1
            continue
        source, gates = c.source, {g.measure: g.value for g in o.gates}
        films = (source.film, o.edited, o.sham, c.truth)
        before, *seen = judge.probabilities(np.stack([square(film, judge.size) for film in films]))
        flip, sham, true = (margin(p, judge.thresholds, source.changes) >= 0 for p in seen)
        crossed = [collateral(before, p, judge.sure, source.changes) for p in seen]
        at_threshold = np.stack([judge.thresholds] * 2, axis=1)
        strictly = [collateral(before, p, at_threshold, source.changes) for p in seen]
        others = unconcerned(source.changes, judge.thresholds)
        counts["n"] += 1
        counts["flip"] += flip
        counts["sham"] += sham
        counts["truth_flip"] += true
        counts["truth_clean"] += true and crossed[2] == 0
        counts["clean"] += flip and crossed[0] == 0
        counts["truth_strict"] += true and strictly[2] == 0
        counts["strict"] += flip and strictly[0] == 0
        counts["anatomy"] += passed(o.gates, "anatomy")
        counts["passed"] += o.passed
        counts["inverted"] += o.mode == "inversion"
        outside = max(outside, gates["greatest change outside the ROI"])
        found = {"collateral": float(crossed[0])}
        found |= {k: float(np.abs(p - before)[others].max()) for k, p in (("moved", seen[0]), ("moved_truth", seen[2]))}
        found |= against_truth(c, o, models.segmenter)
        for name in MEANS:
            values[name].append(found.get(name, math.nan))
    means = {name: bootstrap(values[name])[0] for name in MEANS}
    return {
        "finding": finding, "direction": direction, "outside": outside, **means,
        **{k: int(counts[k]) for k in COUNTS}, "values": {name: values[name] for name in MEANS},
    }  # fmt: skip


def against_truth(c: Case, o: Outcome, segmenter: Any) -> dict[str, float]:
    """The edit against the true counterfactual: those of MEANS that need one."""
    source, edited, roi = c.source.film, o.edited, o.roi
    which = c.nearest(edited, roi)
    truth = c.truths[which]
    masks = segmenter.masks(np.stack([square(film, segmenter.size) for film in (edited, truth)])).masks
    lungs = [dice(masks[0][organ], masks[1][organ]) for organ in range(3) if organ != HEART]
    change, true_change = (np.abs(film.astype(float) - source) for film in (edited, truth))
    landed, landed_truth, distance = landing(change, c.place_of(which), true_change)
    return {
        "db": psnr(edited, truth, roi), "db_source": psnr(source, truth, roi), "db_outside": psnr(edited, truth, ~roi),
        "db_drawn": psnr(edited, c.truth, roi), "db_source_drawn": psnr(source, c.truth, roi),
        "ssim": ssim(edited, truth, roi), "ssim_source": ssim(source, truth, roi),
        "ssim_outside": ssim(edited, truth, ~roi), "lung_dice": float(np.mean(lungs)),
        "heart_dice": dice(masks[0][HEART], masks[1][HEART]), "ctr_error": abs(ctr(masks[0]) - ctr(masks[1])),
        "landed": landed, "landed_truth": landed_truth, "distance": distance,
    }  # fmt: skip


def _strip(c: Case, outcome: Outcome) -> np.ndarray:
    edge = outcome.roi ^ np.pad(outcome.roi, 1)[2:, 2:][:SIZE, :SIZE]
    framed = np.where(edge, 255, c.source.film).astype(np.uint8)
    return np.concatenate([framed, outcome.edited, outcome.sham, c.truth], axis=1)


def say(row: dict) -> None:
    def share(name: str) -> str:
        low, high = wilson(row[name], row["n"])
        return f"{row[name] / max(1, row['n']):4.2f} [{low:.2f}, {high:.2f}]"

    print(
        f"{row['generator']:14} {row['finding']:18} {row['direction']:6} n={row['n']:3} flip {share('flip')} "
        f"sham {share('sham')} clean {share('clean')} (truth {share('truth_clean')[:4]}) passed {share('passed')} "
        f"inside {row['db']:5.1f} dB (source {row['db_source']:5.1f}) outside {row['outside']:.0f}",
        file=sys.stderr,
        flush=True,
    )


def compared(rows: list[dict]) -> dict[str, dict[str, dict]]:
    """Generator → direction → figure → {value, low, high, n}, over all findings. Shares carry Wilson's interval."""
    table: dict[str, dict[str, dict]] = {}
    for name in dict.fromkeys(r["generator"] for r in rows):
        for direction in ("insert", "delete"):
            cells = [r for r in rows if (r["generator"], r["direction"]) == (name, direction)]
            n = sum(r["n"] for r in cells)
            figures = {}
            for count in ("flip", "sham", "clean", "truth_clean", "strict", "truth_strict", "anatomy", "passed"):
                k = sum(r[count] for r in cells)
                low, high = wilson(k, n)
                figures[count] = {"value": k / n if n else math.nan, "low": low, "high": high, "n": n}
            for mean in MEANS:
                value, low, high, known = bootstrap([v for r in cells for v in r["values"][mean]])
                figures[mean] = {"value": value, "low": low, "high": high, "n": known}
            gain = [e - s for r in cells for e, s in zip(r["values"]["db"], r["values"]["db_source"])]
            figures["gain"] = dict(zip(("value", "low", "high", "n"), bootstrap(gain)))
            drawn = [e - s for r in cells for e, s in zip(r["values"]["db_drawn"], r["values"]["db_source_drawn"])]
            figures["gain_drawn"] = dict(zip(("value", "low", "high", "n"), bootstrap(drawn)))
            figures["outside"] = {"value": max((r["outside"] for r in cells), default=math.nan), "n": n}
            table.setdefault(name, {})[direction] = figures
    return table


def paired(rows: list[dict], ours: str, other: str, direction: str) -> dict:
    """By how many dB ours comes closer to the truth than another generator on the same films: value, low, high, n.

    The truth is the one drawn, since each edit resembles a severity of its own.
    """
    by_name = {
        name: [
            v for r in rows if (r["generator"], r["direction"]) == (name, direction) for v in r["values"]["db_drawn"]
        ]
        for name in (ours, other)
    }
    difference = [a - b for a, b in zip(by_name[ours], by_name[other], strict=True)]
    return dict(zip(("value", "low", "high", "n"), bootstrap(difference)))


#: Heading → figure of `compared` and its digits, for the table in docs/synthesis.md.
COLUMNS = {
    "flip": ("flip", 2), "sham": ("sham", 2), "passed": ("passed", 2), "clean": ("clean", 2),
    "dB gain in ROI": ("gain", 1), "as drawn": ("gain_drawn", 1),
    "SSIM in ROI": ("ssim", 3), "lung Dice": ("lung_dice", 3),
    "heart Dice": ("heart_dice", 3), "CTR error": ("ctr_error", 3), "landed": ("landed", 2), "off by": ("distance", 3),
    "collateral": ("collateral", 2),
}  # fmt: skip


def markdown(table: dict[str, dict[str, dict]]) -> str:
    """The comparison as a Markdown table; each cell with its 95% interval."""

    def cell(figure: dict, digits: int) -> str:
        if not figure["n"] or math.isnan(figure["value"]):
            return "–"
        return f"{figure['value']:.{digits}f} [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"

    lines = ["| generator | edit | n | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 3) + "|"]
    for direction in ("insert", "delete"):
        for name, figures in table.items():
            found = figures[direction]
            cells = [cell(found[key], digits) for key, digits in COLUMNS.values()]
            lines.append(f"| {name} | {direction} | {found['flip']['n']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def flat(rows: list[dict]) -> list[dict]:
    """The rows that every benchmark prints: what, ours, reference, ratio, unit.

    Ours is the first generator. Its reference is its sham, its unedited source, and each other generator.
    """
    table = []

    def add(what: str, ours: float, reference: float | None, unit: str) -> None:
        if not math.isnan(ours):
            ratio = ours / reference if reference else None
            table.append({"what": what, "ours": ours, "reference": reference, "ratio": ratio, "unit": unit})

    first = rows[0]["generator"]
    for r in (r for r in rows if r["generator"] == first):
        n, what = max(1, r["n"]), f"{r['direction']} {r['finding']} (n = {r['n']})"
        add(f"{what}: judge flips, edit against sham", r["flip"] / n, r["sham"] / n, "share")
        add(f"{what}: PSNR in the ROI, edit against unedited source", r["db"], r["db_source"], "dB")
        add(f"{what}: passes all gates", r["passed"] / n, None, "share")
    summary = compared(rows)
    for name in (name for name in summary if name != first):
        for direction in ("insert", "delete"):
            ours, theirs = summary[first][direction], summary[name][direction]
            for figure, unit in (("passed", "share"), ("gain", "dB"), ("ssim", "SSIM"), ("collateral", "findings")):
                what = f"{direction}, all findings (n = {ours[figure]['n']}): {figure}, {first} against {name}"
                add(what, ours[figure]["value"], theirs[figure]["value"], unit)
            closer = paired(rows, first, name, direction)
            what = f"{direction}, all findings (n = {closer['n']}): dB closer to the truth than {name}, same films"
            add(f"{what} [{closer['low']:.1f}, {closer['high']:.1f}]", closer["value"], 0.0, "dB")
    return table


def clean(value: Any) -> Any:
    """NaN as null, so that any JSON reader takes it."""
    if isinstance(value, dict):
        return {k: clean(v) for k, v in value.items()}
    if isinstance(value, list):
        return [clean(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=16, help="films per finding and direction")
    parser.add_argument("--generator", default="cars", help="registered names, by commas, ours first; or baselines")
    parser.add_argument("--editor", type=Path, help="an editor's folder; default: the packaged one")
    parser.add_argument("--judge", type=Path, help="a judge's folder; default: the packaged one")
    parser.add_argument("--mode", default="auto", choices=("auto", "inversion", "inpaint"))
    parser.add_argument("--guidance", type=float, default=SynthSettings().guidance)
    parser.add_argument("--findings", default=",".join(EDITABLE), help="only these, separated by commas")
    parser.add_argument("--grid", type=Path, help="write source, edit, sham and truth of a few films here (PNG)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    generators = {}
    names = options.generator.replace("baselines", ",".join(sorted(set(GENERATORS) - set(offered())))).split(",")
    for name in names:
        kind = GENERATORS.get(name)
        folder = {"generator": options.editor, "judge": options.judge}.get(getattr(kind, "uses", None))
        generators[name] = (kind(folder) if folder else kind()).load("cpu")
    first = next(iter(generators.values()))
    models = Models(first, SEGMENTERS.get("cars")().load("cpu"), Judge.load(options.judge))
    settings = SynthSettings(mode=options.mode, guidance=options.guidance)
    rows, strips = measure(generators, models, settings, options.films, options.findings.split(","))
    if options.grid:
        save_png(options.grid, np.concatenate(strips))
    if len(generators) > 1:
        print(markdown(compared(rows)), file=sys.stderr)
        ours, *others = generators
        for name, direction in ((name, d) for d in ("insert", "delete") for name in others):
            gap = "{value:+.1f} dB [{low:.1f}, {high:.1f}], n = {n}".format(**paired(rows, ours, name, direction))
            print(f"{direction}: {ours} closer to the truth than {name} by {gap}", file=sys.stderr)
    if options.json:
        revisions = {name: generator.revision for name, generator in generators.items()}
        about = {"generators": revisions, "judge": models.judge.revision, "films": options.films, "seed": SEED}
        told = {"name": "counterfactual", "rows": flat(rows), "about": about, "summary": compared(rows), "cells": rows}
        print(json.dumps(clean(told)))


if __name__ == "__main__":
    main()
