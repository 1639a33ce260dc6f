"""Did it help where the data was thin? Scores on the test films around each gap that accepted edits filled.

A gap is a pattern such as (Pneumothorax present, sex F, view PA). Two sets of test films speak of it:
    rest    those that match the rest of the pattern (women, PA): how well is the edited finding told within it?
    near    those that match the gap or lie one attribute away: pneumothorax in women's PA films, and its
            neighbours: women's PA films without it, men's PA films with it, women's AP films with it
A gap on the finding alone has all test films as its "rest", which is the finding's own row in `scores`; it is left out
here. Slices are small by nature, so there is also one a finding over all its filled gaps (gap_id "all"), and the mean
of those over findings. Look at the positives first. Nothing is adjusted for their number.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import schema
from ..progress import Progress, silent
from ..workspace import Workspace
from . import bootstrap, statistics
from .scores import Scorer, summarise
from .settings import ReportSettings, reference
from .statistics import MACRO, Forecast, Statistics

#: What is scored on single gaps; the slices over all gaps get every metric.
SLICE_METRICS = ("auprc", "auroc", "sensitivity", "specificity", "ece", "brier", "nll")
ALL = "all"


@dataclass(frozen=True)
class Slice:
    """Test films to score one finding on. inside: (N,) bool. names: gap_id, sentence, basis, slice, finding, edits."""

    names: dict[str, Any]
    column: int
    inside: np.ndarray


def find_slices(workspace: Workspace) -> list[dict[Any, Any]]:
    """One a gap and edited finding: gap_id, sentence, finding, pattern, rest (the pattern without it), edits."""
    if not (workspace.has("edits") and workspace.has("gaps")):
        return []
    found: list[dict[Any, Any]] = []
    for row in workspace.query("evaluate/slices").to_dict("records"):
        pattern = json.loads(row["pattern"])
        rest = {name: value for name, value in pattern.items() if name != row["finding"]}
        if rest and row["finding"] in pattern:
            found.append({**row, "pattern": pattern, "rest": rest})
    return found


def differing(films: pd.DataFrame, pattern: dict[str, str]) -> np.ndarray:
    """In how many attributes of a pattern each film differs from it, int (N,)."""
    count = np.zeros(len(films), dtype=int)
    for name, value in pattern.items():
        if name in schema.COLUMN_OF:
            count += (films[schema.COLUMN_OF[name]] != schema.FINDING_CODES[value]).to_numpy()
        else:
            count += (films[name] != value).to_numpy()
    return count


def rows_of(films: pd.DataFrame, pattern: dict[str, str]) -> np.ndarray:
    """Which films match a pattern of attribute → value, bool (N,)."""
    return differing(films, pattern) == 0


def slices_of(films: pd.DataFrame, gaps: list[dict[Any, Any]]) -> list[Slice]:
    """The slices of the gaps, as `find_slices` gives them: two a gap, and two a finding over all its gaps."""
    found: list[Slice] = []
    union: dict[tuple[str, str], tuple[np.ndarray, int, set[str]]] = {}
    for gap in gaps:
        column = schema.FINDINGS.index(gap["finding"])
        words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in gap["rest"].items())
        for basis, inside in (("rest", rows_of(films, gap["rest"])), ("near", differing(films, gap["pattern"]) <= 1)):
            names = {"gap_id": gap["gap_id"], "sentence": gap["sentence"], "basis": basis, "slice": words}
            found.append(Slice({**names, "finding": gap["finding"], "edits": gap["edits"]}, column, inside))
            before, edits, which = union.get((gap["finding"], basis), (np.zeros(len(films), dtype=bool), 0, set()))
            union[gap["finding"], basis] = (before | inside, edits + gap["edits"], which | {gap["gap_id"]})
    for (finding, basis), (inside, edits, which) in union.items():
        words = f"{len(which)} filled gap{'s' if len(which) > 1 else ''}"
        names = {"gap_id": ALL, "sentence": None, "basis": basis, "slice": words, "finding": finding, "edits": edits}
        found.append(Slice(names, schema.FINDINGS.index(finding), inside))
    return found


def score_slices(
    workspace: Workspace, settings: ReportSettings, progress: Progress = silent, scorer: Scorer | None = None
) -> pd.DataFrame:
    """Each arm against the reference within each slice, paired, mean over seeds. Columns: docs/architecture.md.

    Empty where no gap was filled. scorer: of the same run and settings, where the caller has one.
    """
    gaps = find_slices(workspace)
    if not gaps:
        return pd.DataFrame()
    scorer = scorer or Scorer(workspace, settings)
    slices = slices_of(scorer.test.films, gaps)
    rows: list[dict[str, Any]] = []
    backbones = list(scorer.units.groupby("backbone", sort=False))
    for done, (backbone, its_units) in enumerate(backbones):
        arms = {
            arm: [scorer.forecast(unit) for unit in of_arm.sort_values("seed").to_dict("records")]
            for arm, of_arm in its_units.groupby("arm", sort=False)
        }
        base = reference(arms)
        if base is None or len(arms) < 2:
            continue
        means: dict[tuple[str, str], list[tuple[Slice, Statistics, Statistics]]] = {}
        for n, part in enumerate(slices):
            progress(done * len(slices) + n, len(backbones) * len(slices), f"scoring rare combinations, {backbone}")
            found = {str(arm): _mean(scorer, part, forecasts) for arm, forecasts in arms.items()}
            for arm in found:
                if arm == base:
                    continue
                changed = statistics.difference(found[arm], found[base])
                names = {"run": scorer.run, "backbone": backbone, "arm": arm, "reference": base, **part.names}
                counts = scorer.test.counts([part.column], part.inside)
                rows += _rows(names, part.names["finding"], found[base], changed, counts, settings)
                if part.names["gap_id"] == ALL:
                    means.setdefault((arm, part.names["basis"]), []).append((part, changed, found[base]))
        for (arm, basis), parts in means.items():
            names = {"run": scorer.run, "backbone": backbone, "arm": arm, "reference": base, "basis": basis}
            rows += _macro(scorer, names, parts, settings)
    progress(1, 1, "scored")
    return pd.DataFrame(rows)


def _mean(scorer: Scorer, part: Slice, forecasts: list[Forecast]) -> Statistics:
    """One arm's mean over seeds within a slice."""
    names = scorer.metrics if part.names["gap_id"] == ALL else [m for m in SLICE_METRICS if m in scorer.metrics]
    return statistics.over_seeds(
        [statistics.of_forecast(f, scorer.cases, [part.column], [], names, part.inside) for f in forecasts]
    )


