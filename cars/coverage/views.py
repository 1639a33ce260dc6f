"""What the pages draw of the films: combinations of findings, and how common each finding is in each group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import schema
from .clustering import expected_units
from .codes import FilmCodes
from .expected import Items, mask_of
from .rows import pattern_text
from .rules import Rule, why_impossible
from .search import IMPOSSIBLE


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


def pairs_of(films: FilmCodes, unit: str = "patient") -> CoOccurrence:
    """How often each pair of findings is present on one film, and how often independence would have it."""
    size, counter = len(schema.FINDINGS), films.counter
    which = {"patient": 0, "study": 1, "film": 2}[unit]
    cells: list[Items] = [(i, j) for i in range(size) for j in range(i + 1, size)]
    units = {mask_of(c): counter.counts(c)[which] for c in [(), *((i,) for i in range(size)), *cells]}
    expected = np.zeros((size, size))
    if len(films):
        for (i, j), value in zip(cells, expected_units(cells, counter, unit, units), strict=True):
            expected[i, j] = expected[j, i] = value
    observed = np.zeros((size, size), dtype=np.int64)
    for i in range(size):
        for j in range(size):
            observed[i, j] = units[mask_of(tuple({i, j}))]
    np.fill_diagonal(expected, np.diag(observed))
    ratio = np.full((size, size), np.nan)
    np.divide(observed, expected, out=ratio, where=(expected > 0) & ~np.eye(size, dtype=bool))
    return CoOccurrence(schema.FINDINGS, observed, expected, ratio, units[0])


def pair_table(found: CoOccurrence) -> pd.DataFrame:
    """first, second, observed, expected, ratio: each pair once, and each finding with itself (its own count)."""
    first, second = np.triu_indices(len(found.names))
    return pd.DataFrame(
        {
            "first": [found.names[i] for i in first],
            "second": [found.names[j] for j in second],
            "observed": found.observed[first, second],
            "expected": np.where(first == second, np.nan, found.expected[first, second]),
            "ratio": found.ratio[first, second],
        }
    )


# Combinations -------------------------------------------------------------------------------------------------------


def codes_of(films: FilmCodes) -> np.ndarray:
    """(films,) int32: each film's set of present findings; bit k is schema.FINDINGS[k]."""
    code = np.zeros(len(films), dtype=np.int32)
    for k in range(len(schema.FINDINGS)):
        code |= films.present[:, k].astype(np.int32) << k
    return code


def members_of(code: int) -> list[str]:
    """The findings of a set that `codes_of` numbered."""
    return [finding for k, finding in enumerate(schema.FINDINGS) if code >> k & 1]


def combinations_of(
    films: FilmCodes, unit: str = "patient", rules: tuple[Rule, ...] = (), verdicts: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Every combination of findings that occurs, exactly as it occurs, the most frequent first.

    A unit counts for a combination when one of its films shows these findings and no other; so a patient with several
    films may count for several, and the counts may add up to more than the patients.

    Args:
        rules: those that forbid a combination. verdicts: the pattern as the table `gaps` stores it → its verdict.

    Returns: code (int, bit k is schema.FINDINGS[k]), findings (text, joined by "; ", empty for none), size, count (in
    the unit), films, one column a split (films of it), verdict (impossible, a gap's, or "no gap").
    """
    code = codes_of(films)
    sets, inverse = np.unique(code, return_inverse=True)
    unit_of = films.unit_of(unit).astype(np.int64)
    once = np.unique(unit_of * max(len(sets), 1) + inverse)
    table = pd.DataFrame(
        {
            "code": sets.astype(np.int64),
            "count": np.bincount(once % max(len(sets), 1), minlength=len(sets)),
            "films": np.bincount(inverse, minlength=len(sets)),
        }
    )
    for k, split in enumerate(films.words["split"]):
        table[split] = np.bincount(inverse[films.groups["split"] == k], minlength=len(sets))
    names = [members_of(int(c)) for c in sets]
    table.insert(1, "findings", pd.Series(["; ".join(n) for n in names], dtype="str"))
    table.insert(2, "size", np.array([len(n) for n in names], dtype=np.int64))
    words = []
    for n in names:
        pattern = dict.fromkeys(n, "present")
        forbidden = why_impossible(pattern, rules) is not None
        words.append(IMPOSSIBLE if forbidden else (verdicts or {}).get(pattern_text(pattern), "no gap"))
    table["verdict"] = pd.Series(words, dtype="str")
    return table.sort_values(["count", "size", "code"], ascending=[False, True, True], ignore_index=True)


def finding_counts(films: FilmCodes, unit: str = "patient") -> pd.Series:
    """finding → how many units have a film that shows it."""
    which = {"patient": 0, "study": 1, "film": 2}[unit]
    return pd.Series({f: films.counter.counts([k])[which] for k, f in enumerate(schema.FINDINGS)}, name="count")


# Groups -------------------------------------------------------------------------------------------------------------


def wilson(count: np.ndarray, n: np.ndarray, z: float = 1.959964) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95% interval (1927) of count / n; NaN where n is 0."""
    n = np.asarray(n, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.asarray(count, dtype=float) / n
        centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def prevalence(films: FilmCodes, by: str, unit: str = "patient") -> pd.DataFrame:
    """How many units of each group show each finding.

    A patient belongs to every group that one of their films belongs to (a patient may have PA and AP films), and shows
    a finding there when a film *of that group* does. Unknown stays a group of its own.

    Args:
        by: one of GROUPS. unit: patient, study or film. Films of one patient are alike, so intervals of films are too
            narrow; of patients they are Wilson's.

    Returns: group ("all" first), finding, count, n, share, low, high (95%), difference (share − that of all); share and
    interval are NaN where n is 0. Every finding of every group that has a film.
    """
    unit_of, codes, words = films.unit_of(unit), films.groups[by], films.words[by]
    records = []
    for group in (-1, *range(len(words))):
        rows = slice(None) if group < 0 else codes == group
        members, present = unit_of[rows], films.present[rows]
        if group >= 0 and not len(members):
            continue
        starts = np.flatnonzero(np.diff(members, prepend=members[:1] - 1)) if len(members) else np.zeros(0, int)
        hits = np.logical_or.reduceat(present, starts, axis=0).sum(axis=0) if len(starts) else np.zeros(14, int)
        name = "all" if group < 0 else words[group]
        records += [(name, f, int(hit), len(starts)) for f, hit in zip(schema.FINDINGS, hits, strict=True)]
    table = pd.DataFrame(records, columns=["group", "finding", "count", "n"])
    with np.errstate(invalid="ignore", divide="ignore"):
        table["share"] = table["count"].to_numpy() / table["n"].to_numpy(dtype=float)
    table["low"], table["high"] = wilson(table["count"].to_numpy(), table["n"].to_numpy())
    overall = table[table["group"] == "all"].set_index("finding")["share"]
    table["difference"] = table["share"] - table["finding"].map(overall)
    return table
