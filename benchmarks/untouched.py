"""How often does another finding change sides that an edit does not concern? Calibrates the gate "untouched".

    python benchmarks/untouched.py --films 8 [--editor FOLDER] [--judge FOLDER] [--json]

Printed are the shares, with Wilson's 95% interval, of sham edits (the ROI inpainted under an unchanged vector, which
asks for nothing), of edits and of true counterfactuals of the phantom in which the judge sees no other finding go from
surely absent to surely present or back, and of those in which none crosses its threshold; and the 95th percentile of
the greatest movement. A gate that the truth often fails must not be required.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from counterfactual import Case, _seen, case, wilson

from cars.gates import collateral, unconcerned
from cars.generators.cars_unet import CarsGenerator
from cars.imaging import square
from cars.schema import EDITABLE
from cars.segmenters import SEGMENTERS
from cars.synth.editing import Models, edit_films
from cars.synth.judge import Judge
from cars.synth.settings import SynthSettings

SHARE = 0.95


def movements(models: Models, films: int) -> dict[str, list[tuple[int, int, float]]]:
    """Of each sham, edit and true counterfactual: findings that change sides, that cross, and the greatest movement."""
    found: dict[str, list[tuple[int, int, float]]] = {"sham": [], "edit": [], "truth": []}
    judge = models.judge
    at_threshold = np.stack([judge.thresholds] * 2, axis=1)
    for finding in EDITABLE:
        for direction in ("insert", "delete"):
            cases = (case(finding, direction, 1000 + n) for n in range(2 * films))
            kept: list[Case] = [c for c in cases if _seen(judge, c.source)][:films]
            if not kept:
                continue
            settings = SynthSettings(mode="inpaint")
            for c, o in zip(kept, edit_films([c.source for c in kept], models, settings)):
                if o.error is not None:
                    continue
                images = [square(film, judge.size) for film in (c.source.film, o.sham, o.edited, c.truth)]
                before, *after = judge.probabilities(np.stack(images))
                changes = c.source.changes
                others = unconcerned(changes, judge.thresholds)
                for name, p in zip(found, after):
                    sides, crossings = (collateral(before, p, zone, changes) for zone in (judge.sure, at_threshold))
                    found[name].append((sides, crossings, float(np.abs(p - before)[others].max())))
            print(f"{direction} {finding}: {len(kept)} films", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=8, help="films per finding and direction")
    parser.add_argument("--editor", type=Path, help="an editor's folder; default: the packaged one")
    parser.add_argument("--judge", type=Path, help="a judge's folder; default: the packaged one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    segmenter = SEGMENTERS.get("cars")().load("cpu")
    found = movements(
        Models(CarsGenerator(options.editor).load("cpu"), segmenter, Judge.load(options.judge)), options.films
    )
    rows = []
    for name, values in found.items():
        n = len(values)
        for column, what in enumerate(("changes sides", "crosses its threshold")):
            k = sum(v[column] == 0 for v in values)
            low, high = wilson(k, n)
            told = f"{name} (n = {n}): no other finding {what}"
            rows.append({"what": told, "ours": k / n, "reference": None, "ratio": None, "unit": "share"})
            rows[-1] |= {"low": low, "high": high}
            print(f"{told}: {k / n:.2f} [{low:.2f}, {high:.2f}]", file=sys.stderr)
        limit = float(np.quantile([v[2] for v in values], SHARE))
        rows.append({"what": f"{name} (n = {n}): 95th percentile of the greatest movement", "ours": limit,
                     "reference": None, "ratio": None, "unit": "probability"})  # fmt: skip
        print(f"{name}: 95% move others by at most {limit:.2f}", file=sys.stderr)
    if options.json:
        print(json.dumps({"name": "untouched", "rows": rows, "movements": found}))


if __name__ == "__main__":
    main()
