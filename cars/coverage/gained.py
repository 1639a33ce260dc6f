"""What the accepted edits gained in coverage, as one table: gaps, t-way combinations, and test films within reach.

Only accepted edits count, and none of a baseline generator (`rows.load_rows` leaves those out). Gaps and combinations
are counted in the train split itself: every train film is there, so there is nothing to be uncertain of and no
interval. Test films stand for films to come, so their share has one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..workspace import Workspace
from .compare import before_after
from .settings import GapsSettings
from .space.measure import clustered, mean_by_patient

COLUMNS = {
    "measure": "str", "detail": "str", "better": "str", "before": "float64", "before_low": "float64",
    "before_high": "float64", "after": "float64", "after_low": "float64", "after_high": "float64", "change": "float64",
    "change_low": "float64", "change_high": "float64", "n": "int64", "unit": "str", "patients": "int64", "note": "str",
}  # fmt: skip
GAPS, COMBINATIONS, REACH = "gaps", "combinations", "test films within reach"
CENSUS = "counted over the whole train split: no interval"
NARROWER = "a filled gap can leave narrower ones under it, so the number may rise"
NAMES = {"patient": "patients", "study": "studies", "film": "films"}


def coverage_gains(
    workspace: Workspace, settings: GapsSettings | None = None, change: dict[str, Any] | None = None
) -> pd.DataFrame:
    """Coverage before and after the accepted edits.

    Args:
        settings: as for `before_after`. change: what `before_after` returned, where it is at hand.

    Returns: one row a measure: measure (gaps: uncovered patterns that are possible, fewer is better; combinations: the
        share of the possible t-way combinations that 1, or τ, or more units have; test films within reach of a train
        film in feature space, with radii frozen from the real train films, all test films and those of each gap that
        an edit was made for), detail (words), better (higher / lower), before and after with low and high, change with
        low and high (after − before; NaN where there is no interval), n (of `unit`: train units; possible
        combinations; test films), unit, patients (NaN-free: 0 where it does not apply), note (why there is no interval,
        or no number). Shares lie in [0, 1].

    Raises: WorkspaceError before `ingest`; SettingError for a wrong attribute or rule.
    """
    found = change or before_after(workspace, settings)
    rows = [*_of_labels(found), *_of_space(workspace, found)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _row(measure: str, detail: str, before: float, after: float, n: int, unit: str, **more: Any) -> dict[str, Any]:
    nothing = {f"{side}_{end}": np.nan for side in ("before", "after", "change") for end in ("low", "high")}
    return {
        **nothing, "measure": measure, "detail": detail, "better": "higher", "before": before, "after": after,
        "change": after - before, "n": n, "unit": unit, "patients": 0, "note": CENSUS, **more,
    }  # fmt: skip


def _of_labels(found: dict[str, Any]) -> list[dict[str, Any]]:
    before, after, units = found["before"], found["after"], NAMES[found["unit"]]
    cut = "; the search was cut short" if before["truncated"] or after["truncated"] else ""
    size = {"n": before[units], "unit": f"train {units}", "patients": before["patients"]}
    rows = [
        _row(
            GAPS, f"possible patterns with fewer than {found['threshold']:,} {units}", before["mups"], after["mups"],
            better="lower", note=f"{CENSUS}; {NARROWER}{cut}", **size,
        )
    ]  # fmt: skip
    if found["gaps"]:
        closed = sum(gap["closed"] for gap in found["gaps"])
        rows.append(_row(GAPS, f"of the {len(found['gaps']):,} gaps before, closed by edits", 0, closed, **size))
    for least, shares in before["tway"].items():
        word = {"patients": "patient", "studies": "study", "films": "film"}[units] if least == 1 else units
        for t, share in shares.items():
            words = f"{'1 value' if t == 1 else f'{t} values'}, {least:,} {word} or more"
            rows.append(_row(COMBINATIONS, words, share, after["tway"][least][t], **size))
    return rows


def _of_space(workspace: Workspace, found: dict[str, Any]) -> list[dict[str, Any]]:
    about = {"n": 0, "unit": "test films", "before": np.nan, "after": np.nan}
    if not workspace.has("space_films"):
        why = "not measured: run `cars space` after the edits were made"
        return [_row(REACH, "all test films", **about, note=why)]
    films = workspace.query("coverage/space_films")
    test = films[films["split"] == "test"]
    if test.empty:
        return [_row(REACH, "all test films", **about, note="undefined: no test film has a vector")]
    counted, now = int((films["origin"] == "synthetic").sum()), found["synthetic_films"]
    note = ""
    if counted != now:
        note = f"measured with {counted:,} synthetic films where {now:,} count now: run `cars space` again"
    return [reach_row("all test films", test, note)]


def reach_row(detail: str, test: pd.DataFrame, note: str = "", seed: int = 0) -> dict[str, Any]:
    """The row of these test films.

    Intervals take a patient's films for one (`clustered`); the change is paired film by film and resamples patients.

    Args:
        test: subject_id, covered, covered_after (bool), one row a test film.
    """
    patients = test["subject_id"].to_numpy(object)
    before, after = test["covered"].to_numpy(bool), test["covered_after"].to_numpy(bool)
    sides = {"before": clustered(before, patients), "after": clustered(after, patients)}
    sides["change"] = mean_by_patient(after.astype(float) - before.astype(float), patients, seed)
    ends = {f"{side}_{end}": one[end] for side, one in sides.items() for end in ("low", "high")}
    return _row(
        REACH, detail, sides["before"]["value"], sides["after"]["value"], len(test), "test films",
        patients=int(sides["before"]["n_patients"]), note=note, **ends,
    )  # fmt: skip


def gained_sentence(table: pd.DataFrame) -> str:
    """The table's three measures in one or two plain sentences."""
    said = []
    gaps = table[table["measure"] == GAPS]
    if len(gaps):
        first = gaps.iloc[0]
        said.append(f"{int(first['before']):,} gaps before the accepted edits, {int(first['after']):,} after.")
        if first["after"] > first["before"]:
            said.append("A filled gap can leave narrower ones under it.")
        if len(gaps) > 1:
            said.append(f"{int(gaps.iloc[1]['after']):,} of the gaps before are closed.")
    reach = table[table["measure"] == REACH].iloc[0]
    if np.isnan(reach["before"]):
        said.append(f"Test films within reach of a train film: {reach['note']}.")
        return " ".join(said)
    said.append(
        f"{reach['before']:.1%} of {reach['n']:,} test films of {reach['patients']:,} patients lie within reach of a "
        f"real train film, {reach['after']:.1%} with the edits: {100 * reach['change']:+.1f} points (95% interval "
        f"{100 * reach['change_low']:+.1f} to {100 * reach['change_high']:+.1f})."
    )
    if reach["note"]:
        said.append(f"That was {reach['note']}.")
    return " ".join(said)
