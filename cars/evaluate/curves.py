"""What the result figures draw from test predictions: reliability, precision-recall, uncertainty, risk-coverage.

Each function takes `open_run(workspace, run)`, which reads labels and units once. Intervals resample whole patients, as
those of `scores` do, and average the training seeds in each resample; they are percentile intervals at 95% unless a
`level` is given. Where something is undefined the table has one row of NaN with its n, so that it can be said.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from .. import schema
from ..errors import SettingError
from ..metrics.ece import bin_of
from ..workspace import Workspace
from . import bootstrap, calibration
from .scores import PROBABILITIES, TestSet, chosen_run, learned, predictions, test_set, units_of

#: Points of a curve, and bins of a histogram.
POINTS, BINS = 101, 20
RESAMPLES = 300
MEASURES = ("entropy", "mutual information")
#: The greatest binary entropy, in nats.
MOST = float(np.log(2))


@dataclass(frozen=True)
class Tested:
    """A run's units and what their test predictions are compared with."""

    workspace: Workspace
    run: str
    units: pd.DataFrame
    test: TestSet

    @cached_property
    def subjects(self) -> np.ndarray:
        """The patient of each test film, str (N,)."""
        return self.test.films["subject_id"].to_numpy(str)

    def of(self, backbone: str, arm: str) -> pd.DataFrame:
        """The units of a backbone and arm, by seed. Raises: SettingError that lists what the run has."""
        rows = self.units[(self.units["backbone"] == backbone) & (self.units["arm"] == arm)].sort_values("seed")
        if not len(rows):
            pairs = sorted(set(zip(self.units["backbone"], self.units["arm"])))
            raise SettingError(
                f"The run {self.run} has no {backbone!r} with arm {arm!r}.",
                f"It has: {', '.join(f'{b} with {a}' for b, a in pairs)}.",
            )
        return rows

    def probabilities(self, backbone: str, arm: str, calibrated: bool) -> np.ndarray:
        """float64 (seeds, N, 14)."""
        found = []
        for unit in self.of(backbone, arm).to_dict("records"):
            prob = predictions(self.workspace, unit["unit"], "test")[PROBABILITIES].to_numpy(np.float64)
            found.append(calibration.scaled(prob, unit["temperature"]) if calibrated else prob)
        return np.stack(found)

    def columns(self, finding: str | None) -> list[int]:
        """The column of a finding, if every unit learned it; None: all that every unit learned.

        Raises: SettingError for an unknown finding.
        """
        if finding is not None and finding not in schema.FINDINGS:
            raise SettingError(f"There is no finding {finding!r}.", f"The findings are: {', '.join(schema.FINDINGS)}.")
        return [c for c, f in enumerate(schema.FINDINGS) if self.test.learned[c] and finding in (None, f)]

    def cases(self, finding: str | None) -> tuple[np.ndarray, np.ndarray]:
        """(film, finding's column) of each known label of the finding, or of all that every unit learned: int (C,)."""
        columns = self.columns(finding)
        rows, which = np.nonzero(self.test.known[:, columns])
        return rows, np.asarray(columns, dtype=np.int64)[which]


def open_run(workspace: Workspace, run: str | None = None) -> Tested:
    """The run asked for, or the latest. Raises: WorkspaceError where there is none or its test films have changed."""
    name, trained_with = chosen_run(workspace, run)
    units = units_of(workspace, name)
    return Tested(workspace, name, units, test_set(workspace, units, trained_with))


# Reliability --------------------------------------------------------------------------------------------------------


def reliability(
    workspace: Workspace,
    run: str | None,
    backbone: str,
    arm: str,
    calibrated: bool = False,
    finding: str | None = None,
    bins: int = 15,
) -> pd.DataFrame:
    """`reliability_of` for a run that is read for this one table."""
    return reliability_of(open_run(workspace, run), backbone, arm, calibrated, finding, bins)


def reliability_of(
    view: Tested, backbone: str, arm: str, calibrated: bool = False, finding: str | None = None, bins: int = 15
) -> pd.DataFrame:
    """How often the finding is there among films given about the same probability, over all seeds of an arm.

    Args:
        finding: one finding; None pools all that every unit learned, each film and finding being one case.

    Returns: one row a bin that holds a film: bin_low, bin_high, mean_probability, observed, n (cases, seeds together),
        patients, low, high. The interval is Wilson's at 95% with the number of patients as n, since films of one
        patient, and seeds, are not independent; it is wider than one that counts cases.

    Raises: SettingError for an unknown backbone, arm or finding.
    """
    rows, columns = view.cases(finding)
    parts = [
        pd.DataFrame({"p": prob[rows, columns], "y": view.test.y[rows, columns], "subject_id": view.subjects[rows]})
        for prob in view.probabilities(backbone, arm, calibrated)
    ]
    cases = pd.concat(parts, ignore_index=True)
    cases["bin"] = bin_of(cases["p"].to_numpy(), bins)
    table = cases.groupby("bin").agg(
        mean_probability=("p", "mean"), observed=("y", "mean"), n=("y", "size"), patients=("subject_id", "nunique")
    )
    table.insert(0, "bin_low", table.index / bins)
    table.insert(1, "bin_high", (table.index + 1) / bins)
    table["low"], table["high"] = wilson(table["observed"].to_numpy(), table["patients"].to_numpy())
    return table.reset_index(drop=True)


