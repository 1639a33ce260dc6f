"""What the page shows of feature space: shares under a filter, curves of distances, near-misses, each gap's row."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from ... import index
from ...workspace import Workspace
from .measure import clustered

#: Points of a curve of distances.
POINTS = 201


def measured(workspace: Workspace) -> dict[str, Any] | None:
    """The result of the last `space`, and `stale`: what has changed since, in words; None before the first."""
    version = workspace.version("space_summary")
    if version is None:
        return None
    folder = workspace.path / "tables" / "space_summary" / version
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        inputs = json.loads((folder / "note.json").read_text(encoding="utf-8"))["inputs"]
    except FileNotFoundError:
        return None
    changed = []
    if inputs["vectors"] != index.info(workspace)["key"]:
        changed.append("the films were embedded anew")
    if inputs["gaps"] != workspace.version("gaps"):
        changed.append("the gaps were searched anew")
    return {**result, "stale": " and ".join(changed)}


def film_frame(workspace: Workspace) -> pd.DataFrame:
    """One row a film of `space_films` with its patient and labels; in each split the farthest first."""
    return workspace.query("coverage/space_films")


def shares(frame: pd.DataFrame) -> pd.DataFrame:
    """films, value, low, high, n_films, n_patients: the covered share of each group of these films that has any.

    The groups: train (films that other patients' films cover), validate, test, and test with synthetic films.
    """
    real = frame[frame["origin"] == "real"]
    rows = []
    for split in ("train", "validate", "test"):
        part = real[real["split"] == split]
        if len(part):
            patients = part["subject_id"].to_numpy(object)
            rows.append({"films": split, **clustered(part["covered"].to_numpy(bool), patients)})
            if split == "test" and part["nearest_synthetic"].notna().any():
                share = clustered(part["covered_after"].to_numpy(bool), patients)
                rows.append({"films": "test and synthetic", **share})
    return pd.DataFrame(rows, columns=["films", "value", "low", "high", "n_films", "n_patients"])


def sentences(found: pd.DataFrame) -> list[str]:
    """The shares in plain words, the test films first; empty where there is no test film."""
    rows = found.set_index("films")
    if "test" not in rows.index:
        return []
    test = rows.loc["test"]
    said = [
        f"{test['value']:.0%} of {int(test['n_films']):,} test films, of {int(test['n_patients']):,} patients, lie "
        f"within reach of a train film (95% interval {test['low']:.0%} to {test['high']:.0%})."
    ]
    if "train" in rows.index:
        said.append(
            f"Of the train films {rows.loc['train', 'value']:.0%} lie within reach of another patient's: that much is "
            "to be expected of test films like them."
        )
    if "test and synthetic" in rows.index:
        said.append(f"With the accepted synthetic films it is {rows.loc['test and synthetic', 'value']:.0%}.")
    return said


def curves(frame: pd.DataFrame) -> pd.DataFrame:
    """films, measure (distance or radius), share, value, n: how far films are from the nearest train film: quantiles.

    A train film's distance is to the nearest film of another patient (or of any, if radii were taken so).
    """
    groups = {
        "train": frame[(frame["split"] == "train") & (frame["origin"] == "real")],
        "test": frame[frame["split"] == "test"],
        "synthetic": frame[frame["origin"] == "synthetic"],
    }
    parts = []
    steps = np.linspace(0, 1, POINTS)
    for name, part in groups.items():
        for measure in ("distance", "radius") if name == "test" else ("distance",):
            if len(part):
                values = np.quantile(part[measure].to_numpy(float), steps)
                parts.append(
                    pd.DataFrame({"films": name, "measure": measure, "share": steps, "value": values, "n": len(part)})
                )
    columns = ["films", "measure", "share", "value", "n"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def near_misses(frame: pd.DataFrame) -> pd.DataFrame:
    """Test films that no train film reaches, the farthest first: dicom_id, subject_id, distance, radius, times
    (distance over the radius of the nearest train film; NaN where that is 0), nearest_dicom_id, covered_after."""
    test = frame[(frame["split"] == "test") & ~frame["covered"].astype(bool)].sort_values(
        ["distance", "dicom_id"], ascending=[False, True], ignore_index=True
    )
    test["times"] = test["distance"] / test["radius"].where(test["radius"] > 0)
    columns = ["dicom_id", "subject_id", "distance", "radius", "times", "nearest_dicom_id", "covered_after"]
    return test[columns]


def listed_gaps(workspace: Workspace) -> pd.DataFrame:
    """Rows of `space_gaps` with rank and pattern, for the gaps that are listed now, best ranked first."""
    return workspace.query("coverage/space_gaps")
