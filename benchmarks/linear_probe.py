"""How much do an encoder's features know about findings? A logistic regression on them, on patients it has not seen.

    python benchmarks/linear_probe.py --data FOLDER [--adapt EPOCHS] [--backbones resnet50,…] [--workspace DIR] [--json]

FOLDER is laid out as MIMIC-CXR-JPG. For each encoder: features of every film, standardised on the films that the probe
learns from, and one L2-regularised logistic regression a finding. Its strength C is the one with the best macro AUROC
on the validate patients when learned on the train patients; then it learns on both and is scored once on the test
patients. So nothing is chosen by a test film, neither C nor, with --adapt, the epoch that adapting keeps. Shown: mean
AUROC and AUPRC over the findings that occur in all three splits, with the 95% interval of a bootstrap of test patients.
The reference is the same probe on the films' own 32 × 32 grey levels; the difference to the first encoder is paired.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cars import index
from cars.embed import EmbedSettings, embed
from cars.evaluate.bootstrap import interval, patient_weights
from cars.filmcache import film_cache
from cars.ingest import IngestSettings, ingest
from cars.metrics.auprc import auprc
from cars.metrics.auroc import auroc
from cars.schema import COLUMN_OF, PRESENT
from cars.workspace import Workspace

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
RESAMPLES = 1000


@dataclass(frozen=True)
class Films:
    """The films that every encoder has a vector of. y: (N, K) 0 or 1, of `findings`."""

    table: pd.DataFrame
    findings: list[str]
    y: np.ndarray

    def of(self, *splits: str) -> np.ndarray:
        """bool (N,)."""
        return self.table["split"].isin(splits).to_numpy()


@dataclass(frozen=True)
class Probe:
    """One encoder's figures. chosen: validate AUROC by which C was chosen. resampled: test AUROC in each resample."""

    what: str
    strength: float
    auroc: float
    auprc: float
    chosen: float
    resampled: np.ndarray


def read_films(workspace: Workspace, ids: list[str]) -> Films:
    """Labels as adapting reads them: present is 1, absent and not mentioned are 0; uncertain films do not occur."""
    table = workspace.read("films").set_index("dicom_id").loc[ids].reset_index()
    codes = table[list(COLUMN_OF.values())]
    if (codes == -1).to_numpy().any():
        raise SystemExit("This benchmark is written for labels without uncertain ones.")
    counts = (codes == PRESENT).groupby(table["split"]).sum().reindex(["train", "validate", "test"]).fillna(0)
    findings = [finding for finding, column in COLUMN_OF.items() if (counts[column] > 0).all()]
    return Films(table, findings, (codes[[COLUMN_OF[f] for f in findings]] == PRESENT).to_numpy(np.int64))


