"""The words of a report: method, limits, and numbers as they are printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .. import evaluate
from ..metrics import METRICS
from .gather import Results

UNDEFINED = "undefined"
#: Findings, arms and metrics in words that are not their names.
FINDING = {"macro": "mean over findings"}


def number(value: Any, digits: int = 3, sign: bool = False) -> str:
    """A number as a report prints it, "undefined" for one that is not there."""
    if value is None or pd.isna(value):
        return UNDEFINED
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def interval(row: Mapping[str, Any], name: str = "", digits: int = 3, sign: bool = False) -> str:
    """ "0.412 (0.333 to 0.501)" from the columns value, low, high, or NAME, NAME_low, NAME_high of a row."""
    columns = (name, f"{name}_low", f"{name}_high") if name else ("value", "low", "high")
    value, low, high = (row.get(c) for c in columns)
    if value is None or pd.isna(value):
        return UNDEFINED
    if low is None or pd.isna(low) or high is None or pd.isna(high):
        return number(value, digits, sign)
    return f"{number(value, digits, sign)} ({number(low, digits, sign)} to {number(high, digits, sign)})"


def scaling_changes(name: str) -> bool:
    """Whether temperature scaling can change a metric; where it cannot, its calibrated rows say nothing new."""
    metric = METRICS.get(name)
    return bool(getattr(metric, "scaling", not metric.ranks))


def metric_label(name: str, calibrated: bool) -> str:
    """A metric as tables name it."""
    label = METRICS.get(name).label
    return f"{label}, calibrated" if calibrated else label


def gain_rows(gains: pd.DataFrame, finding: str | None = "macro") -> pd.DataFrame:
    """The gains of one finding (None: all findings, the primary metric only) as a printed table, contrasts included."""
    rows = (
        gains[gains["finding"] == finding]
        if finding
        else gains[(gains["metric"] == "auprc") & (gains["finding"] != "macro")]
    )
    rows = rows[[scaling_changes(m) or not c for c, m in zip(rows["calibrated"], rows["metric"])]]
    printed = []
    for row in rows.to_dict("records"):
        line = {"Backbone": row["backbone"], "Arm": row["arm"]}
        if not finding:
            line["Finding"] = row["finding"]
        line |= {
            "Against": row["reference"], "Metric": metric_label(row["metric"], row["calibrated"]),
            "Difference": interval(row, sign=True), "p (Holm)": number(row.get("p_holm")),
            "Verdict": row["verdict"] if isinstance(row["verdict"], str) else "not judged",
        }  # fmt: skip
        if "mde" in row:
            line["Smallest shown"] = number(row["mde"])
        line |= {"n films": f"{int(row['n']):,}", "positive": f"{int(row['positives']):,}",
                 "patients": f"{int(row['patients']):,}"}  # fmt: skip
        printed.append(line)
    return pd.DataFrame(printed)


def score_rows(scores: pd.DataFrame, finding: str | None = "macro") -> pd.DataFrame:
    """The scores of one finding, mean over seeds, as a printed table: one row an arm and metric."""
    rows = scores[(scores["finding"] == finding) & (scores["seed"] == -1)]
    printed = [
        {
            "Backbone": row["backbone"], "Arm": row["arm"], "Metric": metric_label(row["metric"], row["calibrated"]),
            "Score": interval(row), "n films": f"{int(row['n']):,}", "patients": f"{int(row['patients']):,}",
        }
        for row in rows.to_dict("records")
        if scaling_changes(row["metric"]) or not row["calibrated"]
    ]  # fmt: skip
    return pd.DataFrame(printed)


def slice_rows(slices: pd.DataFrame, metric: str = "auprc") -> pd.DataFrame:
    """The gains on rare combinations in one metric as a printed table, the most edited first."""
    if slices.empty:
        return slices
    rows = slices[slices["metric"] == metric]
    if "calibrated" in rows:
        rows = rows[~rows["calibrated"].astype(bool)]
    rows = rows.sort_values("edits", ascending=False, kind="stable")
    return pd.DataFrame(
        [
            {
                "Backbone": row["backbone"], "Arm": row["arm"], "Finding": FINDING.get(row["finding"], row["finding"]),
                "Test films": row["slice"] + (f" ({row['basis']})" if row.get("basis") else ""),
                "Edits": f"{int(row['edits']):,}", "Against": row["reference"],
                f"Its {METRICS.get(metric).label}": number(row["reference_value"]),
                "Difference": interval(row, sign=True), "p": number(row["p"]), "n films": f"{int(row['n']):,}",
                "positive": f"{int(row['positives']):,}", "patients": f"{int(row['patients']):,}",
            }
            for row in rows.to_dict("records")
        ]
    )  # fmt: skip


def coverage_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Coverage before and after as a printed table."""
    printed = []
    for row in table.to_dict("records"):
        count = row["measure"] == "gaps"
        scaled = row if count else {k: 100 * v if isinstance(v, float) else v for k, v in row.items()}
        digits = 0 if count else 1
        printed.append(
            {
                "Measure": f"{row['measure']}: {row['detail']}", "Better": row["better"],
                "Before": interval(scaled, "before", digits), "After": interval(scaled, "after", digits),
                "Change": interval(scaled, "change", digits, True), "Unit": "gaps" if count else "%",
                "n": f"{int(row['n']):,} {row['unit']}", "Note": row["note"],
            }
        )  # fmt: skip
    return pd.DataFrame(printed)


