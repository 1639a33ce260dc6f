"""How wrong a trained model is where a gap lies: on the test films that match it.

For a finding that the pattern calls present: how often a test film without the finding gets a higher probability than
one of the matching films; for one called absent: how often a film with it gets a lower one (ties count half). That is
1 − AUROC with one side narrowed to the gap, so it needs no threshold and no calibration: 0 is right, 0.5 is chance.
Few films match a gap, so the figure is drawn towards the finding's own 1 − AUROC as if by ten more films. "Not
mentioned" counts as without the finding; uncertain films are left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import schema
from ..workspace import Workspace
from .attributes import attributes_of
from .rank import HALF_TEST_FILMS
from .rows import PatternCounter, Rows, load_rows, positions

VALUES = {"present": True, "absent": False}


@dataclass(frozen=True)
class ModelError:
    """error: (gaps,) float in [0, 1], NaN where it is not known; films: (gaps,) int, test films behind it; run: which
    run's predictions, None where there is none."""

    error: np.ndarray
    films: np.ndarray
    run: str | None


def latest_run(workspace: Workspace) -> str | None:
    """The newest complete run with predictions; None where there is none."""
    if not (workspace.has("predictions") and workspace.has("units")):
        return None
    found = []
    for path in workspace.path.glob("runs/*/run.json"):
        found.append((json.loads(path.read_text(encoding="utf-8"))["completed"], path.parent.name))
    return max(found)[1] if found else None


def model_error(workspace: Workspace, gaps: pd.DataFrame) -> ModelError:
    """The error of the newest run, trained on real films alone, around each gap; the mean over a gap's findings."""
    nothing = ModelError(np.full(len(gaps), np.nan), np.zeros(len(gaps), dtype=np.int64), None)
    run = latest_run(workspace)
    told = workspace.query("coverage/mean_predictions", run=run) if run is not None else pd.DataFrame()
    if not len(told):
        return nothing
    frame = load_rows(workspace, "test")
    frame = frame[frame["dicom_id"].isin(told["dicom_id"])].reset_index(drop=True)
    if not len(frame):
        return nothing
    told = told.set_index("dicom_id").loc[frame["dicom_id"]].reset_index(drop=True)
    patterns = [json.loads(text) for text in gaps["pattern"]]
    names = dict.fromkeys(name for pattern in patterns for name in pattern)
    races = {pattern["race"] for pattern in patterns if "race" in pattern}
    rows = Rows(frame, attributes_of(names, "all", sorted({*frame["race"].unique(), *races})))
    counter, number = PatternCounter.of(rows), rows.number
    wrong = {f: misranked(frame[c].to_numpy(), told[c].to_numpy()) for f, c in schema.COLUMN_OF.items() if f in names}
    error, films = np.full(len(gaps), np.nan), np.zeros(len(gaps), dtype=np.int64)
    for n in np.flatnonzero((gaps["test_films"] > 0).to_numpy()):
        pattern = patterns[n]
        found = positions(counter.bitmap([number[item] for item in pattern.items()]))
        parts = []
        for name, value in pattern.items():
            if name in wrong and value in VALUES and len(found):
                each, overall = wrong[name][value]
                if overall == overall:
                    parts.append((each[found].sum() + HALF_TEST_FILMS * overall) / (len(found) + HALF_TEST_FILMS))
        if parts:
            error[n], films[n] = np.mean(parts), len(found)
    return ModelError(error, films, run)


def misranked(codes: np.ndarray, probability: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
    """value → (for each film, the share of the other side that is ranked wrongly against it; their mean, 1 − AUROC).

    codes: (films,) the finding's label; probability: (films,) float. NaN where one side has no film.
    """
    present = codes == schema.PRESENT
    absent = np.isin(codes, (schema.ABSENT, schema.NOT_MENTIONED))
    if not present.any() or not absent.any():
        none = np.full(len(codes), np.nan)
        return {"present": (none, np.nan), "absent": (none, np.nan)}
    above = 1 - _below(np.sort(probability[absent]), probability)
    below = _below(np.sort(probability[present]), probability)
    return {
        "present": (above, float(above[present].mean())),
        "absent": (below, float(below[absent].mean())),
    }


def _below(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(values,) float: the share of `ordered` that lies below each value, ties by half."""
    ends = [np.searchsorted(ordered, values, side) for side in ("left", "right")]
    return (ends[0] + ends[1]) / 2 / len(ordered)