def fit(features: np.ndarray, films: Films, learn: np.ndarray, strength: float) -> np.ndarray:
    """Probabilities (N, K) of probes learned on the films `learn`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit(features[learn]).transform(features)
    probes = [LogisticRegression(C=strength, max_iter=500).fit(scaled[learn], y[learn]) for y in films.y.T]
    return np.stack([probe.predict_proba(scaled)[:, 1] for probe in probes], axis=1)


def macro(score, films: Films, probability: np.ndarray, where: np.ndarray, weights: np.ndarray | None = None):
    """The mean of a metric over the findings; with weights (R, n) one value a resample, undefined findings left out."""
    each = [score(y, p, weights) for y, p in zip(films.y[where].T, probability[where].T)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        return np.nanmean(np.array(each), axis=0)


def probe(what: str, features: np.ndarray, films: Films) -> Probe:
    """Choose C on the validate patients, learn on train and validate, score on test."""
    validate, test = films.of("validate"), films.of("test")
    chosen = {c: float(macro(auroc, films, fit(features, films, films.of("train"), c), validate)) for c in STRENGTHS}
    strength = max(chosen, key=lambda c: chosen[c])
    probability = fit(features, films, films.of("train", "validate"), strength)
    weights = patient_weights(films.table.loc[test, "subject_id"].to_numpy(), RESAMPLES, seed=0)
    return Probe(
        what,
        strength,
        float(macro(auroc, films, probability, test)),
        float(macro(auprc, films, probability, test)),
        chosen[strength],
        macro(auroc, films, probability, test, weights),
    )


def encoders(arguments: argparse.Namespace) -> list[EmbedSettings]:
    """The encoders to compare, the default one first."""
    common = {"map": False, "device": arguments.device}
    chosen = [EmbedSettings(**common), EmbedSettings(weights="random", **common)]
    chosen += [EmbedSettings(backbone=name, **common) for name in arguments.backbones.split(",") if name]
    if arguments.adapt:
        chosen.append(EmbedSettings(adapt="supervised", adapt_epochs=arguments.adapt, **common))
    return chosen


def report(number: int, of: int, done: int, total: int, message: str) -> None:
    """One line on standard error that is written over."""
    print(f"\r{number} of {of}: {message} {done}/{total}    ", end="", file=sys.stderr, flush=True)


def run(workspace: Workspace, arguments: argparse.Namespace) -> tuple[Films, list[Probe]]:
    """Ingest, embed with every encoder, and probe."""
    ingest(workspace, IngestSettings("mimic-cxr-jpg", str(arguments.data)))
    chosen = encoders(arguments)
    features: dict[str, tuple[list[str], np.ndarray]] = {}
    for n, settings in enumerate(chosen, 1):
        made = embed(workspace, settings, lambda d, t, m="", n=n: report(n, len(chosen), d, t, m))
        ids, array = index.read_embeddings(workspace)
        features[made["backbone"]] = (list(ids), np.asarray(array, np.float32))
    print(file=sys.stderr)
    ids = sorted(set.intersection(*(set(found) for found, _ in features.values())))
    films = read_films(workspace, ids)
    pixels = film_cache(workspace, 32, ids).images(ids).reshape(len(ids), -1).astype(np.float32)
    aligned = {name: array[pd.Index(found).get_indexer(ids)] for name, (found, array) in features.items()}
    if arguments.adapt:
        first, *_, adapted = aligned.values()
        aligned["the first and the adapted one, side by side"] = np.concatenate([first, adapted], axis=1)
    probes = [probe(name, array, films) for name, array in aligned.items()]
    return films, [*probes, probe("grey levels at 32 × 32", pixels, films)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("CARS_SHARED", Path(__file__).resolve().parents[1].parent / "shared"))
    parser.add_argument("--data", type=Path, default=shared / "data" / "open-cxr")
    parser.add_argument("--adapt", type=int, default=0, metavar="EPOCHS", help="also adapt the default encoder")
    parser.add_argument("--backbones", default="", help="others to compare, with the weights that come with them")
    parser.add_argument("--workspace", type=Path, help="keep features there, so that a second run is quick")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"skipped: no films at {arguments.data}; give --data", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        films, probes = run(Workspace.create(arguments.workspace or folder), arguments)
    first, reference = probes[0], probes[-1]
    rows = []
    for p in probes:
        own, gain = interval(p.auroc, p.resampled), interval(p.auroc - first.auroc, p.resampled - first.resampled)
        rows.append(
            {
                "what": p.what,
                "ours": round(p.auroc, 4),
                "reference": round(reference.auroc, 4),
                "ratio": round(p.auroc / reference.auroc, 4),
                "unit": "macro AUROC",
                "low": round(own.low, 4),
                "high": round(own.high, 4),
                "auprc": round(p.auprc, 4),
                "gain": [round(v, 4) for v in (gain.value, gain.low, gain.high)],
                "C": p.strength,
                "validate": round(p.chosen, 4),
            }
        )
    test = films.table[films.of("test")]
    n = {"films": len(test), "patients": int(test["subject_id"].nunique()), "findings": len(films.findings)}
    n["prevalence"] = round(float(films.y[films.of("test")].mean()), 4)
    if arguments.json:
        print(json.dumps({"name": "linear_probe", "rows": rows, "test": n}, ensure_ascii=False))
        return
    print(
        f"test: {n['films']} films of {n['patients']} patients, {n['findings']} findings, prevalence {n['prevalence']}"
    )
    print(f"{'encoder':52} AUROC (95% interval)      AUPRC  to the first              C  validate")
    for row in rows:
        gain = "{:+.3f} ({:+.3f} to {:+.3f})".format(*row["gain"])
        figures = f"{row['ours']:.3f} ({row['low']:.3f} to {row['high']:.3f})   {row['auprc']:.3f}"
        print(f"{row['what']:52} {figures}  {gain}  {row['C']:g}  {row['validate']:.3f}")


if __name__ == "__main__":
    main()
