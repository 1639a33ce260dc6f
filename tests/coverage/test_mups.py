"""The engine against brute force by the definition, and against other algorithms on real CheXpert labels.

Both of its loops, numpy's and the compiled one, are tested on the same tables.
"""

from __future__ import annotations

import functools
import gzip
import importlib.util
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks._deepdiver import Coverage, deepdiver
from cars.coverage import compiled, mups
from cars.coverage.mups import Bags, extension_counts, find_mups, items_of, make_bags, pack
from cars.errors import Cancelled

NUMPY, KERNEL = 10**9, 0


def use(monkeypatch: pytest.MonkeyPatch, loop: int) -> None:
    """Let every level be done by numpy's loop or by the compiled one."""
    if loop == KERNEL:
        assert compiled.kernel() is not None, "numba comes with umap-learn, which is in requirements.txt"
    monkeypatch.setattr(mups, "WORTH_LOADING", loop)
    monkeypatch.setattr(mups, "WORTH_USING", loop)


def brute_force(table: np.ndarray, unit: np.ndarray, domain: list[int], threshold: int, max_order: int):
    """MUPs by the definition. table: (n, attributes) codes, -1 for a value that forms no item.

    Returns (MUPs with counts, frequent patterns with counts), both keyed by a frozenset of (attribute, value).
    """
    counts = {}
    for size in range(max_order + 1):
        for chosen in combinations(range(len(domain)), size):
            for values in product(*(range(domain[a]) for a in chosen)):
                match = np.all([table[:, a] == v for a, v in zip(chosen, values, strict=True)], axis=0)
                units = unit[match] if size else unit
                counts[frozenset(zip(chosen, values, strict=True))] = len(set(units.tolist()))
    mups = {p: n for p, n in counts.items() if n < threshold and all(counts[p - {item}] >= threshold for item in p)}
    return mups, {p: n for p, n in counts.items() if n >= threshold}


def engine(table: np.ndarray, unit: np.ndarray | None, domain: list[int], threshold: int, max_order: int):
    items = [(a, v) for a, size in enumerate(domain) for v in range(size)]
    member = np.array([[row[a] == v for a, v in items] for row in table], dtype=bool).reshape(len(table), len(items))
    attribute = np.array([a for a, _ in items])
    bags = make_bags(pack(member), unit, len(items))
    search = find_mups(bags, attribute, threshold, max_order)
    mups = {frozenset(items[i] for i in m): n for m, n in zip(search.mups, search.counts, strict=True)}
    frequent = {
        frozenset(items[i] for i in range(len(items)) if mask >> i & 1): n
        for level in search.frequent
        for mask, n in level.items()
    }
    return mups, frequent, search


@st.composite
def tables(draw):
    domain = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    row = st.tuples(*(st.integers(-1, size - 1) for size in domain))
    rows = draw(st.lists(row, min_size=0, max_size=14))
    units = draw(st.lists(st.integers(0, 5), min_size=len(rows), max_size=len(rows)))
    return (
        np.array(rows, dtype=int).reshape(len(rows), len(domain)),
        np.array(units, dtype=int),
        domain,
        draw(st.integers(1, 5)),
        draw(st.integers(1, len(domain))),
    )


@pytest.mark.parametrize("loop", [NUMPY, KERNEL], ids=["numpy", "compiled"])
def test_equals_brute_force(loop, monkeypatch):
    use(monkeypatch, loop)

    @settings(max_examples=1000, deadline=None)
    @given(tables(), st.booleans())
    def check(case, by_film):
        table, unit, domain, threshold, max_order = case
        own = np.arange(len(table)) if by_film else unit
        expected, often = brute_force(table, own, domain, threshold, max_order)
        found, frequent, search = engine(table, None if by_film else unit, domain, threshold, max_order)
        assert found == expected
        assert frequent == often or found == {frozenset(): len(set(own.tolist()))}
        assert not search.truncated
        assert search.complete == max_order

    check()


