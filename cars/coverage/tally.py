"""How many patients, studies or films have each value of each attribute, and each pair of findings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import schema
from ..workspace import Workspace
from .attributes import DEMOGRAPHICS
from .clustering import expected_units
from .expected import Items, mask_of
from .rows import PatternCounter, Rows, load_rows


def units_of(frame: pd.DataFrame, unit: str) -> np.ndarray:
    """(films,) int: which unit each film belongs to; ascending from 0 without holes."""
    if unit == "film":
        return np.arange(len(frame))
    return pd.factorize(frame[unit])[0]


def counts(
    workspace: Workspace, unit: str = "patient", split: str = "all", include_synthetic: bool = False
) -> pd.DataFrame:
    """attribute, value, count: every value that occurs, "unknown" and "not mentioned" included.

    A patient counts once for each value that any of their films has, so the counts of an attribute may add up to more
    than the patients.
    """
    frame = load_rows(workspace, split, include_synthetic)
    unit_of = units_of(frame, unit)
    columns = {name: frame[name] for name in DEMOGRAPHICS}
    for finding in schema.FINDINGS:
        columns[finding] = frame[schema.COLUMN_OF[finding]].map(schema.FINDING_VALUES)
    order = {"sex": schema.SEXES, "age_band": (*schema.AGE_BANDS, "unknown"), "view": schema.VIEWS}
    records = []
    for name, column in columns.items():
        codes, values = pd.factorize(column)
        pairs = np.unique(unit_of * max(len(values), 1) + codes)
        found = dict(zip(values, np.bincount(pairs % max(len(values), 1), minlength=len(values)), strict=True))
        words = order.get(name, schema.FINDING_CODES if name in schema.COLUMN_OF else sorted(found))
        records += [(name, value, int(found[value])) for value in words if value in found]
    return pd.DataFrame(records, columns=["attribute", "value", "count"])


@dataclass(frozen=True)
class CoOccurrence:
    """Pairs of findings that are present on the same film.

    names: the 14 findings. observed: (14, 14) int, units with both; the diagonal is the finding's own count.
    expected: (14, 14) float, under independence of the two findings on films, in the same unit; the diagonal repeats
    `observed`. ratio: observed / expected, NaN on the diagonal and where expected is 0. n: how many units there are.
    """

    names: tuple[str, ...]
    observed: np.ndarray
    expected: np.ndarray
    ratio: np.ndarray
    n: int


def cooccurrence(
    workspace: Workspace, unit: str = "patient", split: str = "all", include_synthetic: bool = False
) -> CoOccurrence:
    """How often each pair of findings is present together, and how often independence would have it."""
    frame = load_rows(workspace, split, include_synthetic)
    rows = Rows.of(frame, schema.FINDINGS)
    counter = PatternCounter.of(rows)
    size = len(schema.FINDINGS)
    which = {"patient": 0, "study": 1, "film": 2}[unit]
    cells: list[Items] = [(i, j) for i in range(size) for j in range(i + 1, size)]
    all_counts = {mask_of(c): counter.counts(c) for c in [(), *((i,) for i in range(size)), *cells]}
    units = {mask: c[which] for mask, c in all_counts.items()}
    expected = np.zeros((size, size))
    if len(frame):
        values = expected_units(cells, counter, unit, units)
        for (i, j), value in zip(cells, values, strict=True):
            expected[i, j] = expected[j, i] = value
    observed = np.zeros((size, size), dtype=np.int64)
    for i in range(size):
        for j in range(size):
            observed[i, j] = units[mask_of(tuple({i, j}))]
    np.fill_diagonal(expected, np.diag(observed))
    ratio = np.full((size, size), np.nan)
    np.divide(observed, expected, out=ratio, where=(expected > 0) & ~np.eye(size, dtype=bool))
    return CoOccurrence(schema.FINDINGS, observed, expected, ratio, units[0])