def wilson(share: np.ndarray, n: np.ndarray, z: float = 1.959964) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval (1927) of a share seen in n cases; z = 1.96 for 95%."""
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


# Precision and recall -----------------------------------------------------------------------------------------------


def precision_recall(
    view: Tested, backbone: str, arm: str, finding: str, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """The precision-recall curve of a finding, the mean over seeds at each recall, with a pointwise interval.

    At recall r it holds the precision at the highest threshold that finds a share r or more of the positive films;
    films that tie enter together (Davis and Goadrich, The relationship between precision-recall and ROC curves, 2006).

    Returns: POINTS rows: recall (0.01 is the second), precision, low, high, prevalence, n (films), positives, patients,
        seeds. One row of NaN where the finding has no positive or no negative test film, or a unit did not learn it.

    Raises: SettingError for an unknown backbone, arm or finding.
    """
    view.columns(finding)
    c = schema.FINDINGS.index(finding)
    known = view.test.known[:, c]
    y, subjects = view.test.y[known, c], view.subjects[known]
    units = view.of(backbone, arm)
    about = {
        "prevalence": float(y.mean()) if len(y) else float("nan"), "n": len(y), "positives": int(y.sum()),
        "patients": len(set(subjects)), "seeds": len(units),
    }  # fmt: skip
    could_learn = all(learned(row)[c] for row in units["train_positives"])
    if not could_learn or not 0 < y.sum() < len(y):
        return pd.DataFrame([{"recall": np.nan, "precision": np.nan, "low": np.nan, "high": np.nan, **about}])
    prob = view.probabilities(backbone, arm, False)[:, known, c]
    weights = bootstrap.patient_weights(subjects, resamples, seed).astype(np.float64)
    ones = np.ones((1, len(y)))
    values = np.mean([_precision_at(y, p, ones)[0] for p in prob], axis=0)
    low, high = _over_seeds(np.stack([_precision_at(y, p, weights) for p in prob]), level, seed)
    return pd.DataFrame({"recall": np.linspace(0, 1, POINTS), "precision": values, "low": low, "high": high, **about})


def _precision_at(y: np.ndarray, p: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Precision at POINTS recalls under each row of weights (R, N): (R, POINTS); NaN in a row without a positive."""
    order = np.argsort(-p, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))
    everything = np.cumsum(weights[:, order], axis=1)[:, ends]
    positives = np.cumsum(weights[:, order] * y[order], axis=1)[:, ends]
    grid = np.linspace(0, 1, POINTS)
    found = np.full((len(weights), POINTS), np.nan)
    for r, (tp, n) in enumerate(zip(positives, everything)):
        if tp[-1] > 0:
            # recall 0 is reached before any film; there the curve starts with the first positive ones
            wanted = np.maximum(grid * tp[-1], np.min(tp[tp > 0]))
            at = np.minimum(np.searchsorted(tp, wanted - 1e-9), len(tp) - 1)
            found[r] = tp[at] / n[at]
    return found


# Uncertainty --------------------------------------------------------------------------------------------------------


def uncertainty(view: Tested, backbone: str, arm: str, calibrated: bool, finding: str | None) -> pd.DataFrame:
    """The ensemble over seeds, one row a case (film × finding).

    Returns: subject_id, prob (the mean over seeds), y, entropy (of the mean probability), mutual (entropy less the mean
        entropy of the seeds: what they disagree about; NaN with one seed), both in nats, wrong (bool: prob ≥ 0.5 is not
        the label), members (seeds). Smith and Gal, Understanding measures of uncertainty for adversarial example
        detection, 2018, arXiv 1803.08533.
    """
    rows, columns = view.cases(finding)
    prob = view.probabilities(backbone, arm, calibrated)[:, rows, columns]  # (seeds, cases)
    mean = prob.mean(axis=0)
    total = _entropy(mean)
    mutual = np.maximum(total - _entropy(prob).mean(axis=0), 0.0) if len(prob) > 1 else np.full(len(mean), np.nan)
    y = view.test.y[rows, columns]
    return pd.DataFrame(
        {"subject_id": view.subjects[rows], "prob": mean, "y": y, "entropy": total, "mutual": mutual,
         "wrong": (mean >= 0.5) != (y == 1), "members": len(prob)}
    )  # fmt: skip


def _entropy(p: np.ndarray) -> np.ndarray:
    from scipy.special import entr

    return entr(p) + entr(1 - p)


