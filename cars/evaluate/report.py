"""The verb `report`, and what the results page reads: scores, gains, reliability, and one plain sentence a backbone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .. import schema
from ..config import as_dict
from ..errors import SettingError, WorkspaceError
from ..metrics.ece import bin_of
from ..progress import Progress, part_of, silent
from ..workspace import Workspace
from . import calibration
from .scores import MACRO, PROBABILITIES, chosen_run, nested, predictions, score, test_set, units_of
from .settings import ReportSettings
from .slices import score_slices
from .uncertainty import score_uncertainty

#: The one metric that the sentences judge by; all others are there to be looked at.
PRIMARY = "auprc"


def report(workspace: Workspace, settings: ReportSettings, progress: Progress = silent) -> dict[str, Any]:
    """Score a run's test predictions and write them to the tables `scores`, `gains`, `slices` and
    `model_uncertainty`.

    Returns: run, units (how many), backbones: backbone → arm → metric → {value, low, high, n}, differences: backbone →
        arm → metric → {value, low, high, p, p_holm, verdict}, sentences: backbone → arm → sentence.
    """
    scores, gains = score(workspace, settings, part_of(progress, 0.0, 0.8))
    slices = score_slices(workspace, settings, part_of(progress, 0.8, 0.95))
    uncertain = score_uncertainty(workspace, settings, part_of(progress, 0.95, 1.0))
    run = scores["run"].iloc[0]
    for table, frame in (("scores", scores), ("gains", gains), ("slices", slices), ("model_uncertainty", uncertain)):
        if len(frame):
            workspace.write_part(table, run, frame)
    return {
        "run": run,
        "units": len(units_of(workspace, run)),
        "settings": as_dict(settings),
        "backbones": nested(scores),
        "differences": _differences(gains),
        "sentences": sentences(gains, settings.level),
    }


def score_table(workspace: Workspace, run: str | None = None) -> pd.DataFrame:
    """The rows of `scores` of a run (the latest), see `scores.score`. Raises: WorkspaceError before `report`."""
    return _rows(workspace, "scores", run)


def gain_table(workspace: Workspace, run: str | None = None) -> pd.DataFrame:
    """The rows of `gains` of a run (the latest): arm − real, paired; empty where the run has the arm "real" only."""
    if not workspace.has("gains"):
        _rows(workspace, "scores", run)  # no report at all is an error, a report without a second arm is not
        return pd.DataFrame(columns=["run", "backbone", "arm", "finding", "metric", "calibrated", "value", "verdict"])
    return _rows(workspace, "gains", run, may_be_empty=True)


def slice_table(workspace: Workspace, run: str | None = None) -> pd.DataFrame:
    """Each arm against real on the test films around the gaps that edits filled; see `slices.score_slices`.

    Empty where no gap was filled or the run has no second arm.
    """
    name, _ = chosen_run(workspace, run)
    workspace.need("scores", "report")
    return workspace.query("evaluate/slice_rows", run=name) if workspace.has("slices") else pd.DataFrame()


def _rows(workspace: Workspace, table: str, run: str | None, may_be_empty: bool = False) -> pd.DataFrame:
    name, _ = chosen_run(workspace, run)
    workspace.need(table, "report")
    frame = workspace.query(f"evaluate/{table}", run=name)
    if not len(frame) and not may_be_empty:
        raise WorkspaceError(f"The run {name} has not been scored.", "Run `cars report` first.")
    return frame


def reliability(
    workspace: Workspace,
    run: str | None,
    backbone: str,
    arm: str,
    calibrated: bool = False,
    finding: str | None = None,
    bins: int = 15,
) -> pd.DataFrame:
    """How often the finding is there among films given about the same probability, over all seeds of an arm.

    Args:
        finding: one finding; None pools all that every unit learned, each film and finding being one case.

    Returns: one row a bin that holds a film: bin_low, bin_high, mean_probability, observed, n (cases, seeds together),
        patients, low, high. The interval is Wilson's at 95% with the number of patients as n, since films of one
        patient, and seeds, are not independent; it is wider than one that counts cases.

    Raises: SettingError for an unknown backbone, arm or finding.
    """
    name, trained_with = chosen_run(workspace, run)
    all_units = units_of(workspace, name)
    units = all_units[(all_units["backbone"] == backbone) & (all_units["arm"] == arm)]
    if not len(units):
        pairs = sorted(set(zip(all_units["backbone"], all_units["arm"])))
        raise SettingError(
            f"The run {name} has no {backbone!r} with arm {arm!r}.",
            f"It has: {', '.join(f'{b} with {a}' for b, a in pairs)}.",
        )
    if finding is not None and finding not in schema.FINDINGS:
        raise SettingError(f"There is no finding {finding!r}.", f"The findings are: {', '.join(schema.FINDINGS)}.")
    test = test_set(workspace, all_units, trained_with)
    columns = [c for c, f in enumerate(schema.FINDINGS) if test.learned[c] and finding in (None, f)]
    rows, which = np.nonzero(test.known[:, columns])
    parts = []
    for unit in units.to_dict("records"):
        prob = predictions(workspace, unit["unit"], "test")[PROBABILITIES].to_numpy()
        prob = calibration.scaled(prob, unit["temperature"]) if calibrated else prob
        parts.append(
            pd.DataFrame(
                {
                    "p": prob[:, columns][rows, which],
                    "y": test.y[:, columns][rows, which],
                    "subject_id": test.films["subject_id"].to_numpy()[rows],
                }
            )
        )
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


def _differences(gains: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """backbone → arm → metric → the macro difference before calibration."""
    result: dict[str, dict[str, dict[str, Any]]] = {}
    if not len(gains):
        return result
    names = ("value", "low", "high", "p", "p_holm")
    for row in gains[(gains["finding"] == MACRO) & ~gains["calibrated"]].to_dict("records"):
        numbers = {k: None if np.isnan(row[k]) else row[k] for k in names}
        result.setdefault(row["backbone"], {}).setdefault(row["arm"], {})[row["metric"]] = {
            **numbers,
            "verdict": row["verdict"],
        }
    return result


def sentences(gains: pd.DataFrame, level: float = 0.95) -> dict[str, dict[str, str]]:
    """backbone → arm → whether the arm beats "real" in macro AUPRC, in plain words with what it rests on."""
    result: dict[str, dict[str, str]] = {}
    if not len(gains):
        return result
    main = gains[(gains["finding"] == MACRO) & (gains["metric"] == PRIMARY) & ~gains["calibrated"]]
    for row in main.to_dict("records"):
        result.setdefault(row["backbone"], {})[row["arm"]] = _sentence(row, level)
    return result


def _sentence(row: dict[Any, Any], level: float) -> str:
    if row["verdict"] == "undefined":
        return (
            f"{row['backbone']}: {row['arm']} and real cannot be compared, since no finding has enough positive and "
            f"negative test patients, or training positives."
        )
    found = {
        "better": f"{row['arm']} is better than real",
        "worse": f"{row['arm']} is worse than real",
        "no evidence": f"no evidence at this n that {row['arm']} differs from real",
    }[row["verdict"]]
    text = (
        f"{row['backbone']}: {found}: macro AUPRC {row['value']:+.3f} ({level:.0%} interval {row['low']:+.3f} to "
        f"{row['high']:+.3f}; Holm-adjusted p {row['p_holm']:.3f}) over {row['findings']} findings on "
        f"{row['n']} test films of {row['patients']} patients"
    )
    if row["seeds"] == 1:
        return f"{text}. One training seed: the interval leaves out the noise of training itself."
    return f"{text}, {row['seeds']} training seeds."
