"""Scores of a run's test predictions, and paired differences between its arms, with patient-level intervals.

Labels come from the table `films` under the run's own policy; predictions hold none. All units are scored on the same
resamples of patients, so differences are paired. The macro mean is over the same findings for every unit of a run:
those with enough positive and negative test patients and at least one training positive in every arm.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from . import bootstrap, calibration, statistics, thresholds, verdicts
from .arms import COLUMNS, targets
from .comparisons import Comparison, comparisons
from .settings import ARMS, FinetuneSettings, ReportSettings
from .statistics import MACRO, Cases, Forecast, Key, Statistic, Statistics

#: The columns of the table `predictions` that hold probabilities before calibration, in the order of FINDINGS.
PROBABILITIES = [f"prob_{slug}" for slug in COLUMNS]
#: `seed` of the rows that hold the mean of the seeds' metrics, and of those of the mean probability.
MEAN, ENSEMBLE = -1, -2
#: What `finetune` says of its units when it ends; `report` scores everything.
BRIEF = ("auprc", "auroc", "ece", "brier", "nll")


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
        return int(self.films.loc[rows, "subject_id"].nunique())

    def counts(self, columns: Sequence[int], inside: np.ndarray | None = None) -> dict[str, int]:
        """n (films with a known label), positives, patients and positive_patients, over findings and films `inside`."""
        known = self.known[:, list(columns)] if inside is None else self.known[:, list(columns)] & inside[:, None]
        positive = known & (self.y[:, list(columns)] == 1)
        subjects = self.films["subject_id"]
        return {
            "n": int(known.any(axis=1).sum()), "positives": int(positive.sum()),
            "patients": int(subjects[known.any(axis=1)].nunique()),
            "positive_patients": int(subjects[positive.any(axis=1)].nunique()), "findings": len(columns),
        }  # fmt: skip


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
    """The rows of `units` of a run, by backbone, arm (in the order of ARMS) and seed."""
    units = workspace.query("evaluate/units", run=run)
    order = {arm: n for n, arm in enumerate(ARMS)}
    places = units["arm"].map(lambda arm: order.get(arm, len(order)))
    return (
        units.assign(place=places)
        .sort_values(["backbone", "place", "arm", "seed"], ignore_index=True)
        .drop(columns="place")
    )


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
    films = workspace.query("evaluate/labels", ids=list(ids), split="test")
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


class Scorer:
    """Everything that scoring a run needs, read once: its units, test films, labels and resamples.

    metrics: names of registered metrics; all by default.
    """

    def __init__(self, workspace: Workspace, settings: ReportSettings, metrics: Sequence[str] | None = None) -> None:
        self.workspace, self.settings = workspace, settings
        self.run, self.trained_with = chosen_run(workspace, settings.run)
        self.units = units_of(workspace, self.run)
        self.test = test_set(workspace, self.units, self.trained_with)
        self.metrics = list(METRICS.names() if metrics is None else metrics)
        self.macro = macro_findings(self.test, settings.min_positives)
        weights = bootstrap.patient_weights(self.test.films["subject_id"].to_numpy(), settings.resamples, settings.seed)
        self.cases = Cases(self.test.y, self.test.known, weights, settings.costly_resamples, schema.FINDINGS)
        self._validate: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {}

    def forecast(self, unit: dict[Any, Any]) -> Forecast:
        """A unit's test probabilities, and the thresholds that its validate films ask for."""
        prob = predictions(self.workspace, unit["unit"], "test")[PROBABILITIES].to_numpy()
        return Forecast(
            prob, calibration.scaled(prob, unit["temperature"]), self.thresholds([unit["unit"]]),
            learned(unit["train_positives"]),
        )  # fmt: skip

    def thresholds(self, units: Sequence[str]) -> np.ndarray:
        """The thresholds of the units' mean probability on the validate films: (14,); NaN where none was predicted.

        Raises: WorkspaceError when those films are no longer validate films.
        """
        frames = [predictions(self.workspace, unit, "validate") for unit in units]
        ids = tuple(frames[0]["dicom_id"])
        if ids not in self._validate:
            films = self.workspace.query("evaluate/labels", ids=list(ids), split="validate")
            if tuple(films["dicom_id"]) != ids:
                raise WorkspaceError("The validate films have changed since this run.", "Run `cars finetune` again.")
            policy = (self.trained_with.uncertain, self.trained_with.not_mentioned)
            self._validate[ids] = targets(films[COLUMNS].to_numpy(), *policy)
        y, known = self._validate[ids]
        chosen = thresholds.choose(np.mean([f[PROBABILITIES].to_numpy() for f in frames], axis=0), y, known)
        # None becomes NaN
        return np.array([chosen[finding][thresholds.AT_SPECIFICITY] for finding in schema.FINDINGS], dtype=np.float64)

    def ensemble(self, units: pd.DataFrame, forecasts: Sequence[Forecast]) -> Forecast:
        """The mean probability of the units."""
        return statistics.ensemble(forecasts, self.thresholds(list(units["unit"])))

    def of(self, forecast: Forecast) -> Statistics:
        """All metrics of all findings on all test films."""
        return statistics.of_forecast(forecast, self.cases, range(len(schema.FINDINGS)), self.macro, self.metrics)

    def counts(self, finding: str) -> dict[str, int]:
        """What a row of that finding, or of the macro mean, rests on."""
        return self.test.counts(self.macro if finding == MACRO else [schema.FINDINGS.index(finding)])


