"""The verb `report`, and what the results page reads: scores, gains, reliability, and one plain sentence a backbone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..config import as_dict
from ..errors import WorkspaceError
from ..progress import Progress, part_of, silent
from ..provenance import note
from ..workspace import Workspace, write_json
from .scores import MACRO, chosen_run, nested, score, units_of
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
    inputs = {"units": sorted(units_of(workspace, run)["unit"])}
    write_json(workspace.path / "runs" / run / "report.json", note("report", as_dict(settings), inputs))
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


def uncertainty_table(workspace: Workspace, run: str | None = None) -> pd.DataFrame:
    """The rows of `model_uncertainty` of a run (the latest); empty where its report has none."""
    name, _ = chosen_run(workspace, run)
    workspace.need("scores", "report")
    if not workspace.has("model_uncertainty"):
        return pd.DataFrame()
    return workspace.query("evaluate/model_uncertainty", run=name)


def _rows(workspace: Workspace, table: str, run: str | None, may_be_empty: bool = False) -> pd.DataFrame:
    name, _ = chosen_run(workspace, run)
    workspace.need(table, "report")
    frame = workspace.query(f"evaluate/{table}", run=name)
    if not len(frame) and not may_be_empty:
        raise WorkspaceError(f"The run {name} has not been scored.", "Run `cars report` first.")
    return frame


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
    """backbone → arm → whether the arm beats "real" in macro AUPRC, in plain words with what it rests on.

    The row's own `sentence` where it has one, which also says the smallest difference that its n could have shown.
    """
    result: dict[str, dict[str, str]] = {}
    if not len(gains):
        return result
    main = gains[(gains["finding"] == MACRO) & (gains["metric"] == PRIMARY) & ~gains["calibrated"]]
    for row in main.to_dict("records"):
        own = row.get("sentence")
        result.setdefault(row["backbone"], {})[row["arm"]] = own if isinstance(own, str) else _sentence(row, level)
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
