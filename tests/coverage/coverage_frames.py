"""Random films tables for the coverage tests."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cars import schema
from cars.workspace import Workspace

RACES = ("ASIAN", "BLACK", "WHITE", "unknown")


def films_frame(seed: int, patients: int = 60, most_films: int = 4, **fixed: object) -> pd.DataFrame:
    """A films table: sex, age and race belong to the patient, findings to the study, view to the film.

    fixed: columns to overwrite with one value or one array.
    """
    random = np.random.default_rng(seed)
    rows = []
    for p in range(patients):
        split = random.choice(["train", "validate", "test"], p=[0.7, 0.1, 0.2])
        age = float(random.integers(0, 100)) if random.random() > 0.05 else None
        person = {
            "subject_id": f"{10000000 + p}",
            "split": split,
            "sex": str(random.choice(["F", "M", "unknown"], p=[0.45, 0.45, 0.1])),
            "age": age,
            "age_band": schema.age_band(age),
            "race": str(random.choice(RACES)),
        }
        study, labels = 0, {}
        for f in range(int(random.integers(1, most_films + 1))):
            if f == 0 or random.random() < 0.5:
                study += 1
                codes = random.choice([1, 0, -1, -2], size=14, p=[0.3, 0.2, 0.1, 0.4])
                labels = dict(zip(schema.COLUMN_OF.values(), codes.astype(np.int8), strict=True))
            view = str(random.choice(schema.VIEWS))
            rows.append(
                {
                    "dicom_id": f"{p:04d}-{f:02d}",
                    **person,
                    "study_id": f"{50000000 + 100 * p + study}",
                    "view": view,
                    "view_position": view,
                    **labels,
                    "path": None,
                    "on_disk": bool(random.random() < 0.8),
                    "rows": 64,
                    "columns": 64,
                    "study_date": None,
                    "report": None,
                    "dataset": "test",
                    "origin": "real",
                }
            )
    frame = pd.DataFrame(rows)
    for name in ("path", "study_date", "report"):
        frame[name] = frame[name].astype("str")
    return frame.assign(**fixed)


def workspace_of(folder: object, frame: pd.DataFrame) -> Workspace:
    """A workspace whose films table is that frame."""
    workspace = Workspace.create(folder)
    workspace.write_part("films", "films", frame)
    workspace.publish("films", "0")
    return workspace


def edits_frame(frame: pd.DataFrame, edits: list[tuple[str, str, str]], passed: bool = True) -> pd.DataFrame:
    """An edits table. edits: (source dicom_id, finding, insert or delete); ids count up as edit-0, edit-1, …"""
    rows = []
    for n, (source, finding, direction) in enumerate(edits):
        film = frame.loc[frame["dicom_id"] == source].iloc[0]
        before = {f: int(film[c]) for f, c in schema.COLUMN_OF.items()}
        after = schema.after_edit(before, {finding: direction})
        rows.append(
            {
                "edit_id": f"edit-{n}",
                "source_dicom_id": source,
                "source_subject_id": film["subject_id"],
                "source_study_id": film["study_id"],
                "finding": finding,
                "direction": direction,
                **{c: np.int8(after[f]) for f, c in schema.COLUMN_OF.items()},
                **{c: film[c] for c in ("view", "sex", "age_band", "race")},
                "split": "train",
                "passed": passed,
                "error": None,
                "origin": "synthetic",
                "generator": "cars",
            }
        )
    return pd.DataFrame(rows).astype({"error": "str"})
