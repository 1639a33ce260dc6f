"""The verb `gaps`: find the uncovered patterns, gather the evidence of each, rank them, and file the table `gaps`."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pandas as pd

from ..config import as_dict
from ..progress import Progress, part_of, silent
from ..provenance import digest, note
from ..workspace import Workspace, write_json
from . import filters
from .clustering import expected_units
from .expected import FEWEST_FOR_PRIOR, MOST_FOR_PRIOR, VAGUE, Items, fit_prior, mask_of, shrink
from .mups import MOST_FREQUENT, Search, find_mups, items_of
from .rank import RankSettings, ranked, weights_of
from .reach import Reach, edits_of
from .rows import INPUTS, PatternCounter, Rows, gap_id, load_rows, pattern_text, rows_of
from .rules import Rule, rules_of, why_impossible
from .sentences import sentence
from .sets import with_set
from .settings import GapsSettings
from .tway import possible_cells, tway_rows, unseen_cells, within_bounds

IMPOSSIBLE, AS_EXPECTED, RARER = "impossible", "rare as expected", "rarer than expected"
#: Column → dtype of the table `gaps`, in order.
COLUMNS = {
    "gap_id": "str", "pattern": "str", "level": "int64", "sentence": "str", "patients": "int64", "studies": "int64",
    "films": "int64", "count": "int64", "expected": "float64", "ratio": "float64", "low": "float64", "high": "float64",
    "verdict": "str", "deficit": "int64", "test_films": "int64", "reachable": "int64", "reachable_two": "int64",
    "score": "float64", "rank": "int64", "unit": "str", "threshold": "int64", "editable": "bool",
}  # fmt: skip
#: Combinations that are counted beside the gaps for t-way coverage; `tway` counts more.
MOST_CELLS_BESIDE = 50_000
UNITS = {"patient": "patients", "study": "studies", "film": "films"}
NARROWER = "Lower --max-order, raise --threshold, name fewer --attributes, or use --values present."
STOPPED = {
    "limit": "The search stopped at {limit:,} uncovered patterns, the --limit",
    "frequent": "The search stopped: more than {most:,} patterns have enough {units}",
    "seconds": "The search stopped after {seconds:,} seconds",
}


def threshold_of(settings: GapsSettings, units: int) -> int:
    """τ: the threshold, or the share of the counted units, rounded up and at least 1."""
    if not settings.threshold_share:
        return settings.threshold
    return max(1, math.ceil(round(settings.threshold_share * units, 9)))


def search_rows(rows: Rows, settings: GapsSettings, progress: Progress = silent) -> Search:
    """The engine on these rows, with the settings' threshold as τ."""
    return find_mups(
        rows.bags(settings.unit), rows.attribute_of_item, settings.threshold,
        min(settings.max_order, len(rows.attributes)), settings.limit, MOST_FREQUENT, settings.seconds, progress,
    )  # fmt: skip


def why_stopped(search: Search, settings: GapsSettings) -> str:
    """What stopped a search, how far it came, and how to narrow it; empty where it went to its end."""
    if not search.truncated:
        return ""
    text = STOPPED[search.reason].format(
        limit=settings.limit, most=MOST_FREQUENT, seconds=settings.seconds, units=UNITS[settings.unit]
    )
    return f"{text}. Every pattern of up to {search.complete} attributes was examined. {NARROWER}"