def _macro(
    scorer: Scorer, names: dict[str, Any], parts: list[tuple[Slice, Statistics, Statistics]], settings: ReportSettings
) -> list[dict[str, Any]]:  # fmt: skip
    """The mean over findings of the slices over all gaps, as far as a finding has positives and negatives there.

    parts: (slice, what the arm changes, the reference).
    """
    kept = []
    for one in parts:
        part = one[0]
        known = part.inside & scorer.test.known[:, part.column]
        y = scorer.test.y[known, part.column]
        if min((y == 1).sum(), (y == 0).sum()) >= settings.min_positives:
            kept.append(one)
    if not kept:
        return []
    means: list[Statistics] = []
    for side in (1, 2):
        keys = {(m, c) for one in kept for f, m, c in one[side] if f != MACRO}
        means.append(
            {
                (MACRO, m, c): statistics.mean_of([one[side][one[0].names["finding"], m, c] for one in kept])
                for m, c in sorted(keys)
            }
        )
    inside = np.any([part.inside for part, _, _ in kept], axis=0)
    names = {
        **names, "gap_id": ALL, "sentence": None, "slice": "all filled gaps", "finding": MACRO,
        "edits": sum(part.names["edits"] for part, _, _ in kept),
    }  # fmt: skip
    counts = scorer.test.counts([part.column for part, _, _ in kept], inside)
    return _rows(names, MACRO, means[1], means[0], counts, settings)


def _rows(
    names: dict[str, Any], finding: str, other: Statistics, changed: Statistics, counts: dict[str, int],
    settings: ReportSettings,
) -> list[dict[str, Any]]:  # fmt: skip
    """One row a metric and calibration."""
    rows = []
    for (which, metric, calibrated), statistic in changed.items():
        if which != finding:
            continue
        deviation = bootstrap.pooled_deviation([statistic.by_seed])
        summary = summarise(statistic, counts["patients"], settings, deviation)
        known = not np.isnan(statistic.value)
        rows.append(
            {
                **names, "metric": metric, "calibrated": calibrated,
                "reference_value": other[which, metric, calibrated].value, **summary.columns,
                "p": bootstrap.p_value(summary.resampled) if known else float("nan"),
                "mde": bootstrap.smallest_effect(summary.spread, settings.level) if known else float("nan"),
                **counts, "reason": statistic.reason,
            }
        )  # fmt: skip
    return rows