@pytest.mark.parametrize("loop", [NUMPY, KERNEL], ids=["numpy", "compiled"])
def test_equals_brute_force_on_seeded_tables_with_many_rows_a_unit(loop, monkeypatch):
    use(monkeypatch, loop)
    for seed in range(120):
        random = np.random.default_rng(seed)
        domain = random.integers(1, 5, 6).tolist()
        table = np.stack([random.integers(-1, size, 80) for size in domain], axis=1)
        unit = random.integers(0, int(random.integers(6, 70)), 80)  # one to thirteen rows each: or-ed and dominated
        threshold, max_order = int(random.integers(1, 12)), int(random.integers(1, 7))
        expected, often = brute_force(table, unit, domain, threshold, max_order)
        found, frequent, _ = engine(table, unit, domain, threshold, max_order)
        assert found == expected
        assert frequent == often or frozenset() in expected


@pytest.mark.parametrize("sizes", [[30, 30, 12], [16] * 4, [9] * 7, [2] * 40, [1] * 65], ids=sum)
@pytest.mark.parametrize("loop", [NUMPY, KERNEL], ids=["numpy", "compiled"])
def test_many_items(sizes, loop, monkeypatch):
    """A mask's last bit, and more than one word, which the compiled loop leaves to numpy."""
    use(monkeypatch, loop)
    for seed in range(4):
        random = np.random.default_rng(seed)
        table = np.stack([np.minimum(random.geometric(0.3, 300) - 1, size - 1) for size in sizes], axis=1)
        table[random.random(table.shape) < 0.3] = -1
        unit = random.integers(0, 120, 300)
        expected, often = brute_force(table, unit, sizes, 4, 2)
        found, frequent, _ = engine(table, unit, sizes, 4, 2)
        assert found == expected
        assert frequent == often


def test_a_patient_matches_with_one_film_and_not_with_two_halves():
    # patient 0: effusion on one film, lateral view on another; patient 1: both on one film
    member = np.array([[True, False], [False, True], [True, True]])
    bags = make_bags(pack(member), np.array([0, 0, 1]), 2)
    search = find_mups(bags, np.array([0, 1]), threshold=2, max_order=2)
    assert search.frequent[1] == {1: 2, 2: 2}
    assert (search.mups, search.counts) == ([(0, 1)], [1])


def test_too_few_units_is_the_empty_pattern():
    _, _, search = engine(np.array([[0], [0]]), None, [2], threshold=3, max_order=1)
    assert (search.mups, search.counts, search.total) == ([()], [2], 2)


def test_a_value_that_no_film_has_is_a_mup():
    found, _, _ = engine(np.array([[0]] * 5), None, [2], threshold=3, max_order=1)
    assert found == {frozenset({(0, 1)}): 0}


def independent_table(seed: int = 0, n: int = 400) -> tuple[tuple[np.ndarray, ...], np.ndarray, int]:
    random = np.random.default_rng(seed)
    member = random.random((n, 12)) < random.uniform(0.1, 0.6, 12)
    return pack(member), np.arange(12), 12


def test_stopping_at_the_limit_keeps_what_was_found_and_says_so():
    masks, attribute, items = independent_table()
    bags = make_bags(masks, None, items)
    whole = find_mups(bags, attribute, 30, 4)
    assert len(whole.mups) > 20
    part = find_mups(bags, attribute, 30, 4, limit=20)
    assert part.truncated
    assert part.reason == "limit"
    assert len(part.mups) == 20
    assert set(part.mups) < set(whole.mups)
    assert part.complete < 4
    # complete up to a level: every MUP of so few items is there
    assert {m for m in whole.mups if len(m) <= part.complete} <= set(part.mups)


def test_the_time_stops_the_search_and_what_was_found_is_kept():
    masks, attribute, items = independent_table()
    bags = make_bags(masks, None, items)
    whole = find_mups(bags, attribute, 30, 5)
    part = find_mups(bags, attribute, 30, 5, seconds=-1.0)
    assert (part.truncated, part.reason, part.complete) == (True, "seconds", 0)
    assert part.mups == [m for m in whole.mups if len(m) == 1]  # the first batch of prefixes is always done


