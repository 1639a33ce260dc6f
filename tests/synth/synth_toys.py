"""Toys for the tests of editing: a vector and a drawn thorax."""

from __future__ import annotations

import numpy as np

from cars.schema import COLUMN_OF, FINDINGS

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