def gaps(workspace: Workspace, settings: GapsSettings, progress: Progress = silent) -> dict[str, Any]:
    """Find the gaps and publish the table `gaps`, best ranked first.

    Returns: mups (list of {gap_id, pattern, count, expected, verdict, sentence}), total (how many are listed),
    impossible (how many a rule forbids), truncated, stopped_by (limit, frequent, seconds or ""), hint (what stopped it
    and how to narrow), complete (patterns of up to so many attributes were all examined), units (how many patients,
    studies or films were counted), threshold (τ, also where it was given as a share), tway (rows of `tway` for the
    counted split; empty where there are too many combinations to count them beside the gaps), unseen (t → how many
    combinations of t values test films have and no train unit has), and the settings' unit, split, threshold_share and
    where.

    Raises: SettingError for an unknown attribute or set, a wrong filter or rule; WorkspaceError before `ingest`.
    """
    settings = with_set(workspace, settings)
    rules, weights = rules_of(workspace), weights_of(workspace)
    progress(0, 1000, "Reading the films")
    rows = rows_of(workspace, settings)
    asked = dataclasses.replace(settings, threshold=threshold_of(settings, rows.bags(settings.unit).total))
    search = search_rows(rows, asked, part_of(progress, 0.1, 0.6))
    frame = filtered(load_rows(workspace, "all", settings.include_synthetic), settings.where)
    table, impossible = gather(frame, rows, search, rules, asked, part_of(progress, 0.6, 0.9), weights)
    progress(900, 1000, "Counting combinations")
    beside = combinations_beside(workspace, settings, rules)
    version = digest(as_dict(settings), as_dict(weights), [table_fingerprint(workspace)])
    workspace.write_part("gaps", "gaps", table, version)
    inputs = {"films": workspace.version("films"), "rows": digest(table_fingerprint(workspace))}
    write_json(workspace.path / "tables" / "gaps" / version / "note.json", note("gaps", as_dict(settings), inputs))
    workspace.publish("gaps", version)
    progress(1000, 1000, f"{len(table):,} gaps")
    return {
        "mups": listed(table),
        "total": len(table),
        "impossible": impossible,
        "truncated": search.truncated,
        "stopped_by": search.reason,
        "hint": why_stopped(search, settings),
        "complete": search.complete,
        "units": search.total,
        "unit": settings.unit,
        "threshold": asked.threshold,
        "threshold_share": settings.threshold_share,
        "split": settings.split,
        "where": settings.where,
        **beside,
    }


def combinations_beside(workspace: Workspace, settings: GapsSettings, rules: tuple[Rule, ...]) -> dict[str, Any]:
    """The keys `tway` and `unseen` of the result, for every t whose combinations are few enough."""
    counted, train, test = (rows_of(workspace, settings, split) for split in (None, "train", "test"))
    possible = {
        t: possible_cells(counted.attributes, rules, t) for t in within_bounds(counted.attributes, MOST_CELLS_BESIDE)
    }
    return {
        "tway": tway_rows(counted, possible, settings.unit, settings.split),
        "unseen": {t: len(unseen_cells(train, test, cells, settings.unit, t)) for t, cells in possible.items()},
    }


