"""A small workspace whose findings can be seen: a bright corner a finding. And a backbone that learns it in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cars import schema
from cars.backbones import BACKBONES
from cars.imaging import save_png
from cars.workspace import Workspace

SIDE = 48
#: Finding → the corner that is bright when it is there.
CORNERS = {"Pleural Effusion": (30, 0), "Pneumothorax": (0, 0), "Lung Lesion": (0, 30)}


def draw(rng: np.random.Generator, present: set[str]) -> np.ndarray:
    """A noisy grey square with a bright corner for each finding that is there."""
    image = rng.integers(60, 120, (SIDE, SIDE)).astype(np.uint8)
    for finding in present:
        row, column = CORNERS[finding]
        image[row : row + 18, column : column + 18] += 60
    return image


def labels(present: set[str], other: int = schema.NOT_MENTIONED) -> dict[str, int]:
    """The 14 finding columns."""
    return {slug: schema.PRESENT if f in present else other for f, slug in schema.COLUMN_OF.items()}


def make_workspace(path: Path, patients: int = 60, edits: int = 12, seed: int = 0) -> Workspace:
    """A workspace with films, edits and their files; two films a patient, split 60/20/20 by patient."""
    rng = np.random.default_rng(seed)
    workspace = Workspace.create(path)
    films = []
    for n in range(patients):
        split = ("train", "train", "train", "validate", "test")[n % 5]
        for k in range(2):
            present = {f for f in CORNERS if rng.random() < (0.1 if f == "Lung Lesion" else 0.4)}
            dicom_id = f"film-{n:03d}-{k}"
            file = path / "source" / f"{dicom_id}.png"
            save_png(file, draw(rng, present))
            films.append(
                {
                    "dicom_id": dicom_id, "subject_id": f"1{n:07d}", "study_id": f"5{n:05d}{k:02d}", "split": split,
                    "view": "PA", "view_position": "PA", "sex": "F", "age": 50.0, "age_band": "40–59",
                    "race": "unknown", **labels(present), "path": str(file), "on_disk": True, "rows": SIDE,
                    "columns": SIDE, "study_date": None, "report": None, "dataset": "test", "origin": "real",
                }
            )  # fmt: skip
    table = pd.DataFrame(films)
    workspace.write_part("films", "0", table)
    if edits:
        workspace.write_part("edits", "0", make_edits(workspace, table, edits, rng))
    return workspace


def make_edits(workspace: Workspace, films: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Insertions of Lung Lesion into train films; the last one failed a gate. Then the same by label-prompted.

    Of the baseline's films, one in four passed the gates.
    """
    rows = []
    sources = films[(films["split"] == "train") & (films["lung_lesion"] != schema.PRESENT)].head(n)
    for k, source in enumerate(sources.to_dict("records")):
        edit_id = f"edit{k:04d}"
        film, sham = f"films/synthetic/{edit_id}.png", f"films/synthetic/{edit_id}.sham.png"
        save_png(workspace.path / film, draw(rng, {"Lung Lesion"}))
        save_png(workspace.path / sham, draw(rng, set()))
        codes = {f: int(source[slug]) for f, slug in schema.COLUMN_OF.items()}
        after = schema.after_edit(codes, {"Lung Lesion": "insert"})
        rows.append(
            {
                "edit_id": edit_id, "plan_id": "p", "item": k, "gap_id": "g", "source_dicom_id": source["dicom_id"],
                "source_subject_id": source["subject_id"], "source_study_id": source["study_id"],
                "findings": '{"Lung Lesion": "insert"}', "finding": "Lung Lesion", "direction": "insert",
                **{schema.COLUMN_OF[f]: code for f, code in after.items()},
                "view": "PA", "view_position": "PA", "sex": "F", "age": 50.0, "age_band": "40–59", "race": "unknown",
                "split": "train", "generator": "toy", "generator_revision": "r1", "segmenter": "toy", "judge": "toy",
                "mode": "inversion", "seed": k, "steps": 20, "guidance": 3.0, "film_path": film,
                "roi_path": f"films/synthetic/{edit_id}.roi.png", "sham_path": sham, "rows": SIDE, "columns": SIDE,
                "passed": k < len(sources) - 1, "error": None, "origin": "synthetic", "created": 1.0,
                "code_version": "test",
            }
        )  # fmt: skip
    edits = pd.DataFrame(rows)
    baseline = edits.assign(
        edit_id=edits["edit_id"].str.replace("edit", "base"), generator="label-prompted", mode="inpaint", gap_id="h",
        passed=edits["item"] % 4 == 0,
    )  # fmt: skip
    return pd.concat([edits, baseline], ignore_index=True)


class Tiny:
    """A pooled linear network with dropout (so that resuming has randomness to restore) and batch normalisation."""

    def __init__(self, weights: str | None = None, size: int | None = None, seed: int = 0) -> None:
        self.revision = f"random-seed{seed}"

    @classmethod
    def build(cls, num_classes: int, weights: str | None = None, in_size: int = 32, seed: int = 0):
        """float (B, 1, S, S) in [0, 255] → logits (B, num_classes)."""
        from cars.torchbox import torch

        module = torch()
        with module.random.fork_rng():
            module.manual_seed(seed)
            return module.nn.Sequential(
                module.nn.AvgPool2d(in_size // 8), module.nn.Flatten(), module.nn.BatchNorm1d(64),
                module.nn.Dropout(0.1), module.nn.Linear(64, num_classes),
            )  # fmt: skip


@pytest.fixture(autouse=True)
def tiny_backbone(monkeypatch):
    """The backbone "tiny" for the time of a test."""
    BACKBONES.names()
    monkeypatch.setitem(BACKBONES._items, "tiny", Tiny)


@pytest.fixture
def lesions(tmp_path):
    """A fresh small workspace with edits."""
    return make_workspace(tmp_path / "ws")