@pytest.mark.parametrize("bound", [{"limit": 40}, {"most_frequent": 60}], ids=str)
def test_the_compiled_loop_stops_at_the_same_bounds(bound, monkeypatch):
    masks, attribute, items = independent_table()
    bags = make_bags(masks, None, items)
    whole = find_mups(bags, attribute, 20, 6)
    use(monkeypatch, KERNEL)
    assert find_mups(bags, attribute, 20, 6).mups == whole.mups
    part = find_mups(bags, attribute, 20, 6, **bound)
    assert part.truncated
    assert {m for m in whole.mups if len(m) <= part.complete} <= set(part.mups) < set(whole.mups)


def test_the_hash_table_holds_what_was_put_in():
    masks = np.unique(np.random.default_rng(0).integers(1, 2**63, 5000).astype(np.uint64))
    table = compiled.table_of(masks)
    assert sorted(table[table != 0].tolist()) == masks.tolist()
    assert len(table) >= 2 * len(masks)
    assert [items_of(1 << int(b))[0] for b in range(64)] == list(range(64))
    first = compiled.FIRST[[((compiled.DE_BRUIJN << b) % 2**64) >> 58 for b in range(64)]]
    assert first.tolist() == list(range(64))


def test_without_numba_the_search_goes_on(monkeypatch):
    monkeypatch.setattr(mups, "WORTH_LOADING", 0)
    monkeypatch.setattr(mups, "WORTH_USING", 0)
    monkeypatch.setattr(compiled, "kernel", functools.lru_cache(lambda: None))
    masks, attribute, items = independent_table()
    search = find_mups(make_bags(masks, None, items), attribute, 30, 3)
    assert search.complete == 3
    assert len(search.mups) > 20


def test_too_many_frequent_patterns_stop_the_search():
    masks, attribute, items = independent_table()
    search = find_mups(make_bags(masks, None, items), attribute, 1, 12, most_frequent=100)
    assert (search.truncated, search.reason) == (True, "frequent")


def test_the_search_can_be_cancelled():
    masks, attribute, items = independent_table()

    def stop(done: int, total: int, message: str = "") -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        find_mups(make_bags(masks, None, items), attribute, 5, 3, progress=stop)


def test_counts_stay_exact_beyond_the_precision_of_a_float32():
    weight = np.array([2.0**24, 1.0, 1.0])
    bags = Bags(pack(np.array([[True], [True], [True]])), np.arange(3), weight, 1)
    assert extension_counts(bags.masks, bags.bag, bags.weight, 1).tolist() == [2**24 + 2]


@pytest.fixture(scope="module")
def chexpert() -> pd.DataFrame:
    """CheXpert's label table as torchxrayvision packages it: 223,414 films; the file's columns and `patient`."""
    found = importlib.util.find_spec("torchxrayvision")
    assert found, "torchxrayvision is in requirements.txt"
    assert found.origin
    path = Path(found.origin).parent / "data" / "chexpert_train.csv.gz"
    with gzip.open(path) as stream:
        frame = pd.read_csv(stream)
    return frame.assign(patient=frame["Path"].str.extract(r"patient(\d+)")[0].astype(int))


CHEXPERT_FINDINGS = 14


def chexpert_items(frame: pd.DataFrame) -> np.ndarray:
    """(films, 18) bool: F, M, AP, PA, then the 14 findings present."""
    findings = frame.iloc[:, 5 : 5 + CHEXPERT_FINDINGS].to_numpy() == 1
    parts = [frame["Sex"] == "Female", frame["Sex"] == "Male", frame["AP/PA"] == "AP", frame["AP/PA"] == "PA"]
    return np.column_stack([*parts, findings])


def test_real_labels_by_film_against_whole_columns_as_python_integers(chexpert):
    """All 223,414 films, up to three items: each pattern's count is the popcount of and-ed big integers."""
    member = chexpert_items(chexpert)
    attribute = np.array([0, 0, 1, 1, *range(2, 2 + CHEXPERT_FINDINGS)])
    column = [int.from_bytes(np.packbits(member[:, i]).tobytes()) for i in range(member.shape[1])]
    search = find_mups(make_bags(pack(member), None, member.shape[1]), attribute, 300, 3)
    counts = {(): len(member)}
    for size in (1, 2, 3):
        for items in combinations(range(member.shape[1]), size):
            if len(set(attribute[list(items)])) == size:
                rows = column[items[0]]
                for i in items[1:]:
                    rows &= column[i]
                counts[items] = rows.bit_count()
    mups = {
        p: n for p, n in counts.items() if n < 300 and all(counts[tuple(i for i in p if i != out)] >= 300 for out in p)
    }
    assert len(mups) > 20
    assert dict(zip(search.mups, search.counts, strict=True)) == mups


