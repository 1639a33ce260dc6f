"""t-way coverage: of all combinations of t attribute values that can be, how many have at least m units?

After combinatorial coverage measurement (Kuhn, Kacker & Lei, "Combinatorial Coverage as an Aspect of Test Quality",
2015). The combinations are the product of the attributes' domains without those that a rule forbids; a value that no
film has stays in the domain, which is the point of the measure.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product

from ..errors import SettingError
from .attributes import Attribute
from .expected import mask_of
from .mups import find_mups
from .rows import Rows
from .rules import Rule, why_impossible

#: More combinations than this are not enumerated.
MOST_CELLS = 3_000_000
T = (1, 2, 3)


def cell_count(attributes: tuple[Attribute, ...], t: int) -> int:
    """How many combinations of t values of different attributes there are, forbidden ones included."""
    counts = [1] + [0] * t  # elementary symmetric polynomials of the domains' sizes
    for a in attributes:
        for k in range(t, 0, -1):
            counts[k] += counts[k - 1] * len(a.values)
    return counts[t]


def possible_cells(attributes: tuple[Attribute, ...], rules: tuple[Rule, ...], t: int) -> frozenset[int]:
    """Masks of items of the combinations of t values that no rule forbids.

    Raises: SettingError when there are more than MOST_CELLS.
    """
    if cell_count(attributes, t) > MOST_CELLS:
        raise SettingError(
            f"There are {cell_count(attributes, t):,} combinations of {t} values.",
            "Name fewer attributes, or use values = present.",
        )
    first, numbered = 0, []
    for a in attributes:
        numbered.append([(first + n, a.name, value) for n, value in enumerate(a.values)])
        first += len(a.values)
    cells = set()
    for chosen in combinations(numbered, t):
        for cell in product(*chosen):
            if why_impossible({name: value for _, name, value in cell}, rules) is None:
                cells.add(mask_of(tuple(item for item, _, _ in cell)))
    return frozenset(cells)


def tway_coverage(
    rows: Rows, possible: dict[int, frozenset[int]], unit: str, least: Iterable[int]
) -> dict[int, dict[int, float]]:
    """m → t → share of the possible t-way combinations that at least m units match, in [0, 1].

    A combination with m units has only sub-combinations with m units, so these are the frequent patterns of the search.

    Args:
        possible: t → as `possible_cells` gives them for the rows' attributes. least: the values of m.
    """
    bags, result = rows.bags(unit), {}
    for m in dict.fromkeys(least):
        search = find_mups(bags, rows.attribute_of_item, m, max(possible), limit=MOST_CELLS)
        result[m] = {
            t: len(cells & search.frequent[t].keys()) / len(cells) if t < len(search.frequent) and cells else 0.0
            for t, cells in possible.items()
        }
    return result