def unit_rows(units: pd.DataFrame) -> pd.DataFrame:
    """What each unit learned from, as a printed table."""
    columns = {
        "backbone": "Backbone", "arm": "Arm", "seed": "Seed", "weights": "Started from", "steps": "Steps",
        "train_films": "Train films", "train_patients": "Patients", "train_synthetic": "Synthetic",
        "best_step": "Best step", "temperature": "Temperature",
    }  # fmt: skip
    kept = [c for c in columns if c in units]
    table = units[kept].rename(columns=columns)
    if "Temperature" in table:
        table["Temperature"] = [number(v) for v in table["Temperature"]]
    return table.astype(str)


def method(results: Results) -> list[str]:
    """How the numbers were made, in a few paragraphs."""
    trained = (results.origin["run"] or {}).get("settings", {})
    scored = (results.origin["report"] or {}).get("settings", {})
    resamples = int(results.tables["scores"]["resamples"].max())
    size, steps, batch = (trained.get(k, "not recorded") for k in ("size", "steps", "batch"))
    arms = "; ".join(
        f"{arm}: {evaluate.ARMS.get(arm, 'an arm that this version does not know')}" for arm in results.arms
    )
    return [
        f"Each backbone was fine-tuned on each arm with {results.seeds} training seed"
        f"{'s' if results.seeds != 1 else ''}, at {size} pixels, {steps} optimiser steps of {batch} films. "
        f"Arms: {arms}.",
        "Validate and test films are real and the same for every arm. The best check on the validate patients is kept, "
        "and one temperature a unit is fitted on them; test labels choose nothing.",
        f"Scores are of the untouched test patients. Intervals are percentile intervals at {results.level:.0%} from "
        f"{resamples:,} resamples of whole patients, with the training seeds drawn beside them; all arms share the "
        "resamples, so a difference is paired. p values are two-sided, and adjusted by Holm over the backbones of the "
        "run, within one comparison, finding and metric. Every arm is compared with the real films at equal steps "
        "(with real where that was not trained). An arm with edits is credited with a gain only where it is better "
        "than every control: the largest of those p values is what is adjusted (intersection-union test).",
        f"The mean over findings takes those with at least {scored.get('min_positives', 'a set number of')} positive "
        "and as many negative test patients, and a training positive in every unit: the same findings for all. A score "
        "that cannot be computed is undefined, and is never counted as 0.",
        "Only edits that passed every gate and that nobody rejected count, in training and in coverage; films of the "
        "baseline generators fill no gap.",
    ]


def limits(results: Results) -> list[str]:
    """What the numbers do not say: the report's card of limits."""
    about = results.origin["dataset"]
    phantom = about.get("adapter") == "phantom"
    found = [
        "Intended use: to judge whether added films helped these backbones on this data set. It is no evidence for use "
        "in patients, and no device was evaluated.",
        f"Test patients come from the same source as the training patients ({results.source}): nothing here speaks of "
        "another hospital, another scanner or another time.",
        "“No evidence at this n” is not “no effect”: the interval says which effects remain possible.",
        "The sentences judge one metric, the macro AUPRC. Other metrics, findings and rare combinations are shown to "
        "be looked at: they are not adjusted for their number.",
        "Labels are the data set's own; where they come from reports, some are wrong, and findings that a report "
        "leaves out count under the policy in the settings.",
    ]
    if phantom:
        found.insert(
            1, "The films are a phantom's: the result says that the pipeline works, and nothing about patients."
        )
    if results.tables["units"].get("weights", pd.Series(dtype=str)).astype(str).str.startswith("random").any():
        found.append("Some units started from random weights: their differences say little of networks trained well.")
    if about.get("terms"):
        found.append(f"Terms of the data set: {about['terms']}")
    return [*results.cautions, *found]


def provenance(results: Results) -> pd.DataFrame:
    """Name and Value of settings, hashes, revisions and versions."""
    origin = results.origin
    rows = [("run", results.run), ("data set", results.source)]
    rows += [
        (f"data set: {k}", str(origin["dataset"][k]))
        for k in ("licence", "source", "version")
        if k in origin["dataset"]
    ]
    rows += [(f"table {name}", value or "not there") for name, value in origin["tables"].items()]
    rows += [
        (f"accepted edits: {name.replace('_', ' ')}", ", ".join(v) if isinstance(v, list) else str(v))
        for name, v in origin["edits"].items()
    ]
    rows += [("starting weights", ", ".join(origin["starting_weights"]) or "not recorded")]
    for verb in ("run", "report"):
        note = origin[verb] or {}
        rows += [(f"code of {'finetune' if verb == 'run' else verb}", str(note.get("code_version", "not recorded")))]
        rows += [(f"{'finetune' if verb == 'run' else verb}: {k}", str(v)) for k, v in note.get("settings", {}).items()]
    rows += [("code of this document", origin["code_version"])]
    rows += [("libraries", ", ".join(f"{k} {v}" for k, v in origin["libraries"].items()))]
    rows += [(f"weights of unit {unit}", str(value)) for unit, value in origin["units"].items()]
    return pd.DataFrame(rows, columns=["Name", "Value"])
