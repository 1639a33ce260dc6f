"""Scores of a run's test predictions, and paired differences between its arms, with patient-level intervals.

Labels come from the table `films` under the run's own policy; predictions hold none. All units are scored on the same
resamples of patients, so differences are paired. The macro mean is over the same findings for every unit of a run:
those with enough positive and negative test patients and at least one training positive in every arm.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import schema
from ..config import convert
from ..errors import WorkspaceError
from ..metrics import METRICS
from ..progress import Progress, silent
from ..workspace import Workspace
from . import bootstrap, calibration
from .arms import COLUMNS, targets
from .settings import FinetuneSettings, ReportSettings

#: The columns of the table `predictions` that hold probabilities before calibration, in the order of FINDINGS.
PROBABILITIES = [f"prob_{slug}" for slug in COLUMNS]
MACRO = "macro"
#: `seed` of the rows that hold the mean over all seeds.
MEAN = -1
#: Weights × films of one chunk of resamples, to bound the memory of a metric.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class TestSet:
    """The test films of a run. y, known: (N, 14). learned: (14,) findings with a training positive in every unit."""

    films: pd.DataFrame  # dicom_id, subject_id, view, sex, age_band, race, the 14 codes
    y: np.ndarray
    known: np.ndarray
    learned: np.ndarray

    def patients(self, column: int, value: int | None = None) -> int:
        """Patients with a known label of that finding, or with that label."""
        rows = self.known[:, column] & (True if value is None else self.y[:, column] == value)
        return len(set(self.films["subject_id"].to_numpy(str)[rows]))


def runs(workspace: Workspace) -> pd.DataFrame:
    """The completed runs, the newest first: run, completed (seconds since 1970), settings (dict)."""
    found = []
    for path in workspace.path.glob("runs/*/run.json"):
        found.append({"run": path.parent.name, **json.loads(path.read_text(encoding="utf-8"))})
    frame = pd.DataFrame(found, columns=["run", "completed", "settings"])
    return frame.sort_values(["completed", "run"], ascending=False, ignore_index=True)


def chosen_run(workspace: Workspace, run: str | None) -> tuple[str, FinetuneSettings]:
    """The run asked for, or the latest. Raises: WorkspaceError where there is none, or none of that name."""
    known = runs(workspace)
    if not len(known):
        raise WorkspaceError("No fine-tuning run is complete.", "Run `cars finetune` first.")
    if run is not None and run not in set(known["run"]):
        raise WorkspaceError(f"There is no complete run {run!r}.", f"The runs are: {', '.join(known['run'])}.")
    row = known.iloc[0] if run is None else known[known["run"] == run].iloc[0]
    names = FinetuneSettings.__dataclass_fields__
    return row["run"], FinetuneSettings(
        **{k: convert(FinetuneSettings, k, v) for k, v in row["settings"].items() if k in names}
    )


def units_of(workspace: Workspace, run: str) -> pd.DataFrame:
    """The rows of `units` of a run."""
    return workspace.query("evaluate/units", run=run)


def predictions(workspace: Workspace, unit: str, split: str) -> pd.DataFrame:
    """dicom_id, subject_id and the 14 probabilities (before calibration) of one unit, ordered by dicom_id."""
    frame = pd.read_parquet(workspace.part_path("predictions", unit))
    return frame[frame["split"] == split].sort_values("dicom_id", ignore_index=True)


def test_set(workspace: Workspace, units: pd.DataFrame, settings: FinetuneSettings) -> TestSet:
    """The films and labels that the units' test predictions are scored against.

    Raises: WorkspaceError when the units predicted different films, or films that are no longer test films.
    """
    predicted = {unit: tuple(predictions(workspace, unit, "test")["dicom_id"]) for unit in units["unit"]}
    ids = next(iter(predicted.values()))
    films = workspace.query("evaluate/test_labels", ids=list(ids))
    if len(set(predicted.values())) > 1 or tuple(films["dicom_id"]) != ids:
        raise WorkspaceError(
            "The test films have changed since this run.",
            "Run `cars finetune` again; finished units are not retrained.",
        )
    y, known = targets(films[COLUMNS].to_numpy(), settings.uncertain, settings.not_mentioned)
    everywhere = np.all([learned(row) for row in units["train_positives"]], axis=0)
    return TestSet(films, y, known, everywhere)


def learned(train_positives: str) -> np.ndarray:
    """From a unit's `train_positives`: which findings it had a training positive of, bool (14,)."""
    counts = json.loads(train_positives)
    return np.array([counts[finding] > 0 for finding in schema.FINDINGS])


