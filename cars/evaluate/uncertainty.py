"""What predictions of the same film disagree about: predictive entropy, split, and does it warn of errors?

Two sources of several predictions, measured alike:
    seeds    one a training, an ensemble (Lakshminarayanan et al. 2017, arXiv 1612.01474)
    dropout  one a pass with dropout left on, within one training (Gal and Ghahramani 2016, arXiv 1506.02142); passes.py

The entropy of their mean is the total; the mean of their entropies is what no further training resolves; the rest is
the mutual information between answer and network, what they disagree about (Houlsby et al. 2011, arXiv 1112.5745).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from .. import schema
from ..errors import WorkspaceError
from ..metrics.aurc import area
from ..metrics.auroc import auroc
from ..metrics.entropy import binary_entropy
from ..progress import Progress, silent
from ..workspace import Workspace
from . import bootstrap, curves, passes
from .scores import PROBABILITIES, Scorer, learned, predictions
from .settings import ReportSettings
from .statistics import MACRO, Statistic, mean_of

#: Source → what its members are.
SOURCES = {"seeds": "training seeds", "dropout": "passes with dropout left on"}
MEASURES = ("total", "expected", "mutual", "aurc_entropy", "aurc_mutual", "auroc_entropy", "auroc_mutual")


@dataclass(frozen=True)
class Split:
    """Entropies in nats, each of the shape of one member's probabilities; total = expected + mutual."""

    total: np.ndarray
    expected: np.ndarray
    mutual: np.ndarray


def split(members: np.ndarray) -> Split:
    """members (M, …): probabilities of M predictions of the same films. One member has a mutual information of 0."""
    return split_of(members.mean(axis=0), binary_entropy(members).mean(axis=0))


def split_of(mean: np.ndarray, expected: np.ndarray) -> Split:
    """From the mean probability of the members, and the mean of their entropies."""
    total = binary_entropy(mean)
    return Split(total, expected, np.maximum(total - expected, 0.0))  # entropy is concave; below 0 is rounding


@dataclass(frozen=True)
class Predicted:
    """Several predictions of each film. members: how many. mean: their mean probability, (N, 14). parts: (N, 14)."""

    members: int
    mean: np.ndarray
    parts: Split


def over_seeds(workspace: Workspace, units: pd.DataFrame) -> Predicted:
    """The test predictions of the units of one backbone and arm, as an ensemble."""
    members = np.stack([predictions(workspace, u, "test")[PROBABILITIES].to_numpy() for u in units["unit"]])
    return Predicted(len(members), members.mean(axis=0), split(members))


def over_passes(workspace: Workspace, unit: str, ids: list[str], calibrated: bool = False) -> Predicted:
    """The passes of one unit over the test films `ids`. Raises: WorkspaceError where they are not there."""
    number, found = passes.read(workspace, unit, ids, calibrated)
    return Predicted(number, found.mean, split_of(found.mean, found.entropy))


def score_uncertainty(
    workspace: Workspace, settings: ReportSettings, progress: Progress = silent, scorer: Scorer | None = None
) -> pd.DataFrame:
    """Uncertainty of each backbone and arm on the test films, as trained. Columns: docs/architecture.md.

    Of source seeds where there are several: one ensemble. Of source dropout where the run was trained with dropout:
    each seed's passes are measured and the mean over seeds is given; its interval is of patients, as all others here.
    scorer: of the same run and settings, where the caller has one.

    Raises: WorkspaceError where the run's passes with dropout are not all there.
    """
    scorer = scorer or Scorer(workspace, settings, metrics=())
    ids = scorer.test.films["dicom_id"].tolist()
    rows: list[dict[str, Any]] = []
    groups = list(scorer.units.groupby(["backbone", "arm"], sort=False))
    for done, ((backbone, arm), units) in enumerate(groups):
        progress(done, len(groups), f"uncertainty of {backbone}, {arm}")
        sources: dict[str, list[Predicted]] = {}
        if len(units) > 1:
            sources["seeds"] = [over_seeds(workspace, units)]
        if scorer.trained_with.dropout:
            sources["dropout"] = [over_passes(workspace, unit, ids) for unit in units["unit"]]
        could_learn = np.all([learned(one) for one in units["train_positives"]], axis=0)
        for source, predicted in sources.items():
            names = {
                "run": scorer.run, "backbone": backbone, "arm": arm, "source": source,
                "members": _members(predicted, scorer.run),
            }  # fmt: skip
            rows += _rows(scorer, names, predicted, could_learn, settings)
    progress(1, 1, "scored")
    return pd.DataFrame(rows)


