"""How many patients, studies or films have each value of each attribute, and each pair of findings."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .. import schema
from ..workspace import Workspace
from .attributes import DEMOGRAPHICS
from .codes import film_codes
from .rows import load_rows
from .views import CoOccurrence, pairs_of


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


def cooccurrence(
    workspace: Workspace, unit: str = "patient", split: str = "all", include_synthetic: bool = False
) -> CoOccurrence:
    """How often each pair of findings is present together, and how often independence would have it."""
    return pairs_of(film_codes(workspace, include_synthetic).where({}, split), unit)
