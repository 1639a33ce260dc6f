"""Which edits a film allows and what its labels are afterwards, for many films at once.

An edit changes one to three findings: finding → insert or delete. `schema.after_edit` says what becomes of one film;
this module says the same of an array of films, so that hundreds of thousands of sources can be looked through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np

from . import schema

Change = tuple[str, str]
INSERT, DELETE = "insert", "delete"
POSITION = {finding: n for n, finding in enumerate(schema.FINDINGS)}
NO_FINDING = POSITION["No Finding"]
DISEASES = [POSITION[f] for f in schema.FINDINGS if f != "No Finding" and f not in schema.ALLOWED_WITH_NO_FINDING]


def allowed(labels: np.ndarray, changes: Iterable[Change]) -> np.ndarray:
    """(films,) bool: which films the edit can be made on.

    Inserting needs a film without the finding, deleting one that surely has it; an uncertain label is nothing to build
    on. labels: (films, 14) int8 in the order of schema.FINDINGS.
    """
    possible = np.ones(len(labels), dtype=bool)
    for finding, direction in changes:
        have = labels[:, POSITION[finding]]
        if direction == INSERT:
            possible &= (have != schema.PRESENT) & (have != schema.UNCERTAIN)
        else:
            possible &= have == schema.PRESENT
    return possible


def labels_after(labels: np.ndarray, changes: Iterable[Change]) -> np.ndarray:
    """`schema.after_edit` for many films at once. labels: (films, 14) int8; returns a new array of that shape."""
    result = labels.copy()
    deleted = False
    for finding, direction in changes:
        parents = [p for p, children in schema.HIERARCHY.items() if finding in children]
        if direction == INSERT:
            result[:, [POSITION[f] for f in (finding, *parents)]] = schema.PRESENT
            if finding not in (*schema.ALLOWED_WITH_NO_FINDING, "No Finding"):
                result[:, NO_FINDING] = schema.NOT_MENTIONED
            continue
        deleted = True
        result[:, [POSITION[f] for f in (finding, *schema.HIERARCHY.get(finding, ()))]] = schema.ABSENT
        for parent in parents:
            children = [POSITION[c] for c in schema.HIERARCHY[parent]]
            orphan = ~(result[:, children] == schema.PRESENT).any(axis=1)
            result[orphan & (result[:, POSITION[parent]] == schema.PRESENT), POSITION[parent]] = schema.ABSENT
    if deleted:
        left = np.isin(result[:, DISEASES], (schema.PRESENT, schema.UNCERTAIN)).any(axis=1)
        result[~left, NO_FINDING] = schema.PRESENT
    return result


def changes_towards(pattern: Mapping[str, str]) -> list[Change]:
    """The single changes that could help a film match a pattern (attribute → value), whatever the film.

    An editable finding that is to be present is inserted, one to be absent deleted. A parent that is to be present
    comes with any editable child, one to be absent goes with its children, and No Finding comes when every disease is
    deleted.
    """
    found: list[Change] = []
    for name, value in pattern.items():
        children = [c for c in schema.HIERARCHY.get(name, ()) if c in schema.EDITABLE]
        if name in schema.EDITABLE and value in ("present", "absent"):
            found.append((name, INSERT if value == "present" else DELETE))
        elif name == "No Finding" and value == "present":
            found += [(f, DELETE) for f in schema.EDITABLE]
        elif value in ("present", "absent"):
            found += [(c, INSERT if value == "present" else DELETE) for c in children]
    return list(dict.fromkeys(found))


def edit_sets(changes: Iterable[Change], most: int) -> list[tuple[Change, ...]]:
    """Every edit of at most `most` of these changes, one change a finding, fewest changes first.

    Within an edit the changes are in the order of schema.FINDINGS, so that the same edit is always the same tuple.
    """
    single = sorted(set(changes), key=lambda c: (POSITION[c[0]], c[1]))
    return [
        edit
        for size in range(1, most + 1)
        for edit in combinations(single, size)
        if len({finding for finding, _ in edit}) == size
    ]
