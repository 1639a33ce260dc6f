"""The engine against brute force by the definition, and against an independent count of real CheXpert labels."""

from __future__ import annotations

import gzip
import importlib.util
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cars.coverage.mups import Bags, extension_counts, find_mups, make_bags, pack
from cars.errors import Cancelled


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


@settings(max_examples=1000, deadline=None)
@given(tables(), st.booleans())
def test_equals_brute_force(case, by_film):
    table, unit, domain, threshold, max_order = case
    own = np.arange(len(table)) if by_film else unit
    expected, often = brute_force(table, own, domain, threshold, max_order)
    mups, frequent, search = engine(table, None if by_film else unit, domain, threshold, max_order)
    assert mups == expected
    assert frequent == often or mups == {frozenset(): len(set(own.tolist()))}
    assert not search.truncated
    assert search.complete == max_order


def test_equals_brute_force_on_seeded_tables_with_many_rows_a_unit():
    for seed in range(60):
        random = np.random.default_rng(seed)
        domain = [2, 3, 3, 1, 1, 1]
        table = np.stack([random.integers(-1, size, 80) for size in domain], axis=1)
        unit = random.integers(0, 12, 80)  # nearly seven rows each, so bags are or-ed and rows dominated
        threshold = int(random.integers(1, 12))
        mups, often = brute_force(table, unit, domain, threshold, 4)
        found, frequent, _ = engine(table, unit, domain, threshold, 4)
        assert found == mups
        assert frequent == often or frozenset() in mups


def test_a_patient_matches_with_one_film_and_not_with_two_halves():
    # patient 0: effusion on one film, lateral view on another; patient 1: both on one film
    member = np.array([[True, False], [False, True], [True, True]])
    bags = make_bags(pack(member), np.array([0, 0, 1]), 2)
    search = find_mups(bags, np.array([0, 1]), threshold=2, max_order=2)
    assert search.frequent[1] == {1: 2, 2: 2}
    assert (search.mups, search.counts) == ([(0, 1)], [1])


def test_more_than_64_items():
    random = np.random.default_rng(3)
    domain = [30, 30, 12]
    table = np.stack([np.minimum(random.geometric(0.2, 600) - 1, size - 1) for size in domain], axis=1)
    unit = random.integers(0, 200, 600)
    mups, often = brute_force(table, unit, domain, 4, 2)
    found, frequent, _ = engine(table, unit, domain, 4, 2)
    assert found == mups
    assert frequent == often


def test_too_few_units_is_the_empty_pattern():
    _, _, search = engine(np.array([[0], [0]]), None, [2], threshold=3, max_order=1)
    assert (search.mups, search.counts, search.total) == ([()], [2], 2)


def test_a_value_that_no_film_has_is_a_mup():
    mups, _, _ = engine(np.array([[0]] * 5), None, [2], threshold=3, max_order=1)
    assert mups == {frozenset({(0, 1)}): 0}


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