def filtered(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The films of a filter, every split. Train films of patients who have validation or test films are dropped with
    it: the filter may hide those films, and such a patient's are never edited."""
    if not where:
        return frame
    kept_out = frame.loc[frame["split"].isin(["validate", "test"]), "subject_id"].unique()
    kept = filters.mask(frame, filters.parse(where))
    kept &= ~((frame["split"] == "train") & frame["subject_id"].isin(kept_out)).to_numpy()
    return frame[kept].reset_index(drop=True)


def table_fingerprint(workspace: Workspace) -> list[Any]:
    """What the gaps were computed from: the parts of films, concepts and edits, and the decisions."""
    parts = [(table, part.name, part.stat().st_size) for table in INPUTS for part in workspace.parts(table)]
    return [*parts, workspace.records.latest_decisions().to_dict("records")]


def listed(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The gaps as plain values for JSON; no expectation is None."""
    return [
        {
            "gap_id": row["gap_id"],
            "pattern": json.loads(row["pattern"]),
            "count": int(row["count"]),
            "expected": None if np.isnan(row["expected"]) else round(float(row["expected"]), 3),
            "verdict": row["verdict"],
            "sentence": row["sentence"],
        }
        for row in table.to_dict("records")
    ]


def gather(
    frame: pd.DataFrame, rows: Rows, search: Search, rules: tuple[Rule, ...], settings: GapsSettings,
    progress: Progress = silent, weights: RankSettings | None = None,
) -> tuple[pd.DataFrame, int]:  # fmt: skip
    """The table `gaps` of a search, and how many of its patterns a rule forbids.

    frame: every film of the workspace (test films and sources are looked up in it); rows: the counted ones.
    weights: of the rank.
    """
    patterns = [rows.pattern(items) for items in search.mups]
    reasons = [why_impossible(p, rules) for p in patterns]
    impossible = sum(r is not None for r in reasons)
    kept = [n for n, reason in enumerate(reasons) if settings.include_impossible or reason is None]
    counter = PatternCounter.of(rows)
    test = frame[(frame["split"] == "test") & (frame["origin"] == "real")].reset_index(drop=True)
    test_counter = PatternCounter.of(Rows(test, rows.attributes))
    reach = Reach(frame, rows.attributes)
    mups = [search.mups[n] for n in kept]
    expected, ratio, low, high = evidence(rows, counter, search, mups, rules, settings.unit)
    records = []
    for k, n in enumerate(kept):
        if not k % 64:
            progress(k, len(kept), "Gathering evidence")
        pattern, items, count = patterns[n], search.mups[n], search.counts[n]
        test_films = test_counter.film_count(mask_of(items))
        patients, studies, films = counter.counts(items)
        one, two = (0, 0) if reasons[n] else reach.counts(pattern)
        verdict = IMPOSSIBLE if reasons[n] else RARER if high[k] < 1 else AS_EXPECTED
        text = sentence(pattern, count, settings.threshold, settings.unit, expected[k])
        text += f" Counted where {settings.where}." if settings.where else ""
        records.append(
            {
                "gap_id": gap_id(pattern, settings.where), "pattern": pattern_text(pattern), "level": len(items),
                "sentence": f"{text} {reasons[n]}" if reasons[n] else text,
                "patients": patients, "studies": studies, "films": films, "count": count,
                "expected": expected[k], "ratio": ratio[k], "low": low[k], "high": high[k], "verdict": verdict,
                "deficit": settings.threshold - count, "test_films": test_films,
                "reachable": one, "reachable_two": two, "score": 0.0, "rank": 0,
                "unit": settings.unit, "threshold": settings.threshold,
                "editable": reasons[n] is None and bool(edits_of(pattern)),
            }
        )  # fmt: skip
    table = pd.DataFrame(records, columns=list(COLUMNS)).astype(COLUMNS)
    return ranked(table, weights)[list(COLUMNS)].astype(COLUMNS), impossible


def evidence(
    rows: Rows, counter: PatternCounter, search: Search, mups: list[Items], rules: tuple[Rule, ...], unit: str
) -> np.ndarray:
    """(4, mups) float: expected count, EBGM, EB05 and EB95 of each MUP; NaN for patterns of fewer than two items.

    The prior of a level is fitted on a sample of all its patterns that were counted and that no rule forbids, frequent
    ones and MUPs alike: on the MUPs alone it would take rarity for the rule.
    """
    known = {mask: count for level in search.frequent for mask, count in level.items()}
    counted = known | {mask_of(m): count for m, count in zip(search.mups, search.counts, strict=True)}
    result = np.full((4, len(mups)), np.nan)
    levels: dict[int, tuple[list[int], np.ndarray, np.ndarray]] = {}
    for level in sorted({len(m) for m in mups if len(m) > 1}):
        where = [n for n, m in enumerate(mups) if len(m) == level]
        sample = sample_of(rows, search, level, rules)
        asked = list(dict.fromkeys([*(mups[n] for n in where), *sample]))
        expected = expected_units(asked, counter, unit, counted)
        by_cell = dict(zip(asked, expected, strict=True))
        result[0, where] = [by_cell[mups[n]] for n in where]
        pairs = np.array([(counted[mask_of(c)], by_cell[c]) for c in sample if by_cell[c] > 0]).reshape(-1, 2)
        levels[level] = where, pairs[:, 0], pairs[:, 1]
    for where, n, e in levels.values():
        if len(n) < FEWEST_FOR_PRIOR:  # too few patterns of this size: those of every size together
            n, e = (np.concatenate([level[k] for level in levels.values()]) for k in (1, 2))
        prior = fit_prior(n, e) if len(n) >= FEWEST_FOR_PRIOR else VAGUE
        counts = np.array([counted[mask_of(mups[k])] for k in where])
        result[1:, where] = shrink(prior, counts, result[0, where])
    return result


def sample_of(rows: Rows, search: Search, level: int, rules: tuple[Rule, ...]) -> list[Items]:
    """Up to MOST_FOR_PRIOR patterns of a level that were counted and that no rule forbids; the same ones every time."""
    frequent = search.frequent[level] if level < len(search.frequent) else {}
    cells = [items_of(m) for m in frequent]
    cells += [m for m in search.mups if len(m) == level]
    chosen = np.sort(np.random.default_rng(0).permutation(len(cells))[:MOST_FOR_PRIOR])
    return [cells[n] for n in chosen if why_impossible(rows.pattern(cells[n]), rules) is None]