def macro_findings(test: TestSet, min_positives: int) -> list[int]:
    """Columns of the findings that enter the macro mean."""
    return [
        c
        for c in range(len(schema.FINDINGS))
        if test.learned[c] and min(test.patients(c, 1), test.patients(c, 0)) >= min_positives
    ]


@dataclass(frozen=True)
class Statistic:
    """A score and its resampled values (R,)."""

    value: float
    resampled: np.ndarray


def resample(metric: Callable[..., Any], y: np.ndarray, p: np.ndarray, weights: np.ndarray) -> Statistic:
    """A metric and its value under each row of weights (R, N)."""
    rows = max(1, _CHUNK // max(1, len(y)))
    parts = [metric(y, p, weights[start : start + rows]) for start in range(0, len(weights), rows)]
    return Statistic(metric(y, p), np.concatenate(parts))


def _undefined(resamples: int) -> Statistic:
    return Statistic(float("nan"), np.full(resamples, np.nan))


#: (finding or "macro", metric, calibrated) → statistic
Statistics = dict[tuple[str, str, bool], Statistic]


def _unit_statistics(
    prob: np.ndarray, unit: dict[Any, Any], test: TestSet, macro: list[int], weights: np.ndarray
) -> Statistics:
    """All scores of one unit: each finding it could learn and the macro mean, before and after temperature scaling."""
    could_learn = learned(unit["train_positives"])
    found: Statistics = {}
    versions = {False: prob, True: calibration.scaled(prob, unit["temperature"])}
    for name in METRICS:
        metric = METRICS.get(name)
        for calibrated, p in versions.items():
            for c, finding in enumerate(schema.FINDINGS):
                rows = test.known[:, c]
                if not could_learn[c]:
                    found[finding, name, calibrated] = _undefined(len(weights))
                elif calibrated and metric.ranks:  # temperature scaling keeps the order
                    found[finding, name, True] = found[finding, name, False]
                else:
                    found[finding, name, calibrated] = resample(metric, test.y[rows, c], p[rows, c], weights[:, rows])
            found[MACRO, name, calibrated] = _mean(
                [found[schema.FINDINGS[c], name, calibrated] for c in macro], len(weights)
            )
    return found


def _mean(statistics: list[Statistic], resamples: int) -> Statistic:
    """The plain mean; a resample in which any of them is undefined is undefined."""
    if not statistics:
        return _undefined(resamples)
    return Statistic(float(np.mean([s.value for s in statistics])), np.mean([s.resampled for s in statistics], axis=0))


def score(
    workspace: Workspace, settings: ReportSettings, progress: Progress = silent
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(scores, gains) of a run.

    scores: run backbone arm seed (-1: the mean over seeds) finding ("macro" too) metric calibrated value low high
        n (test films) positives patients positive_patients findings (how many the row averages) resamples undefined.
    gains: for each arm but "real", run backbone arm finding metric calibrated value (arm − real) low high p p_holm
        verdict (better, worse, no evidence, undefined) n positives patients positive_patients findings seeds resamples
        undefined.
    """
    run, trained_with = chosen_run(workspace, settings.run)
    units = units_of(workspace, run)
    test = test_set(workspace, units, trained_with)
    macro = macro_findings(test, settings.min_positives)
    weights = bootstrap.patient_weights(test.films["subject_id"].to_numpy(), settings.resamples, settings.seed)
    score_rows: list[dict[str, Any]] = []
    gain_rows: list[dict[str, Any]] = []
    done = 0
    for backbone, its_units in units.groupby("backbone", sort=False):
        means: dict[str, Statistics] = {}
        for arm in its_units["arm"].unique():
            by_seed: list[Statistics] = []
            for unit in its_units[its_units["arm"] == arm].sort_values("seed").to_dict("records"):
                progress(done, len(units), f"scoring {backbone}, {arm}")
                done += 1
                prob = predictions(workspace, unit["unit"], "test")[PROBABILITIES].to_numpy()
                by_seed.append(_unit_statistics(prob, unit, test, macro, weights))
                score_rows += _rows(
                    by_seed[-1], test, macro, settings, backbone=backbone, arm=arm, seed=int(unit["seed"])
                )
            means[arm] = _over_seeds(by_seed, settings)
            score_rows += _rows(means[arm], test, macro, settings, backbone=backbone, arm=arm, seed=MEAN)
        for arm in means:
            if arm != "real" and "real" in means:
                difference = {
                    key: Statistic(s.value - means["real"][key].value, s.resampled - means["real"][key].resampled)
                    for key, s in means[arm].items()
                }
                seeds = int(its_units["seed"].nunique())
                gain_rows += _rows(difference, test, macro, settings, backbone=backbone, arm=arm, seeds=seeds, p=True)
    progress(len(units), len(units), "scored")
    scores, gains = pd.DataFrame(score_rows), pd.DataFrame(gain_rows)
    scores.insert(0, "run", run)
    if len(gains):
        gains.insert(0, "run", run)
        gains = _judge(gains, settings.level)
    return scores, gains


def _over_seeds(by_seed: list[Statistics], settings: ReportSettings) -> Statistics:
    shares = bootstrap.seed_weights(len(by_seed), settings.resamples, settings.seed)  # (R, seeds)
    return {
        key: Statistic(
            float(np.mean([found[key].value for found in by_seed])),
            sum(share * found[key].resampled for share, found in zip(shares.T, by_seed)),
        )
        for key in by_seed[0]
    }


def _rows(
    statistics: Statistics, test: TestSet, macro: list[int], settings: ReportSettings, p: bool = False, **names: Any
) -> list[dict[str, Any]]:
    """One row a statistic, with its interval and what it rests on."""
    rows = []
    for (finding, metric, calibrated), statistic in statistics.items():
        found = bootstrap.interval(statistic.value, statistic.resampled, settings.level)
        columns = macro if finding == MACRO else [schema.FINDINGS.index(finding)]
        known = test.known[:, columns]
        positive = known & (test.y[:, columns] == 1)
        subjects = test.films["subject_id"].to_numpy(str)
        row = {
            **names, "finding": finding, "metric": metric, "calibrated": calibrated,
            "value": found.value, "low": found.low, "high": found.high,
            "n": int(known.any(axis=1).sum()), "positives": int(positive.sum()),
            "patients": len(set(subjects[known.any(axis=1)])),
            "positive_patients": len(set(subjects[positive.any(axis=1)])),
            "findings": len(columns), "resamples": found.resamples, "undefined": found.undefined,
        }  # fmt: skip
        if p:
            row["p"] = bootstrap.p_value(statistic.resampled) if not np.isnan(statistic.value) else float("nan")
        rows.append(row)
    return rows


def _judge(gains: pd.DataFrame, level: float) -> pd.DataFrame:
    """Add p_holm (over the backbones, within one arm, finding, metric and calibration) and the verdict."""
    gains = gains.copy()
    gains["p_holm"] = np.nan
    for index in gains.groupby(["arm", "finding", "metric", "calibrated"]).groups.values():
        gains.loc[index, "p_holm"] = bootstrap.holm(gains.loc[index, "p"].to_numpy())
    sign = np.array([1 if METRICS.get(m).direction == "higher" else -1 for m in gains["metric"]])
    evident = (gains["p_holm"] <= 1 - level).to_numpy()
    gains["verdict"] = np.select(
        [
            gains["p_holm"].isna().to_numpy(),
            evident & (sign * gains["value"] > 0),
            evident & (sign * gains["value"] < 0),
        ],
        ["undefined", "better", "worse"],
        "no evidence",
    )
    return gains


def nested(scores: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """backbone → arm → metric → {value, low, high, n}: macro over findings, mean over seeds; None where undefined.

    A metric that calibration changes comes twice, as "ece" and "ece_calibrated".
    """
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for row in scores[(scores["finding"] == MACRO) & (scores["seed"] == MEAN)].to_dict("records"):
        if row["calibrated"] and METRICS.get(row["metric"]).ranks:
            continue
        name = f"{row['metric']}_calibrated" if row["calibrated"] else row["metric"]
        numbers = {k: None if np.isnan(row[k]) else row[k] for k in ("value", "low", "high")}
        result.setdefault(row["backbone"], {}).setdefault(row["arm"], {})[name] = {**numbers, "n": row["n"]}
    return result
