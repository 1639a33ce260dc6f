"""t-way coverage: of all combinations of t attribute values that can be, how many have at least m units?

After combinatorial coverage measurement (Kuhn, Kacker & Lei, "Combinatorial Coverage as an Aspect of Test Quality",
2015). The combinations are the product of the attributes' domains without those that a rule forbids; a value that no
film has stays in the domain, which is the point of the measure. The combinatorial difference, cells that test films are
in and no train film is, says what a model is asked about without having been shown it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pandas as pd

from ..errors import SettingError
from ..workspace import Workspace
from .attributes import Attribute
from .expected import Items
from .mups import find_mups, items_of
from .rows import PatternCounter, Rows, gap_id, pattern_text, rows_of
from .rules import Rule, rules_of, why_impossible
from .sentences import PLURALS, amount, describe
from .settings import GapsSettings

#: More combinations than this, over all t asked for, are not enumerated.
MOST_CELLS = 1_000_000
T = (1, 2, 3, 4)
LEAST = (1, 5, 30, 100)
SPLIT_ORDER = ("train", "validate", "test", "all")
UNSEEN_COLUMNS = {
    "gap_id": "str", "pattern": "str", "level": "int64", "sentence": "str", "test_patients": "int64",
    "test_studies": "int64", "test_films": "int64", "train": "int64", "new": "bool",
}  # fmt: skip


def cell_count(attributes: tuple[Attribute, ...], t: int) -> int:
    """How many combinations of t values of different attributes there are, forbidden ones included."""
    counts = [1] + [0] * t  # elementary symmetric polynomials of the domains' sizes
    for a in attributes:
        for k in range(t, 0, -1):
            counts[k] += counts[k - 1] * len(a.values)
    return counts[t]


def within_bounds(attributes: tuple[Attribute, ...], most: int = MOST_CELLS) -> tuple[int, ...]:
    """The t of T that there are attributes for, as long as all their combinations together are at most `most`."""
    kept, total = [], 0
    for t in T:
        total += cell_count(attributes, t)
        if t > len(attributes) or total > most:
            break
        kept.append(t)
    return tuple(kept)


def possible_cells(attributes: tuple[Attribute, ...], rules: tuple[Rule, ...], t: int) -> frozenset[int]:
    """Masks of items of the combinations of t values that no rule forbids.

    Raises: SettingError when there are more than MOST_CELLS.
    """
    if cell_count(attributes, t) > MOST_CELLS:
        raise SettingError(
            f"There are {cell_count(attributes, t):,} combinations of {t} values.",
            "Name fewer attributes, or use values = present.",
        )
    names = [(a.name, value) for a in attributes for value in a.values]
    first = np.cumsum([0, *(len(a.values) for a in attributes)])
    blocks = []
    for chosen in combinations(range(len(attributes)), t):
        axes = np.meshgrid(*(np.arange(first[a], first[a + 1]) for a in chosen), indexing="ij")
        blocks.append(np.stack([axis.ravel() for axis in axes], axis=1))
    cells = np.concatenate(blocks) if blocks else np.zeros((0, t), dtype=np.int64)  # (cells, t) item numbers
    for rule in rules:
        cells = cells[~_forbidden(rule, names, cells)]
    return frozenset(sum(1 << item for item in cell) for cell in cells.tolist())


def _forbidden(rule: Rule, names: list[tuple[str, str]], cells: np.ndarray) -> np.ndarray:
    """(cells,) bool: what `rule.forbids` says of each cell. cells: (cells, t) item numbers."""
    hit = np.ones(len(cells), dtype=bool)
    for name, values in rule.every.items():
        meets = np.array([n == name and v in values for n, v in names])
        hit &= meets[cells].any(axis=1)
    if rule.one_of:
        meets = np.array([n in rule.one_of and v in rule.one_of[n] for n, v in names])
        hit &= meets[cells].any(axis=1)
    return hit


def cell_counts(rows: Rows, unit: str, t: int) -> list[dict[int, int]]:
    """Position k: mask of items → units, for every combination of k values that occurs, k = 0 … t.

    Raises: SettingError when more than MOST_CELLS occur.
    """
    search = find_mups(rows.bags(unit), rows.attribute_of_item, 1, t, limit=MOST_CELLS, most_frequent=MOST_CELLS)
    if search.truncated:
        raise SettingError(
            f"More than {MOST_CELLS:,} combinations of up to {t} values occur.",
            "Name fewer attributes, or use values = present.",
        )
    found = search.frequent[: t + 1]
    return found + [{} for _ in range(t + 1 - len(found))]


def tway_coverage(
    rows: Rows, possible: dict[int, frozenset[int]], unit: str, least: Iterable[int]
) -> dict[int, dict[int, float]]:
    """m → t → share of the possible t-way combinations that at least m units match, in [0, 1]; NaN where none
    is possible.

    Args:
        possible: t → as `possible_cells` gives them for the rows' attributes. least: the values of m.
    """
    counts = cell_counts(rows, unit, max(possible)) if possible else []
    result: dict[int, dict[int, float]] = {}
    for m in dict.fromkeys(least):
        result[m] = {
            t: covered(cells, counts[t], m) / len(cells) if cells else float("nan") for t, cells in possible.items()
        }
    return result


def covered(cells: frozenset[int], counts: dict[int, int], m: int) -> int:
    """How many of the cells have at least m units, m ≥ 1."""
    return sum(n >= m and mask in cells for mask, n in counts.items())


def tway_rows(rows: Rows, possible: dict[int, frozenset[int]], unit: str, split: str) -> list[dict[str, object]]:
    """The rows of `tway` for one split."""
    counts = cell_counts(rows, unit, max(possible)) if possible else []
    records = []
    for t, cells in possible.items():
        for m in LEAST:
            number = covered(cells, counts[t], m)
            share = number / len(cells) if cells else float("nan")
            records.append({"t": t, "m": m, "split": split, "covered": number, "possible": len(cells), "share": share})
    return records


def tway(workspace: Workspace, settings: GapsSettings | None = None) -> pd.DataFrame:
    """t-way coverage of each split and of all films, t = 1 … 4, m = 1, 5, 30, 100.

    Args:
        settings: attributes, values, unit, where and include_synthetic are used. Synthetic films are train films.

    Returns: columns t, m, split (train, validate, test, all), covered, possible (both int), share (float, NaN where
        nothing is possible). A t is left out when there are fewer attributes than t, or when the combinations of up to
        t values are more than MOST_CELLS.

    Raises: WorkspaceError before `ingest`; SettingError for a wrong attribute, filter or rule.
    """
    settings = settings or GapsSettings()
    rules = rules_of(workspace)
    attributes = rows_of(workspace, settings, "all").attributes
    possible = {t: possible_cells(attributes, rules, t) for t in within_bounds(attributes)}
    records = [
        record
        for split in SPLIT_ORDER
        for record in tway_rows(rows_of(workspace, settings, split), possible, settings.unit, split)
    ]
    return pd.DataFrame(records, columns=["t", "m", "split", "covered", "possible", "share"])


def unseen_cells(train: Rows, test: Rows, possible: frozenset[int], unit: str, t: int, least: int = 1) -> list[int]:
    """Masks of the possible combinations of t values that test films have and fewer than `least` train units."""
    asked = cell_counts(test, "film", t)[t]
    known = cell_counts(train, unit, t)[t]
    return [mask for mask in asked if mask in possible and known.get(mask, 0) < least]


def unseen_in_train(
    workspace: Workspace, settings: GapsSettings | None = None, t: int = 2, least: int = 1
) -> pd.DataFrame:
    """Combinations of t values that test films have and that fewer than `least` train units have.

    Args:
        settings: as for `tway`. t: how many values, 1 to 4. least: m; with 1, combinations that no train unit has.

    Returns: one row a combination that no rule forbids, those with the most test patients first: gap_id, pattern (JSON,
        as in the table `gaps`), level (= t), sentence, test_patients, test_studies, test_films, train (train units that
        match, in settings.unit), new (every more general pattern has `least` train units, so nothing smaller explains
        it).

    Raises: SettingError for a wrong t, attribute, filter or rule, and for more than MOST_CELLS combinations;
        WorkspaceError before `ingest`.
    """
    settings = settings or GapsSettings()
    if t not in T or least < 1:
        raise SettingError(f"t = {t}, least = {least} is not allowed.", "t is 1, 2, 3 or 4, and least is 1 or more.")
    rules = rules_of(workspace)
    train, test = (rows_of(workspace, settings, split) for split in ("train", "test"))
    known = cell_counts(train, settings.unit, t)
    counter = PatternCounter.of(test)
    records = []
    for mask in cell_counts(test, "film", t)[t]:
        count = known[t].get(mask, 0)
        items: Items = items_of(mask)
        pattern = test.pattern(items)
        if count >= least or why_impossible(pattern, rules):
            continue
        patients, studies, films = counter.counts(items)
        parents = [known[t - 1].get(mask ^ 1 << i, 0) for i in items]
        records.append(
            {
                "gap_id": gap_id(pattern, settings.where), "pattern": pattern_text(pattern), "level": t,
                "sentence": unseen_sentence(pattern, patients, films, count, settings),
                "test_patients": patients, "test_studies": studies, "test_films": films, "train": count,
                "new": all(n >= least for n in parents),
            }
        )  # fmt: skip
    table = pd.DataFrame(records, columns=list(UNSEEN_COLUMNS)).astype(UNSEEN_COLUMNS)
    return table.sort_values(
        ["test_patients", "test_films", "pattern"], ascending=[False, False, True], ignore_index=True
    )


def unseen_sentence(pattern: dict[str, str], patients: int, films: int, train: int, settings: GapsSettings) -> str:
    """ "Women with edema on a lateral film: 3 test patients (4 films), no train patient." """
    who = describe(pattern)
    plural = PLURALS[settings.unit] if train > 1 else settings.unit
    text = (
        f"{who[0].upper()}{who[1:]}: {amount(patients, 'patient').replace(' ', ' test ')} ({amount(films, 'film')}), "
        f"{train or 'no'} train {plural}."
    )
    return text if not settings.where else f"{text} Counted where {settings.where}."
