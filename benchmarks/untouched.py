"""How far do findings move that an edit does not concern? Calibrates the gate "untouched" on the phantom.

    python benchmarks/untouched.py --films 8 [--editor FOLDER] [--judge FOLDER] [--json]

Sham edits, the ROI inpainted under an unchanged vector, ask for nothing: they show what inpainting moves anyway.
Printed is the 95th percentile of the greatest movement of another finding over all shams, with its bootstrap interval,
which is the gate's default, and the share of edits and of true counterfactuals that stay below it, with Wilson's 95%
interval. A gate that the truth fails must not be required.
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

from cars.gates import unconcerned
from cars.gates.untouched import UntouchedGate
from cars.generators.cars_unet import CarsGenerator
from cars.imaging import square
from cars.schema import EDITABLE
from cars.segmenters import SEGMENTERS
from cars.synth.editing import Models, edit_films
from cars.synth.judge import Judge
from cars.synth.settings import SynthSettings

SHARE = 0.95


def movements(models: Models, films: int) -> dict[str, list[float]]:
    """The greatest movement of another finding, of each sham, edit and true counterfactual."""
    found: dict[str, list[float]] = {"sham": [], "edit": [], "truth": []}
    for finding in EDITABLE:
        for direction in ("insert", "delete"):
            cases = (case(finding, direction, 1000 + n) for n in range(2 * films))
            kept: list[Case] = [c for c in cases if _seen(models.judge, c.source)][:films]
            if not kept:
                continue
            settings = SynthSettings(mode="inpaint")
            for c, o in zip(kept, edit_films([c.source for c in kept], models, settings)):
                if o.error is not None:
                    continue
                images = [square(film, models.judge.size) for film in (c.source.film, o.sham, o.edited, c.truth)]
                before, *after = models.judge.probabilities(np.stack(images))
                others = unconcerned(c.source.changes, models.judge.thresholds)
                for name, p in zip(found, after):
                    found[name].append(float(np.abs(p - before)[others].max()))
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
    shams = np.array(found["sham"])
    limit = float(np.quantile(shams, SHARE))
    draws = shams[np.random.default_rng(0).integers(0, len(shams), (2000, len(shams)))]
    low, high = np.quantile(np.quantile(draws, SHARE, axis=1), [0.025, 0.975])
    rows = [
        {
            "what": f"95th percentile of the movement by a sham (n = {len(shams)})", "ours": limit,
            "reference": UntouchedGate().movement, "ratio": limit / UntouchedGate().movement, "unit": "probability",
            "low": float(low), "high": float(high),
        }
    ]  # fmt: skip
    for name in ("edit", "truth"):
        k, n = int((np.array(found[name]) <= limit).sum()), len(found[name])
        share = dict(zip(("low", "high"), wilson(k, n)))
        what = f"share of {name}s that stay below it (n = {n})"
        rows.append({"what": what, "ours": k / n, "reference": SHARE, "ratio": k / n / SHARE, "unit": "share", **share})
    for row in rows:
        print(f"{row['what']}: {row['ours']:.3f} [{row['low']:.3f}, {row['high']:.3f}]", file=sys.stderr)
    if options.json:
        print(json.dumps({"name": "untouched", "rows": rows, "movements": found}))


if __name__ == "__main__":
    main()