def score(
    workspace: Workspace,
    settings: ReportSettings,
    progress: Progress = silent,
    metrics: Sequence[str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(scores, gains) of a run, of the metrics named (all by default). Their columns: docs/architecture.md.

    scores has a row for each seed, for the mean over seeds (seed −1) and, with several seeds, for the ensemble (−2).
    gains compares the mean over seeds of each arm with that of its reference, and of arms with edits with each control
    (`comparisons`; contrasts have the macro mean only).
    """
    scorer = Scorer(workspace, settings, metrics)
    units, counts = scorer.units, {f: scorer.counts(f) for f in (*schema.FINDINGS, MACRO)}
    rows: list[dict[str, Any]] = []
    means: dict[tuple[str, str], Statistics] = {}
    pairs: dict[tuple[str, str, str, bool], tuple[Statistics, Statistics]] = {}
    done = 0
    for backbone, its_units in units.groupby("backbone", sort=False):
        of_arm: dict[str, Statistics] = {}
        for arm in its_units["arm"].unique():
            its_seeds = its_units[its_units["arm"] == arm].sort_values("seed")
            forecasts, by_seed = [], []
            for unit in its_seeds.to_dict("records"):
                progress(done, len(units), f"scoring {backbone}, {arm}")
                done += 1
                forecasts.append(scorer.forecast(unit))
                by_seed.append(scorer.of(forecasts[-1]))
                rows += _rows(by_seed[-1], counts, settings, backbone=backbone, arm=arm, seed=int(unit["seed"]))
            if len(forecasts) > 1:
                together = scorer.of(scorer.ensemble(its_seeds, forecasts))
                rows += _rows(together, counts, settings, backbone=backbone, arm=arm, seed=ENSEMBLE)
            of_arm[arm] = statistics.over_seeds(by_seed)
            means[str(backbone), arm] = _lean(of_arm[arm])
        for one in comparisons(of_arm):
            changed = statistics.difference(of_arm[one.arm], of_arm[one.reference])
            if one.contrast:
                changed = {key: statistic for key, statistic in changed.items() if key[0] == MACRO}
            pairs[str(backbone), *one] = _lean(changed), means[str(backbone), one.reference]
    deviations = _deviations(means)
    for (backbone, arm), found in means.items():
        rows += _rows(found, counts, settings, deviations[(arm,)], backbone=backbone, arm=arm, seed=MEAN)
    progress(len(units), len(units), "scored")
    scores = pd.DataFrame(rows)
    scores.insert(0, "run", scorer.run)
    return scores, _gains(scorer.run, pairs, counts, settings)


#: Key → (deviation between seeds, its degrees of freedom), pooled over the backbones of one arm.
Deviations = dict[Key, tuple[float, int]]


def _lean(statistics_: Statistics) -> Statistics:
    """The same with resamples in single precision: a whole grid's are held until all its backbones are scored."""
    kept: dict[int, Statistic] = {}
    for statistic in statistics_.values():
        if id(statistic) not in kept:
            small = statistic.resampled.astype(np.float32)
            kept[id(statistic)] = Statistic(statistic.value, small, statistic.by_seed, statistic.reason)
    return {key: kept[id(statistic)] for key, statistic in statistics_.items()}


def _deviations(found: dict[Any, Statistics]) -> dict[Any, Deviations]:
    """What follows the backbone in a key → deviations between seeds. found: (backbone, …) → statistics."""
    groups: dict[Any, list[Statistics]] = {}
    for (_, *rest), one in found.items():
        groups.setdefault(tuple(rest), []).append(one)
    return {
        rest: {key: bootstrap.pooled_deviation([one[key].by_seed for one in of_group]) for key in of_group[0]}
        for rest, of_group in groups.items()
    }


def _rows(
    found: Statistics, counts: dict[str, dict[str, int]], settings: ReportSettings,
    deviations: Deviations | None = None, **names: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """One row of `scores` a statistic, with its interval and what it rests on."""
    rows = []
    for key, statistic in found.items():
        summary = summarise(statistic, counts[key[0]]["patients"], settings, (deviations or {}).get(key))
        row = {**names, "finding": key[0], "metric": key[1], "calibrated": key[2], **summary.columns, **counts[key[0]]}
        rows.append({**row, "reason": statistic.reason})
    return rows


@dataclass(frozen=True)
class Summary:
    """columns: value low high se resamples undefined. resampled: (R,) with the noise of training seeds in it."""

    columns: dict[str, Any]
    resampled: np.ndarray
    spread: bootstrap.Spread


def summarise(
    statistic: Statistic, patients: int, settings: ReportSettings, deviation: tuple[float, int] | None = None
) -> Summary:
    """A statistic's interval and standard error; deviation: between seeds and its degrees of freedom."""
    between, df = deviation or (float("nan"), 0)
    seeds = len(statistic.by_seed)
    spread = bootstrap.spread(statistic.resampled, between, df, seeds, patients)
    noise = bootstrap.seed_noise(between, df, seeds, len(statistic.resampled), settings.seed)
    resampled = statistic.resampled + noise
    found = bootstrap.interval(statistic.value, resampled, settings.level)
    se = spread.total if not np.isnan(found.value) else float("nan")
    columns = {
        "value": found.value, "low": found.low, "high": found.high, "se": se,
        "resamples": found.resamples, "undefined": found.undefined,
    }  # fmt: skip
    return Summary(columns, resampled, spread)


def _gains(
    run: str, pairs: dict[tuple[str, str, str, bool], tuple[Statistics, Statistics]], counts: dict[str, dict[str, int]],
    settings: ReportSettings,
) -> pd.DataFrame:  # fmt: skip
    """The table `gains`; empty without a second arm. pairs: (backbone, *Comparison) → (difference, reference)."""
    deviations = _deviations({names: changed for names, (changed, _) in pairs.items()})
    rows = []
    for (backbone, *names), (changed, other) in pairs.items():
        for key, statistic in changed.items():
            finding, metric, calibrated = key
            summary = summarise(statistic, counts[finding]["patients"], settings, deviations[tuple(names)][key])
            known = not np.isnan(statistic.value)
            rows.append(
                {
                    "run": run, "backbone": backbone, **Comparison(*names)._asdict(), "finding": finding,
                    "metric": metric, "calibrated": calibrated, "reference_value": other[key].value, **summary.columns,
                    **_relative(other[key], statistic.value, summary.resampled, settings.level),
                    "se_patients": summary.spread.patients if known else float("nan"),
                    "se_seeds": summary.spread.seeds if known else float("nan"),
                    "df": summary.spread.df if known else float("nan"),
                    "p": bootstrap.p_value(summary.resampled) if known else float("nan"),
                    **counts[finding], "seeds": max(len(statistic.by_seed), 1), "reason": statistic.reason,
                }
            )  # fmt: skip
    return verdicts.judge(pd.DataFrame(rows), settings.level) if rows else pd.DataFrame()


def _relative(other: Statistic, value: float, resampled: np.ndarray, level: float) -> dict[str, float]:
    """The difference as a share of the reference's value, resample by resample; NaN where that is not above 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(other.resampled > 0, resampled / other.resampled, np.nan)
    share = value / other.value if other.value > 0 else float("nan")
    found = bootstrap.interval(share, shares, level)
    return {"relative": found.value, "relative_low": found.low, "relative_high": found.high}


def nested(scores: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """backbone → arm → metric → {value, low, high, n}: macro over findings, mean over seeds; None where undefined.

    A metric that calibration changes comes twice, as "ece" and "ece_calibrated".
    """
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for row in scores[(scores["finding"] == MACRO) & (scores["seed"] == MEAN)].to_dict("records"):
        if row["calibrated"] and not METRICS.get(row["metric"]).scaling:
            continue
        name = f"{row['metric']}_calibrated" if row["calibrated"] else row["metric"]
        numbers = {k: None if np.isnan(row[k]) else row[k] for k in ("value", "low", "high")}
        result.setdefault(row["backbone"], {}).setdefault(row["arm"], {})[name] = {**numbers, "n": row["n"]}
    return result
