"""The verb `gaps`: find the uncovered patterns, gather the evidence of each, rank them, and file the table `gaps`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from ..config import as_dict
from ..progress import Progress, part_of, silent
from ..provenance import digest, note
from ..workspace import Workspace, write_json
from .attributes import attribute_names
from .clustering import expected_units
from .expected import FEWEST_FOR_PRIOR, MOST_FOR_PRIOR, VAGUE, Items, fit_prior, mask_of, shrink
from .mups import Search, find_mups
from .rank import ranked
from .reach import Reach, edits_of
from .rows import Pattern, PatternCounter, Rows, load_rows
from .rules import Rule, rules_of, why_impossible
from .sentences import sentence
from .settings import GapsSettings

IMPOSSIBLE, AS_EXPECTED, RARER = "impossible", "rare as expected", "rarer than expected"
#: Column → dtype of the table `gaps`, in order.
COLUMNS = {
    "gap_id": "str", "pattern": "str", "level": "int64", "sentence": "str", "patients": "int64", "studies": "int64",
    "films": "int64", "count": "int64", "expected": "float64", "ratio": "float64", "low": "float64", "high": "float64",
    "verdict": "str", "deficit": "int64", "test_films": "int64", "reachable": "int64", "score": "float64",
    "rank": "int64", "unit": "str", "threshold": "int64", "editable": "bool",
}  # fmt: skip
STOPPED = {
    "limit": "The search stopped at {limit:,} uncovered patterns. It is complete up to {complete} attributes; "
    "lower --max-order or --threshold, or name fewer --attributes.",
    "frequent": "The search stopped: too many patterns are frequent. It is complete up to {complete} attributes; "
    "lower --max-order, raise --threshold, or use --values present.",
}


def pattern_text(pattern: Pattern) -> str:
    """A pattern as the table stores it: JSON, keys sorted."""
    return json.dumps(pattern, sort_keys=True, ensure_ascii=False)


def gap_id(pattern: Pattern) -> str:
    """The id of a pattern's gap: a hash of the pattern alone, so it stays the same from one run to the next."""
    return digest(pattern)


def in_split(frame: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of one split, or all."""
    return frame if split == "all" else frame[frame["split"] == split].reset_index(drop=True)


def search_rows(rows: Rows, settings: GapsSettings, progress: Progress = silent) -> Search:
    """The engine on these rows."""
    return find_mups(
        rows.bags(settings.unit), rows.attribute_of_item, settings.threshold,
        min(settings.max_order, len(rows.attributes)), settings.limit, progress=progress,
    )  # fmt: skip


def gaps(workspace: Workspace, settings: GapsSettings, progress: Progress = silent) -> dict[str, Any]:
    """Find the gaps and publish the table `gaps`, best ranked first.

    Returns: mups (list of {gap_id, pattern, count, expected, verdict, sentence}), total (how many are listed),
    impossible (how many a rule forbids), truncated, hint (why it stopped), complete (patterns of up to so many
    attributes were all examined), units (how many patients, studies or films were counted), and the settings' unit,
    threshold and split.

    Raises: SettingError for an unknown attribute or a wrong rule, WorkspaceError before `ingest`.
    """
    names = attribute_names(settings.attributes)
    rules = rules_of(workspace)
    progress(0, 1000, "Reading the films")
    frame = load_rows(workspace, "all", settings.include_synthetic)
    rows = Rows.of(in_split(frame, settings.split), names, settings.values, domain=frame)
    search = search_rows(rows, settings, part_of(progress, 0.1, 0.6))
    table, impossible = gather(frame, rows, search, rules, settings, part_of(progress, 0.6, 0.95))
    version = digest(as_dict(settings), [table_fingerprint(workspace)])
    workspace.write_part("gaps", "gaps", table, version)
    inputs = {"films": workspace.version("films"), "rows": digest(table_fingerprint(workspace))}
    write_json(workspace.path / "tables" / "gaps" / version / "note.json", note("gaps", as_dict(settings), inputs))
    workspace.publish("gaps", version)
    progress(1000, 1000, f"{len(table):,} gaps")
    hint = STOPPED[search.reason].format(limit=settings.limit, complete=search.complete) if search.truncated else ""
    return {
        "mups": listed(table),
        "total": len(table),
        "impossible": impossible,
        "truncated": search.truncated,
        "hint": hint,
        "complete": search.complete,
        "units": search.total,
        "unit": settings.unit,
        "threshold": settings.threshold,
        "split": settings.split,
    }


def table_fingerprint(workspace: Workspace) -> list[Any]:
    """What the gaps were computed from: the parts of films and edits, and the decisions."""
    parts = [(table, part.name, part.stat().st_size) for table in ("films", "edits") for part in workspace.parts(table)]
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
    progress: Progress = silent,
) -> tuple[pd.DataFrame, int]:  # fmt: skip
    """The table `gaps` of a search, and how many of its patterns a rule forbids.

    frame: every film of the workspace (test films and sources are looked up in it); rows: the counted ones.
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
        verdict = IMPOSSIBLE if reasons[n] else RARER if high[k] < 1 else AS_EXPECTED
        text = sentence(pattern, count, settings.threshold, settings.unit, expected[k])
        records.append(
            {
                "gap_id": gap_id(pattern), "pattern": pattern_text(pattern), "level": len(items),
                "sentence": f"{text} {reasons[n]}" if reasons[n] else text,
                "patients": patients, "studies": studies, "films": films, "count": count,
                "expected": expected[k], "ratio": ratio[k], "low": low[k], "high": high[k], "verdict": verdict,
                "deficit": settings.threshold - count, "test_films": test_films,
                "reachable": 0 if reasons[n] else reach.count(pattern), "score": 0.0, "rank": 0,
                "unit": settings.unit, "threshold": settings.threshold,
                "editable": reasons[n] is None and bool(edits_of(pattern)),
            }
        )  # fmt: skip
    table = pd.DataFrame(records, columns=list(COLUMNS)).astype(COLUMNS)
    return ranked(table)[list(COLUMNS)].astype(COLUMNS), impossible


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
    cells = [tuple(i for i in range(m.bit_length()) if m >> i & 1) for m in frequent]
    cells += [m for m in search.mups if len(m) == level]
    chosen = np.sort(np.random.default_rng(0).permutation(len(cells))[:MOST_FOR_PRIOR])
    return [cells[n] for n in chosen if why_impossible(rows.pattern(cells[n]), rules) is None]
