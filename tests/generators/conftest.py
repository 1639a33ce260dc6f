"""Small random pipelines, made once, and requests on two lungs and a heart."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_pipelines

from cars.generators import EditRequest
from cars.schema import COLUMN_OF, FINDINGS


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory):
    """encoder → the folder of a pipeline for films of 32 pixels. Read only."""
    root = tmp_path_factory.mktemp("pipelines")
    return {encoder: tiny_pipelines.pipeline(root / encoder, encoder) for encoder in ("clip", "bert")}


@pytest.fixture(scope="session")
def radedit_folder(tmp_path_factory):
    """RadEdit's three downloads, small and random. Read only."""
    return tiny_pipelines.radedit(tmp_path_factory.mktemp("models") / "radedit")


def codes(**values: int) -> np.ndarray:
    """(14,) int8, not mentioned unless given by column name."""
    vector = np.full(len(FINDINGS), -2, np.int8)
    for finding, slug in COLUMN_OF.items():
        vector[FINDINGS.index(finding)] = values.get(slug, -2)
    return vector


@pytest.fixture
def request_of():
    def make(before=None, after=None, size: int = 32, **changes) -> EditRequest:
        """An insertion of a left pneumothorax, unless columns and codes are given."""
        y, x = np.mgrid[:size, :size] / size
        masks = np.stack([abs(x - c) < 0.14 for c in (0.7, 0.3, 0.5)]) & (abs(y - 0.5) < 0.3)
        image = np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)
        given = {
            "image": image, "roi": masks[0], "masks": masks,
            "vector_from": codes(**({"pneumothorax": 0} if before is None else before)),
            "vector_to": codes(**({"pneumothorax": 1} if after is None else after)),
            "view": "PA", "sex": "F", "age": 60.0, "steps": 4,
        }  # fmt: skip
        return EditRequest(**{**given, **changes})

    return make