def test_real_labels_by_patient_against_sets_of_patients(chexpert):
    """Every 20th patient, up to three items: a pattern's count is the size of a set of patient numbers."""
    frame = chexpert[chexpert["patient"] % 20 == 0]
    member, patient = chexpert_items(frame), frame["patient"].to_numpy()
    attribute = np.array([0, 0, 1, 1, *range(2, 2 + CHEXPERT_FINDINGS)])
    search = find_mups(make_bags(pack(member), patient, member.shape[1]), attribute, 25, 3)
    counts = {(): len(set(patient))}
    for size in (1, 2, 3):
        for items in combinations(range(member.shape[1]), size):
            if len(set(attribute[list(items)])) == size:
                counts[items] = len(set(patient[member[:, list(items)].all(axis=1)]))
    mups = {p: n for p, n in counts.items() if n < 25 and all(counts[tuple(i for i in p if i != o)] >= 25 for o in p)}
    assert len(mups) > 20
    assert dict(zip(search.mups, search.counts, strict=True)) == mups


def test_real_labels_to_full_depth_against_deepdiver(chexpert):
    """All 223,414 films, all 14 findings with sex and view, patterns of any size: DeepDiver finds the same MUPs."""
    sizes = [2, 2] + [1] * CHEXPERT_FINDINGS
    member = chexpert_items(chexpert)
    attribute = np.repeat(np.arange(len(sizes)), sizes)
    codes = np.full((len(member), len(sizes)), -1)
    for item in range(member.shape[1]):
        codes[member[:, item], attribute[item]] = item - np.flatnonzero(attribute == attribute[item])[0]
    search = find_mups(make_bags(pack(member), None, member.shape[1]), attribute, 300, len(sizes))
    first = np.cumsum([0, *sizes])
    slow, _ = deepdiver(Coverage(codes, sizes), sizes, 300)
    expected = {tuple(int(first[a]) + v for a, v in enumerate(p) if v is not None): n for p, n in slow.items()}
    assert max(map(len, expected)) >= 6
    assert dict(zip(search.mups, search.counts, strict=True)) == expected


def test_real_labels_of_every_patient_against_intersected_lists_of_films(chexpert):
    """All 64,540 patients, findings present, absent and uncertain, up to three: depth first over sorted film numbers
    (Eclat), every pattern with its patients, then the MUPs by their definition."""
    patient = chexpert["patient"].to_numpy()
    values = chexpert.iloc[:, 5 : 5 + CHEXPERT_FINDINGS].to_numpy()
    member = np.concatenate([values == 1, values == 0, values == -1], axis=1)
    attribute = np.tile(np.arange(CHEXPERT_FINDINGS), 3)
    order = np.argsort(attribute, kind="stable")
    member, attribute = member[:, order], attribute[order]
    counts = {(): len(np.unique(patient))}

    def deeper(items: tuple[int, ...], films: np.ndarray) -> None:
        for i in range(items[-1] + 1 if items else 0, len(attribute)):
            if attribute[i] in attribute[list(items)]:
                continue
            left = films[member[films, i]]
            counts[(*items, i)] = n = len(np.unique(patient[left]))
            if n >= 100 and len(items) < 2:
                deeper((*items, i), left)

    deeper((), np.arange(len(patient)))
    expected = {
        p: n
        for p, n in counts.items()
        if n < 100 and all(counts.get(p[:k] + p[k + 1 :], 0) >= 100 for k in range(len(p)))
    }
    assert len(expected) > 200
    search = find_mups(make_bags(pack(member), patient, len(attribute)), attribute, 100, 3)
    assert dict(zip(search.mups, search.counts, strict=True)) == expected
