"""Coverage of the train split before and after the accepted synthetic films."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ..workspace import Workspace
from . import filters
from .attributes import attributes_of
from .rows import Pattern, PatternCounter, Rows, gap_id, in_split, load_rows, names_of, narrowed
from .rules import rules_of, why_impossible
from .search import search_rows, threshold_of
from .sentences import sentence
from .settings import GapsSettings
from .tway import possible_cells, tway_coverage, within_bounds


def before_after(workspace: Workspace, settings: GapsSettings | None = None) -> dict[str, Any]:
    """What the accepted edits changed in the train split.

    A synthetic film counts under its source's patient and study, so no patient counts twice: a gap's `patients` grows
    by the different patients whose films were edited into it, its `films` by the edits.

    Args:
        settings: as for `gaps`; by default those defaults. `split` is always train, `include_synthetic` is both.

    Returns: unit, threshold, synthetic_films, synthetic_patients; before and after, each {patients, studies, films,
    mups (possible ones), impossible, truncated, tway: {m: {t: share}} for m = 1 and τ, t = 1 … 4}; gaps: a list of
    {gap_id, pattern, sentence, before, after (each {patients, studies, films}), needed, closed}, one for each gap that
    was there before, those with the most added films first.

    Raises: WorkspaceError before `ingest`; SettingError for a wrong attribute or rule.
    """
    settings = dataclasses.replace(settings or GapsSettings(), split="train")
    names, rules = names_of(workspace, settings.attributes), rules_of(workspace)
    everything = load_rows(workspace, "all", include_synthetic=True)
    conditions = filters.parse(settings.where)
    # both sides share one domain of races, so that their shares can be compared
    attributes = narrowed(attributes_of(names, settings.values, everything["race"].unique()), conditions)
    train = in_split(everything[filters.mask(everything, conditions)], "train")
    real = train[train["origin"] == "real"].reset_index(drop=True)
    made = train[train["origin"] != "real"]
    sides = {"before": Rows(real, attributes), "after": Rows(train, attributes)}
    # a share of the films is one of the films that were there before
    settings = dataclasses.replace(
        settings, threshold=threshold_of(settings, sides["before"].bags(settings.unit).total), threshold_share=0.0
    )
    counters = {side: PatternCounter.of(rows) for side, rows in sides.items()}
    result: dict[str, Any] = {
        "unit": settings.unit,
        "threshold": settings.threshold,
        "synthetic_films": len(made),
        "synthetic_patients": int(made["patient"].nunique()),
    }
    cells = {t: possible_cells(attributes, rules, t) for t in within_bounds(attributes)}
    found: list[tuple[int, ...]] = []
    for side, rows in sides.items():
        search = search_rows(rows, settings)
        patterns = [(items, rows.pattern(items)) for items in search.mups]
        possible = [items for items, pattern in patterns if why_impossible(pattern, rules) is None]
        patients, studies, films = counters[side].counts(())
        result[side] = {
            "patients": patients,
            "studies": studies,
            "films": films,
            "mups": len(possible),
            "impossible": len(search.mups) - len(possible),
            "truncated": search.truncated,
            "tway": tway_coverage(rows, cells, settings.unit, (1, settings.threshold)),
        }
        if side == "before":
            found = possible
    result["gaps"] = [_one_gap(sides["before"].pattern(items), items, counters, settings) for items in found]
    result["gaps"].sort(key=lambda gap: (gap["before"]["films"] - gap["after"]["films"], json.dumps(gap["pattern"])))
    return result


def _one_gap(
    pattern: Pattern, items: tuple[int, ...], counters: dict[str, PatternCounter], settings: GapsSettings
) -> dict[str, Any]:
    sides = {}
    for side, counter in counters.items():
        sides[side] = dict(zip(("patients", "studies", "films"), counter.counts(items), strict=True))
    plural = {"patient": "patients", "study": "studies", "film": "films"}[settings.unit]
    count = sides["after"][plural]
    return {
        "gap_id": gap_id(pattern, settings.where),
        "pattern": pattern,
        "sentence": sentence(pattern, sides["before"][plural], settings.threshold, settings.unit),
        **sides,
        "needed": max(settings.threshold - count, 0),
        "closed": count >= settings.threshold,
    }
