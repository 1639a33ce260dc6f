"""Did it help where the data was thin? Scores on the test films around each gap that accepted edits filled.

A gap is a pattern such as (Pneumothorax present, sex F, view PA). Its slice is the test films that match the rest of
the pattern (women, PA), and the score is how well the edited finding (pneumothorax) is told within it. A gap on the
finding alone has all test films as its slice, which is the finding's own row in `scores`; it is left out here. Slices
are small by nature: look at the positives first. Nothing is adjusted for their number.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from .. import schema
from ..metrics import METRICS
from ..progress import Progress, silent
from ..workspace import Workspace
from . import bootstrap
from .scores import PROBABILITIES, Statistic, TestSet, chosen_run, learned, predictions, resample, test_set, units_of
from .settings import ReportSettings

SLICE_METRICS = ("auprc", "auroc")


def find_slices(workspace: Workspace) -> list[dict[Any, Any]]:
    """One slice a gap and edited finding: gap_id, sentence, finding, rest (the pattern without it), edits."""
    if not (workspace.has("edits") and workspace.has("gaps")):
        return []
    found: list[dict[Any, Any]] = []
    for row in workspace.query("evaluate/slices").to_dict("records"):
        rest = {name: value for name, value in json.loads(row["pattern"]).items() if name != row["finding"]}
        if rest and row["finding"] in json.loads(row["pattern"]):
            found.append({**row, "rest": rest})
    return found


def rows_of(films: pd.DataFrame, pattern: dict[str, str]) -> np.ndarray:
    """Which films match a pattern of attribute → value, bool (N,)."""
    match = np.ones(len(films), dtype=bool)
    for name, value in pattern.items():
        if name in schema.COLUMN_OF:
            match &= (films[schema.COLUMN_OF[name]] == schema.FINDING_CODES[value]).to_numpy()
        else:
            match &= (films[name] == value).to_numpy()
    return match


def score_slices(workspace: Workspace, settings: ReportSettings, progress: Progress = silent) -> pd.DataFrame:
    """Each arm but "real" against "real" within each slice, paired, mean over seeds.

    Returns: run backbone arm gap_id sentence slice (words) finding edits metric real (its value) value (arm − real) low
    high p n positives patients positive_patients resamples undefined; empty where no gap was filled.
    """
    run, trained_with = chosen_run(workspace, settings.run)
    units = units_of(workspace, run)
    slices = find_slices(workspace)
    rows: list[dict[str, Any]] = []
    if not slices:
        return pd.DataFrame(rows)
    test = test_set(workspace, units, trained_with)
    weights = bootstrap.patient_weights(test.films["subject_id"].to_numpy(), settings.resamples, settings.seed)
    for done, part in enumerate(slices):
        progress(done, len(slices), "scoring rare combinations")
        column = schema.FINDINGS.index(part["finding"])
        inside = rows_of(test.films, part["rest"]) & test.known[:, column]
        for metric in SLICE_METRICS:
            for backbone, its_units in units.groupby("backbone", sort=False):
                arms = {
                    arm: _statistic(workspace, test, of_arm, column, inside, metric, weights, settings)
                    for arm, of_arm in its_units.groupby("arm", sort=False)
                }
                for arm, statistic in arms.items():
                    if arm == "real" or "real" not in arms:
                        continue
                    names = {"run": run, "backbone": backbone, "arm": arm, "metric": metric}
                    rows.append(_row(names, part, test, inside, column, arms["real"], statistic, settings))
    progress(len(slices), len(slices), "scored")
    return pd.DataFrame(rows)


def _statistic(
    workspace: Workspace,
    test: TestSet,
    units: pd.DataFrame,
    column: int,
    inside: np.ndarray,
    metric: str,
    weights: np.ndarray,
    settings: ReportSettings,
) -> Statistic:
    """One arm's mean over seeds within a slice."""
    found = []
    for unit in units.sort_values("seed").to_dict("records"):
        if not learned(unit["train_positives"])[column]:
            return Statistic(float("nan"), np.full(len(weights), np.nan))
        prob = predictions(workspace, unit["unit"], "test")[PROBABILITIES[column]].to_numpy()
        found.append(resample(METRICS.get(metric), test.y[inside, column], prob[inside], weights[:, inside]))
    shares = bootstrap.seed_weights(len(found), settings.resamples, settings.seed)
    resampled = np.sum([share * one.resampled for share, one in zip(shares.T, found)], axis=0)
    return Statistic(float(np.mean([one.value for one in found])), resampled)


def _row(
    names: dict[str, Any],
    part: dict[Any, Any],
    test: TestSet,
    inside: np.ndarray,
    column: int,
    real: Statistic,
    arm: Statistic,
    settings: ReportSettings,
) -> dict[str, Any]:
    difference = arm.resampled - real.resampled
    found = bootstrap.interval(arm.value - real.value, difference, settings.level)
    positive = inside & (test.y[:, column] == 1)
    subjects = test.films["subject_id"].to_numpy(str)
    return {
        **names, "gap_id": part["gap_id"], "sentence": part["sentence"],
        "slice": ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in part["rest"].items()),
        "finding": part["finding"],
        "edits": part["edits"], "real": real.value, "value": found.value, "low": found.low, "high": found.high,
        "p": bootstrap.p_value(difference) if not np.isnan(found.value) else float("nan"), "n": int(inside.sum()),
        "positives": int(positive.sum()), "patients": len(set(subjects[inside])),
        "positive_patients": len(set(subjects[positive])), "resamples": found.resamples, "undefined": found.undefined,
    }  # fmt: skip