def _members(predicted: Sequence[Predicted], run: str) -> int:
    numbers = sorted({one.members for one in predicted})
    if len(numbers) > 1:
        raise WorkspaceError(
            f"Some units of the run {run} have {numbers[0]} passes with dropout and some {numbers[-1]}.",
            "Run `cars finetune` again; finished units are not retrained.",
        )
    return numbers[0]


def _rows(
    scorer: Scorer, names: dict[str, Any], predicted: Sequence[Predicted], could_learn: np.ndarray,
    settings: ReportSettings,
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of one backbone, arm and source: each measure of each finding and of their mean."""
    found: dict[tuple[str, str], Statistic] = {}
    for column, finding in enumerate(schema.FINDINGS):
        for measure in MEASURES:
            of_each = [_measured(scorer, one, column, measure, bool(could_learn[column])) for one in predicted]
            value, resampled = (np.mean([getattr(s, n) for s in of_each], axis=0) for n in ("value", "resampled"))
            found[finding, measure] = Statistic(
                float(value), resampled, reason=next((s.reason for s in of_each if s.reason), None)
            )
    for measure in MEASURES:
        parts = [found[schema.FINDINGS[c], measure] for c in scorer.macro]
        none = Statistic(float("nan"), np.full(settings.resamples, np.nan), reason="no finding to average")
        found[MACRO, measure] = mean_of(parts) if parts else none
    rows = []
    for (finding, measure), statistic in found.items():
        interval = bootstrap.interval(statistic.value, statistic.resampled, settings.level)
        several = np.isfinite(statistic.resampled).sum() > 1
        se = np.nanstd(statistic.resampled, ddof=1) if several else float("nan")
        counts = scorer.counts(finding)
        rows.append(
            {
                **names, "finding": finding, "measure": measure, "value": interval.value, "low": interval.low,
                "high": interval.high, "se": float(se), "n": counts["n"], "positives": counts["positives"],
                "patients": counts["patients"], "resamples": interval.resamples, "undefined": interval.undefined,
                "reason": statistic.reason,
            }
        )  # fmt: skip
    return rows


def _measured(scorer: Scorer, predicted: Predicted, column: int, measure: str, could_learn: bool) -> Statistic:
    """One measure of one finding, over the test films with a known label."""
    inside = scorer.test.known[:, column]
    y, weights = scorer.test.y[inside, column], scorer.cases.weights[:, inside]
    if not could_learn or not len(y):
        reason = "no film with a known label" if could_learn else "no training film with the finding"
        return Statistic(float("nan"), np.full(len(weights), np.nan), reason=reason)
    wrong = ((predicted.mean[inside, column] >= 0.5) != (y == 1)).astype(np.float64)
    kind, _, by = measure.rpartition("_")
    doubt = getattr(predicted.parts, "total" if by == "entropy" else by)[inside, column]
    statistic: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "": partial(_mean, doubt),
        "aurc": partial(area, wrong, -doubt),
        # auroc takes scores in [0, 1]
        "auroc": partial(auroc, wrong, np.clip(doubt / np.log(2), 0, 1)),
    }
    value = float(statistic[kind](np.ones((1, len(y)), dtype=np.uint8))[0])
    one_sided = "every answer at 0.5 is right, or every one is wrong" if np.isnan(value) else None
    return Statistic(value, statistic[kind](weights), reason=one_sided)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    from ..metrics._base import mean

    return mean(values, weights)


def dropout_cases(view: curves.Tested, backbone: str, arm: str, calibrated: bool, finding: str | None) -> pd.DataFrame:
    """What `curves.uncertainty` gives for the ensemble, for the passes of each seed: one row a case and seed.

    members: passes. Histograms and risk-coverage curves of these rows pool the seeds; patients are resampled whole.
    Raises: WorkspaceError where the units' passes are not there.
    """
    rows, columns = view.cases(finding)
    y, ids = view.test.y[rows, columns], view.test.films["dicom_id"].tolist()
    tables = []
    for unit in view.of(backbone, arm)["unit"]:
        found = over_passes(view.workspace, unit, ids, calibrated)
        prob = found.mean[rows, columns]
        tables.append(
            pd.DataFrame(
                {"subject_id": view.subjects[rows], "prob": prob, "y": y, "entropy": found.parts.total[rows, columns],
                 "mutual": found.parts.mutual[rows, columns], "wrong": (prob >= 0.5) != (y == 1),
                 "members": found.members}
            )
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def drawn(cases: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(histograms of both measures, risk-coverage curves by both), of cases of either source."""
    bars = [curves.uncertainty_histogram(cases, measure) for measure in curves.MEASURES]
    lines = [curves.risk_coverage(cases, measure).assign(measure=measure) for measure in curves.MEASURES]
    return pd.concat(bars, ignore_index=True), pd.concat(lines, ignore_index=True)
