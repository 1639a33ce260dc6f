"""From differences to verdicts: Holm over the backbones, the smallest effect that could have been shown, a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..metrics import METRICS
from . import bootstrap
from .statistics import MACRO

#: The power at which the smallest effect is given.
POWER = 0.8


def judge(gains: pd.DataFrame, level: float) -> pd.DataFrame:
    """The rows with p_holm, tests, verdict, mde and sentence.

    Holm runs over the backbones, within one arm, reference, finding, metric and calibration. A metric of which neither
    more nor less is better gets its difference and interval, and no verdict.
    """
    gains = gains.copy()
    gains["p_holm"], gains["tests"] = np.nan, 0
    for index in gains.groupby(["arm", "reference", "finding", "metric", "calibrated"]).groups.values():
        p = gains.loc[index, "p"].to_numpy()
        gains.loc[index, "p_holm"] = bootstrap.holm(p)
        gains.loc[index, "tests"] = int((~np.isnan(p)).sum())
    directions = {name: METRICS.get(name).direction for name in gains["metric"].unique()}
    sign = gains["metric"].map(lambda name: {"higher": 1, "lower": -1}.get(directions[name], 0)).to_numpy()
    evident = (gains["p_holm"] <= 1 - level).to_numpy()
    gains["verdict"] = np.select(
        [
            gains["p_holm"].isna().to_numpy(),
            sign == 0,
            evident & (sign * gains["value"] > 0),
            evident & (sign * gains["value"] < 0),
        ],
        ["undefined", "not judged", "better", "worse"],
        "no evidence",
    )
    spreads = [bootstrap.Spread(*four) for four in gains[["se", "se_patients", "se_seeds", "df"]].to_numpy(float)]
    gains["mde"] = [
        bootstrap.smallest_effect(spread, level, tests, POWER) if np.isfinite(spread.total) else float("nan")
        for spread, tests in zip(spreads, gains["tests"])
    ]
    gains["sentence"] = [sentence(row, level) if row["finding"] == MACRO else None for row in gains.to_dict("records")]
    return gains


def sentence(row: dict[Any, Any], level: float = 0.95) -> str:
    """One row of `gains` in plain words: better, worse or no evidence, on what, and what it could have seen."""
    metric = METRICS.get(row["metric"])
    measure = f"macro {metric.label}{' after temperature scaling' if row['calibrated'] else ''}"
    if row["verdict"] == "undefined":
        both = f"{row['backbone']}: {row['arm']} and {row['reference']}"
        return f"{both} cannot be compared in {measure}: {row['reason']}."
    found = {
        "better": f"{row['arm']} is better than {row['reference']}",
        "worse": f"{row['arm']} is worse than {row['reference']}",
        "no evidence": f"no evidence at this n that {row['arm']} differs from {row['reference']}",
        "not judged": f"{row['arm']} against {row['reference']}, not judged since {metric.better}",
    }[row["verdict"]]
    text = (
        f"{row['backbone']}: {found}: {measure} {row['value']:+.3f} ({level:.0%} interval {row['low']:+.3f} to "
        f"{row['high']:+.3f}; Holm-adjusted p {row['p_holm']:.3f}) over {row['findings']} findings on "
        f"{row['n']} test films of {row['patients']} patients"
    )
    if np.isfinite(row["mde"]) and row["verdict"] != "not judged":
        text += f"; a true difference of {row['mde']:.3f} or more would have been found {POWER:.0%} of the time"
    if np.isnan(row["se_seeds"]):
        one = "One training seed" if row["seeds"] == 1 else f"{row['seeds']} training seeds"
        return f"{text}. {one}: the interval leaves out the noise of training itself."
    return f"{text}, {row['seeds']} training seeds."
