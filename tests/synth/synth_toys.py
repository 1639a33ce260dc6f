"""Toys for the tests of editing: a drawn thorax, a workspace of such films, and models that need no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from cars.generators import EditResult, check
from cars.imaging import save_png
from cars.schema import COLUMN_OF, FINDINGS, age_band
from cars.segmenters import Masks
from cars.workspace import Workspace

SIZE = 32


def vector(**values: int) -> np.ndarray:
    """(14,) codes, not mentioned unless given by column name."""
    codes = np.full(len(FINDINGS), -2, np.int8)
    for finding, slug in COLUMN_OF.items():
        codes[FINDINGS.index(finding)] = values.get(slug, -2)
    return codes


def thorax(size: int = SIZE) -> np.ndarray:
    """(3, size, size) bool: two lungs and a heart between them."""
    y, x = np.mgrid[:size, :size] / size
    left = ((x - 0.7) / 0.15) ** 2 + ((y - 0.5) / 0.33) ** 2 < 1
    right = ((x - 0.3) / 0.15) ** 2 + ((y - 0.5) / 0.33) ** 2 < 1
    heart = ((x - 0.54) / 0.14) ** 2 + ((y - 0.65) / 0.14) ** 2 < 1
    return np.stack([left, right, heart])


def film(rng: np.random.Generator, bright: bool, size: int = 96) -> np.ndarray:
    """A grey thorax; with a bright patch in a lung where the toy judge is to see a finding."""
    image = 90 - 50.0 * thorax(size)[:2].any(0) + rng.normal(0, 4, (size, size))
    if bright:
        image[size * 65 // 100 : size * 75 // 100, size * 65 // 100 : size * 80 // 100] = 240
    return np.clip(image, 0, 255).astype(np.uint8)


class ToyGenerator:
    """Makes the ROI white for an insertion and dark for a deletion. Inpainting works, inversion only with `inverts`."""

    size, findings, licence = SIZE, FINDINGS, "none"

    def __init__(self, inverts: bool = True, sham: float = 0.0) -> None:
        self.inverts, self.sham_value, self.calls = inverts, sham, 0
        self.revision = f"toy-{inverts}-{sham}"

    def edit(self, requests):
        check(requests, SIZE)
        self.calls += 1
        results = []
        for r in requests:
            diseases = np.arange(len(FINDINGS)) != FINDINGS.index("No Finding")
            inserts = (r.vector_to[diseases] == 1).sum() > (r.vector_from[diseases] == 1).sum()
            if np.array_equal(r.vector_from, r.vector_to):
                value = r.image + self.sham_value
            elif r.mode == "inversion" and not self.inverts:
                value = r.image.astype(float)
            else:
                value = 250.0 if inserts else 40.0
            edited = np.where(r.roi, np.clip(value, 0, 255), r.image).astype(np.float32)
            results.append(EditResult(edited, 0.5))
        return results


class ToyJudge:
    """Sees every finding where a film has a bright patch."""

    size, revision = 64, "toy-judge"
    thresholds = np.full(len(FINDINGS), 0.5, np.float32)
    #: it cannot tell one finding from another, so it is never sure of any
    sure = np.tile(np.float32([-1, 2]), (len(FINDINGS), 1))
    trained = np.ones(len(FINDINGS), bool)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        peak = [ndimage.uniform_filter(i.astype(float), 5).max() for i in images]
        return np.repeat(np.clip((np.array(peak, np.float32) - 100) / 100, 0, 1)[:, None], len(FINDINGS), axis=1)

    def saliency(self, images: np.ndarray, finding: str) -> np.ndarray:
        return images.astype(np.float32) / 255


class ToySegmenter:
    """Always the same thorax; a white corner means that it does not trust itself."""

    size = 64
    revision = "toy-segmenter"

    def masks(self, images: np.ndarray) -> Masks:
        confidence = np.where(images[:, 0, 0] > 250, 0.1, 0.9).astype(np.float32)
        return Masks(np.repeat(thorax(images.shape[1])[None], len(images), axis=0), confidence)


def workspace_of(folder: Path, patients: int = 12) -> Workspace:
    """Frontal and lateral films of train, validate and test patients; two frontal films each.

    A patient's number tells the rest: number % 3 == 0 has an effusion, else no finding; number % 6 == 4 is held out for
    validation, 5 for test.
    """
    workspace = Workspace.create(folder / "ws")
    rows = []
    for patient in range(patients):
        rng = np.random.default_rng(patient)
        ill = patient % 3 == 0
        split = {4: "validate", 5: "test"}.get(patient % 6, "train")
        sex, age = "FM"[patient % 2], 30.0 + 5 * patient
        for shot, view in enumerate(("PA", "AP", "lateral")):
            dicom = f"d{patient:02d}{shot}"
            path = folder / "films" / f"{dicom}.png"
            save_png(path, film(rng, ill, 96 + 8 * shot))
            codes = vector(pleural_effusion=1) if ill else vector(no_finding=1)
            rows.append(
                {
                    "dicom_id": dicom, "subject_id": f"p{patient}", "study_id": f"s{patient}", "split": split,
                    "view": view, "view_position": view, "sex": sex, "age": age, "age_band": age_band(age),
                    "race": "unknown", **dict(zip(COLUMN_OF.values(), codes.tolist())), "path": str(path),
                    "on_disk": True, "rows": 96 + 8 * shot, "columns": 96 + 8 * shot, "study_date": None,
                    "report": None, "dataset": "toy", "origin": "real",
                }
            )  # fmt: skip
    workspace.write_part("films", "all", pd.DataFrame(rows))
    return workspace
