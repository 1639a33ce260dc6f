"""How long do patient-level intervals of a whole grid take, against a loop over scikit-learn?

    python benchmarks/bootstrap.py [--backbones 7] [--arms 7] [--films 5159] [--patients 293] [--resamples 2000]

Made-up predictions of the given size, shaped as MIMIC-CXR's test split is: 14 findings of 5,159 films of 293 patients.
CARS scores every backbone, arm and finding with AUROC and AUPRC on the same resamples of patients, and takes the
interval of each and of each difference from the first arm. The reference is a plain loop: draw patients, then
`roc_auc_score` and `average_precision_score` with the draw as sample weights. It would take hours, so it is timed on a
few draws of one finding and scaled up; the two must agree on those draws to 1e-9. Then each metric on one finding.
Seconds are wall clock, with CARS on as many threads as there are cores and the loop on one, as a loop is.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from functools import partial

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from cars.evaluate import bootstrap
from cars.metrics import METRICS
from cars.metrics._shared import Draws
from cars.schema import FINDINGS

TIMED = ("auroc", "auprc")


def made_up(films: int, patients: int, units: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(subjects (films,), labels (films, 14), probabilities (units, films, 14)); prevalences from 0.02 to 0.4."""
    rng = np.random.default_rng(seed)
    subjects = np.sort(rng.integers(0, patients, films))
    y = (rng.random((films, len(FINDINGS))) < np.linspace(0.02, 0.4, len(FINDINGS))).astype(np.float64)
    logits = 1.5 * y + rng.normal(-2, 1, y.shape) + rng.normal(0, 0.5, (units, *y.shape))
    return subjects, y, 1 / (1 + np.exp(-logits))


def intervals(y: np.ndarray, probs: np.ndarray, weights: np.ndarray, arms: int) -> list[bootstrap.Interval]:
    """Of every unit, finding and metric, and of each arm's difference from its backbone's first arm."""
    draws, everyone = Draws.of(weights), np.ones(len(y), dtype=bool)
    tasks = [
        partial(bootstrap.resample_all, TIMED, y[:, c], prob[:, c], draws, everyone, len(weights), 0.5)
        for prob in probs
        for c in range(y.shape[1])
    ]
    found = [one for of_finding in bootstrap.in_threads(tasks) for one in of_finding]
    each = y.shape[1] * len(TIMED)
    result = [bootstrap.interval(*one) for one in found]
    for n, (value, resampled) in enumerate(found):
        unit = n // each
        if unit % arms:
            first, of_first = found[n - (unit % arms) * each]
            result.append(bootstrap.interval(value - first, resampled - of_first))
    return result


def loop(y: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The two metrics by scikit-learn, a row of weights at a time: (rows, 2)."""
    return np.array(
        [
            [roc_auc_score(y, prob, sample_weight=row), average_precision_score(y, prob, sample_weight=row)]
            for row in weights
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("backbones", 7), ("arms", 7), ("films", 5159), ("patients", 293), ("resamples", 2000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--loop", type=int, default=40, help="draws that the loop is timed on")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    units = arguments.backbones * arguments.arms
    subjects, y, probs = made_up(arguments.films, arguments.patients, units, seed=0)
    weights = bootstrap.patient_weights(subjects, arguments.resamples, seed=0)
    everyone = np.ones(len(y), dtype=bool)
    few_draws = Draws.of(weights[:200])
    for name in METRICS:  # compile first: once a machine, kept on disk
        bootstrap.resample_all([name], y[:, 5], probs[0, :, 5], few_draws, everyone, 200, 0.5)
    METRICS.get("auroc")(y[:, 5], probs[0, :, 5], weights[:2])
    METRICS.get("auprc")(y[:, 5], probs[0, :, 5], weights[:2])

    started, cpu = time.perf_counter(), time.process_time()
    bootstrap.patient_weights(subjects, arguments.resamples, seed=0)
    found = intervals(y, probs, weights, arguments.arms)
    ours, ours_cpu = time.perf_counter() - started, time.process_time() - cpu

    column, few = 5, weights[: arguments.loop].astype(np.float64)
    started, cpu = time.perf_counter(), time.process_time()
    expected = loop(y[:, column], probs[0, :, column], few)
    scale = units * y.shape[1] * arguments.resamples / len(few)
    reference = (time.perf_counter() - started) * scale
    reference_cpu = (time.process_time() - cpu) * scale
    draws = Draws.of(weights[: arguments.loop])
    ours_few = bootstrap.resample_all(TIMED, y[:, column], probs[0, :, column], draws, everyone, len(few), 0.5)
    same = np.stack([resampled for _, resampled in ours_few], axis=1)
    assert np.abs(same - expected).max() < 1e-9, "CARS and scikit-learn differ"

    grid = f"{arguments.backbones}×{arguments.arms}×{y.shape[1]}"
    size = f"{grid} × {arguments.films} films, {arguments.resamples} resamples"
    rows = [
        (f"AUROC and AUPRC of {size}", ours, reference, "s (loop scaled up)"),
        ("the same, processor time", ours_cpu, reference_cpu, "CPU s (loop scaled up)"),
    ]
    for name in METRICS:
        cpu = time.process_time()
        bootstrap.resample_all([name], y[:, column], probs[0, :, column], few_draws, everyone, 200, 0.5)
        seconds = (time.process_time() - cpu) * len(weights) / 200
        rows.append((f"{name}, one finding", seconds, None, "CPU s (scaled up)"))
    shown = [
        {"what": w, "ours": a, "reference": b, "ratio": None if b is None else b / a, "unit": unit}
        for w, a, b, unit in rows
    ]
    if arguments.json:
        print(json.dumps({"name": "bootstrap", "rows": shown}))
        return
    print(f"{len(found):,} intervals; the loop was timed on {len(few)} of {arguments.resamples} draws of one finding")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for row in shown:
        reference_text = "" if row["reference"] is None else f"{row['reference']:12,.0f} {row['ratio']:8.0f}×"
        print(f"{row['what']:70s} {row['ours']:9.2f} {reference_text} {row['unit']}")


if __name__ == "__main__":
    main()
