"""What several trainings of a backbone and arm disagree about: predictive entropy, split, and does it warn of errors?

Each film has one probability a training seed (an ensemble: Lakshminarayanan et al. 2017, arXiv 1612.01474). The entropy
of their mean is the total; the mean of their entropies is what no further training resolves; the rest is the mutual
information between answer and training, what they disagree about (Houlsby et al. 2011, arXiv 1112.5745).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import schema
from ..metrics.aurc import area
from ..metrics.auroc import auroc
from ..metrics.entropy import binary_entropy
from ..progress import Progress, silent
from ..workspace import Workspace
from . import bootstrap
from .scores import PROBABILITIES, Scorer, learned, predictions
from .settings import ReportSettings


@dataclass(frozen=True)
class Split:
    """Entropies in nats, each of the shape of one member's probabilities; total = expected + mutual."""

    total: np.ndarray
    expected: np.ndarray
    mutual: np.ndarray


def split(members: np.ndarray) -> Split:
    """members (M, …): probabilities of M predictions of the same films. One member has a mutual information of 0."""
    total = binary_entropy(members.mean(axis=0))
    expected = binary_entropy(members).mean(axis=0)
    return Split(total, expected, np.maximum(total - expected, 0.0))  # entropy is concave; below 0 is rounding


def score_uncertainty(
    workspace: Workspace, settings: ReportSettings, progress: Progress = silent, scorer: Scorer | None = None
) -> pd.DataFrame:
    """Uncertainty of each backbone and arm with several seeds, on the test films. Columns: docs/architecture.md.

    Empty where no backbone and arm has several. scorer: of the same run and settings, where the caller has one.
    """
    scorer = scorer or Scorer(workspace, settings, metrics=())
    rows: list[dict[str, Any]] = []
    groups = list(scorer.units.groupby(["backbone", "arm"], sort=False))
    for done, ((backbone, arm), units) in enumerate(groups):
        progress(done, len(groups), f"uncertainty of {backbone}, {arm}")
        if len(units) < 2:
            continue
        members = np.stack([predictions(workspace, u, "test")[PROBABILITIES].to_numpy() for u in units["unit"]])
        could_learn = np.all([learned(one) for one in units["train_positives"]], axis=0)
        names = {"run": scorer.run, "backbone": backbone, "arm": arm, "source": "seeds", "members": len(members)}
        for column, finding in enumerate(schema.FINDINGS):
            inside = scorer.test.known[:, column]
            counts = scorer.test.counts([column])
            for measure, found, reason in _measures(scorer, members[:, inside, column], column, inside, could_learn):
                value, resampled = found
                interval = bootstrap.interval(value, resampled, settings.level)
                se = np.nanstd(resampled, ddof=1) if np.isfinite(resampled).sum() > 1 else float("nan")
                rows.append(
                    {
                        **names, "finding": finding, "measure": measure, "value": interval.value,
                        "low": interval.low, "high": interval.high, "se": float(se), "n": counts["n"],
                        "positives": counts["positives"], "patients": counts["patients"],
                        "resamples": interval.resamples, "undefined": interval.undefined, "reason": reason,
                    }
                )  # fmt: skip
    progress(1, 1, "scored")
    return pd.DataFrame(rows)


#: (value, resampled (R,))
Found = tuple[float, np.ndarray]


def _measures(
    scorer: Scorer, members: np.ndarray, column: int, inside: np.ndarray, could_learn: np.ndarray
) -> list[tuple[str, Found, str | None]]:
    """(measure, (value, resampled), reason) of one finding. members: (M, n) probabilities of the films `inside`."""
    y, weights = scorer.test.y[inside, column], scorer.cases.weights[:, inside]
    parts = split(members)
    wrong = ((members.mean(axis=0) >= 0.5) != (y == 1)).astype(np.float64)
    found: list[tuple[str, Found, str | None]] = []
    reason = None
    if not could_learn[column]:
        reason = "no training film with the finding"
    elif not len(y):
        reason = "no film with a known label"
    scale = np.log(2)  # auroc takes scores in [0, 1]
    measures: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        **{name: _mean_of(getattr(parts, name)) for name in ("total", "expected", "mutual")},
        "aurc_entropy": lambda w: area(wrong, -parts.total, w),
        "aurc_mutual": lambda w: area(wrong, -parts.mutual, w),
        "auroc_entropy": lambda w: auroc(wrong, np.clip(parts.total / scale, 0, 1), w),
        "auroc_mutual": lambda w: auroc(wrong, np.clip(parts.mutual / scale, 0, 1), w),
    }
    for name, measure in measures.items():
        if reason is not None:
            found.append((name, (float("nan"), np.full(len(weights), np.nan)), reason))
            continue
        value = float(measure(np.ones((1, len(y)), dtype=np.uint8))[0])
        one_sided = "every answer at 0.5 is right, or every one is wrong" if np.isnan(value) else None
        found.append((name, (value, measure(weights)), one_sided))
    return found


def _mean_of(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    from ..metrics._base import mean

    return lambda w: mean(values, w)
