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
from .comparisons import COLUMNS, credit
from .scores import MACRO, chosen_run, nested, score, units_of
from .settings import TREATED, ReportSettings
from .slices import score_slices
from .uncertainty import score_uncertainty

#: The one metric that the sentences judge by; all others are there to be looked at.
PRIMARY = "auprc"
#: What an empty table of gains still has.
GAIN_COLUMNS = [
    "run", "backbone", "arm", "reference", "contrast", "finding", "metric", "calibrated", "value", "verdict",
]  # fmt: skip


def report(workspace: Workspace, settings: ReportSettings, progress: Progress = silent) -> dict[str, Any]:
    """Score a run's test predictions and write them to the tables `scores`, `gains`, `slices` and
    `model_uncertainty`.

    Returns: run, units (how many), backbones: backbone → arm → metric → {value, low, high, n}, differences: backbone →
        arm → metric → {value, low, high, p, p_holm, verdict}, sentences: backbone → arm → sentence, credits: backbone →
        arm → {verdict, sentence} of arms with edits against every control.
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
        "sentences": sentences(gains),
        "credits": _credits(gains, settings.level),
    }


def score_table(workspace: Workspace, run: str | None = None) -> pd.DataFrame:
    """The rows of `scores` of a run (the latest), see `scores.score`. Raises: WorkspaceError before `report`."""
    return _rows(workspace, "scores", run)


def gain_table(workspace: Workspace, run: str | None = None) -> pd.DataFrame:
    """The rows of `gains` of a run (the latest): arm − reference, paired; empty where nothing was compared.

    Raises: WorkspaceError where a version that compared otherwise has scored the run.
    """
    if not workspace.has("gains"):
        _rows(workspace, "scores", run)  # no report at all is an error, a report without a second arm is not
        return pd.DataFrame(columns=GAIN_COLUMNS)
    rows = _rows(workspace, "gains", run, may_be_empty=True)
    if len(rows) and ("contrast" not in rows or rows["contrast"].isna().any()):
        name = rows["run"].iloc[0]
        raise WorkspaceError(f"An older version of CARS has scored the run {name}.", "Run `cars report` again.")
    return rows


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


def _credits(gains: pd.DataFrame, level: float) -> dict[str, dict[str, dict[str, str]]]:
    result: dict[str, dict[str, dict[str, str]]] = {}
    for row in credits(gains, level).to_dict("records"):
        result.setdefault(row["backbone"], {})[row["arm"]] = {"verdict": row["verdict"], "sentence": row["sentence"]}
    return result


def _differences(gains: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """backbone → arm → metric → the macro difference before calibration."""
    result: dict[str, dict[str, dict[str, Any]]] = {}
    if not len(gains):
        return result
    names = ("value", "low", "high", "p", "p_holm")
    for row in gains[(gains["finding"] == MACRO) & ~gains["calibrated"] & ~gains["contrast"]].to_dict("records"):
        numbers = {k: None if np.isnan(row[k]) else row[k] for k in names}
        result.setdefault(row["backbone"], {}).setdefault(row["arm"], {})[row["metric"]] = {
            **numbers,
            "verdict": row["verdict"],
        }
    return result


def sentences(gains: pd.DataFrame) -> dict[str, dict[str, str]]:
    """backbone → arm → whether the arm beats the reference in macro AUPRC, in plain words with what it rests on, and
    the smallest difference that its n could have shown."""
    result: dict[str, dict[str, str]] = {}
    if not len(gains):
        return result
    main = gains[(gains["finding"] == MACRO) & (gains["metric"] == PRIMARY) & ~gains["calibrated"] & ~gains["contrast"]]
    for row in main.to_dict("records"):
        result.setdefault(row["backbone"], {})[row["arm"]] = row["sentence"]
    return result


def credits(gains: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """`comparisons.credit` in the metric that the sentences judge by; empty where nothing was compared."""
    return credit(gains, PRIMARY, level) if len(gains) else pd.DataFrame(columns=COLUMNS)


def summary(gains: pd.DataFrame, level: float = 0.95) -> list[str]:
    """One sentence an arm with accepted edits: on how many backbones it is better or worse, or neither is shown."""
    if not len(gains):
        return []
    main = gains[(gains["finding"] == MACRO) & (gains["metric"] == PRIMARY) & ~gains["calibrated"].astype(bool)]
    main = main[~main["contrast"].astype(bool) & main["arm"].isin(TREATED)]
    owed = credits(gains, level)
    found = []
    for arm, rows in main.groupby("arm", sort=False):
        counts = rows["verdict"].value_counts()
        of = f"{len(rows)} backbone{'s' if len(rows) > 1 else ''}"
        text = (
            f"{arm}: in macro AUPRC better than {rows['reference'].iloc[0]} on {counts.get('better', 0)} of {of}, "
            f"worse on {counts.get('worse', 0)}, no evidence at this n on {counts.get('no evidence', 0)}"
        )
        if counts.get("undefined", 0):
            text += f", undefined on {counts['undefined']}"
        own = owed[owed["arm"] == arm]
        if len(own) and not (own["verdict"] == "cannot be told").any():
            text += f"; better than every control on {(own['verdict'] == 'credited').sum()}"
        found.append(f"{text}.")
    return found