def uncertainty_histogram(
    cases: pd.DataFrame, measure: str, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """How uncertain right and wrong answers are.

    Args:
        cases: as `uncertainty` gives them. measure: one of MEASURES.

    Returns: one row a bin and answer (right, wrong): measure, answer, bin_low, bin_high, share (of the answers of that
        kind, in [0, 1]), low, high, cases (in the bin), n (answers of that kind), patients (that have one), members. A
        kind without an answer, or a measure that is undefined, has one row of NaN with its n.

    Raises: SettingError for an unknown measure.
    """
    if measure not in MEASURES:
        raise SettingError(f"There is no measure {measure!r}.", f"The measures are: {', '.join(MEASURES)}.")
    values = cases["entropy" if measure == "entropy" else "mutual"].to_numpy(float)
    members = int(cases["members"].iloc[0]) if len(cases) else 0
    top = MOST if measure == "entropy" else max(float(np.nanmax(values, initial=0.0)), 1e-3)
    edges = np.linspace(0, top, BINS + 1)
    parts = []
    for answer, wanted in (("right", False), ("wrong", True)):
        part = (cases["wrong"] == wanted).to_numpy()
        subjects = cases["subject_id"].to_numpy(str)[part]
        about = {"measure": measure, "answer": answer, "n": int(part.sum()), "patients": len(set(subjects)),
                 "members": members}  # fmt: skip
        if not part.any() or np.isnan(values[part]).any():
            nothing = dict.fromkeys(("bin_low", "bin_high", "share", "low", "high", "cases"), np.nan)
            parts.append(pd.DataFrame([{**about, **nothing}]))
            continue
        patients, of_case = np.unique(subjects, return_inverse=True)
        bins = np.clip(np.searchsorted(edges, values[part], side="right") - 1, 0, BINS - 1)
        table = np.zeros((len(patients), BINS))
        np.add.at(table, (of_case, bins), 1)
        weights = bootstrap.patient_weights(patients, resamples, seed).astype(np.float64)
        drawn = weights @ table
        low, high = np.quantile(drawn / drawn.sum(axis=1, keepdims=True), [(1 - level) / 2, (1 + level) / 2], axis=0)
        counts = table.sum(axis=0)
        parts.append(
            pd.DataFrame(
                {**about, "bin_low": edges[:-1], "bin_high": edges[1:], "share": counts / counts.sum(), "low": low,
                 "high": high, "cases": counts}
            )
        )  # fmt: skip
    columns = ["measure", "answer", "bin_low", "bin_high", "share", "low", "high", "cases", "n", "patients", "members"]
    return pd.concat(parts, ignore_index=True)[columns]


def risk_coverage(
    cases: pd.DataFrame, measure: str = "entropy", resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """The error rate among the most certain cases, for each share of cases that is answered at all.

    Geifman and El-Yaniv, Selective classification for deep neural networks, 2017, arXiv 1705.08500. Cases that tie have
    no order: the mean over their orders is taken.

    Args:
        cases: as `uncertainty` gives them. measure: what the least certain are dropped by, one of MEASURES.

    Returns: coverage (0.05 … 1), risk, low, high, n (cases), wrong (of them), patients, members; one row of NaN where
        there is no case or the measure is undefined.

    Raises: SettingError for an unknown measure.
    """
    if measure not in MEASURES:
        raise SettingError(f"There is no measure {measure!r}.", f"The measures are: {', '.join(MEASURES)}.")
    values = cases["entropy" if measure == "entropy" else "mutual"].to_numpy(float)
    wrong = cases["wrong"].to_numpy(bool)
    subjects = cases["subject_id"].to_numpy(str)
    about = {"n": len(cases), "wrong": int(wrong.sum()), "patients": len(set(subjects)),
             "members": int(cases["members"].iloc[0]) if len(cases) else 0}  # fmt: skip
    if not len(cases) or np.isnan(values).any():
        return pd.DataFrame([{"coverage": np.nan, "risk": np.nan, "low": np.nan, "high": np.nan, **about}])
    patients, of_case = np.unique(subjects, return_inverse=True)
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    grid = np.linspace(0.05, 1, 20)

    def curve(weight: np.ndarray) -> np.ndarray:
        kept = np.append(0.0, np.cumsum(weight[order])[ends])
        errors = np.append(0.0, np.cumsum((weight * wrong)[order])[ends])
        # between two ends of ties the errors come in at an even rate, which is their mean over all orders
        return np.interp(grid * kept[-1], kept, errors) / (grid * kept[-1])

    drawn = bootstrap.patient_weights(patients, resamples, seed).astype(np.float64)
    resampled = np.stack([curve(row[of_case]) for row in drawn])
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    risk = curve(np.ones(len(values)))
    return pd.DataFrame({"coverage": grid, "risk": risk, "low": low, "high": high, **about})


def _over_seeds(resampled: np.ndarray, level: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise percentile interval of curves (seeds, R, points) when seeds are drawn beside the patients."""
    seeds, resamples = resampled.shape[:2]
    rng = np.random.default_rng([seed, 1])
    shares = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds  # (R, seeds)
    mean = np.einsum("rs,srp->rp", shares, resampled)
    mean = mean[~np.isnan(mean).any(axis=1)]
    if not len(mean):
        return np.full(resampled.shape[2], np.nan), np.full(resampled.shape[2], np.nan)
    low, high = np.quantile(mean, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
