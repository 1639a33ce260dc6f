"""Which arm is compared with which, and whether a gain is the edits' own.

Every arm is compared with one reference: the real films for as many optimiser steps (`settings.reference`), so that a
difference is not one of training longer. An arm with accepted edits is compared with each other arm as well. It is
*credited* with a gain only where it beats every control: the claim "better than all of them" is tested by the largest
of the p values, and needs no correction for the number of controls (intersection-union test: Berger, Multiparameter
hypothesis testing and acceptance sampling, Technometrics 1982). Holm then runs over the backbones as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..metrics import METRICS
from . import bootstrap
from .settings import CONTROLS, TREATED, reference
from .statistics import MACRO

COLUMNS = ["backbone", "arm", "verdict", "controls", "weakest", "value", "low", "high", "p", "p_holm", "sentence"]


class Comparison(NamedTuple):
    """An arm, the arm that it is compared with, and whether that is another than the reference of all."""

    arm: str
    reference: str
    contrast: bool


def comparisons(arms: Iterable[str]) -> list[Comparison]:
    """What is compared among these arms: all with the reference first, then the contrasts. Empty without either."""
    names = list(dict.fromkeys(arms))
    base = reference(names)
    if base is None:
        return []
    others = [name for name in names if name != base and name not in TREATED]
    return [Comparison(arm, base, False) for arm in names if arm != base] + [
        Comparison(arm, other, True) for arm in names if arm in TREATED for other in others
    ]


def credit(gains: pd.DataFrame, metric: str, level: float = 0.95) -> pd.DataFrame:
    """Of each backbone and arm with accepted edits: does it beat every control in the macro mean of a metric?

    Args:
        gains: rows of `evaluate.gain_table`.

    Returns: backbone, arm, verdict ("credited", "not credited", "undefined", or "cannot be told" where a control was
        not trained), controls (str, those it was compared with), weakest (the control that it beats least, by p),
        value, low, high (the difference to that one), p, p_holm, and a sentence.
    """
    rows = gains[(gains["finding"] == MACRO) & (gains["metric"] == metric) & ~gains["calibrated"].astype(bool)]
    rows = rows[rows["arm"].isin(TREATED) & rows["reference"].isin(CONTROLS)]
    sign = -1 if METRICS.get(metric).direction == "lower" else 1
    found: list[dict[str, Any]] = []
    for (backbone, arm), part in rows.groupby(["backbone", "arm"], sort=False):
        ahead = (sign * part["value"] > 0).to_numpy()
        p = np.where(part["value"].isna(), np.nan, np.where(ahead, part["p"], 1.0))
        # the control with the largest p; of several, the one that the arm is furthest behind
        order = np.lexsort([(sign * part["value"]).to_numpy(), -p]) if not np.isnan(p).any() else [0]
        weakest = part.iloc[int(order[0])]
        found.append(
            {
                "backbone": backbone, "arm": arm, "controls": ", ".join(part["reference"]),
                "missing": ", ".join(c for c in CONTROLS if c not in set(part["reference"])),
                "weakest": weakest["reference"], "value": weakest["value"], "low": weakest["low"],
                "high": weakest["high"], "p": float(np.max(p)),
            }
        )  # fmt: skip
    table = pd.DataFrame(found)
    if not len(table):
        return pd.DataFrame(columns=COLUMNS)
    table["p_holm"] = np.nan
    for index in table.groupby("arm").groups.values():
        table.loc[index, "p_holm"] = bootstrap.holm(table.loc[index, "p"].to_numpy())
    evident = table["p_holm"] <= 1 - level
    table["verdict"] = np.select(
        [table["p"].isna(), evident & (table["missing"] == ""), evident],
        ["undefined", "credited", "cannot be told"],
        "not credited",
    )
    label = f"macro {METRICS.get(metric).label}"
    table["sentence"] = [_sentence(row, label, level) for row in table.to_dict("records")]
    return table[COLUMNS]


def _sentence(row: dict[Any, Any], label: str, level: float) -> str:
    name = f"{row['backbone']}: {row['arm']}"
    if row["verdict"] == "undefined":
        return f"{name} cannot be compared with its controls."
    least = (
        f"least against {row['weakest']}, {label} {row['value']:+.3f} ({level:.0%} interval {row['low']:+.3f} to "
        f"{row['high']:+.3f}; p of all at once, Holm-adjusted, {row['p_holm']:.3f})"
    )
    if row["verdict"] == "credited":
        return f"{name} is better than each control ({row['controls']}), {least}: the gain is the edits' own."
    if row["verdict"] == "cannot be told":
        return f"{name} is better than {row['controls']}, {least}; {row['missing']} was not trained."
    return f"{name} is not shown to be better than each control ({row['controls']}); {least}."
