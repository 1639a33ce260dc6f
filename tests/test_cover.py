"""Fewest films: cases by hand, and against integer programming on made-up cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cars.cover import Candidates, greedy, lower_bound, optimum, reached, without_needless


def harmonic(n: int) -> float:
    return sum(1 / k for k in range(1, n + 1))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Candidates, np.ndarray, int]:
    gaps = draw(st.integers(1, 5))
    films = draw(st.integers(1, 14))
    sets = [sorted(draw(st.sets(st.integers(0, gaps - 1), min_size=1))) for _ in range(films)]
    patient = [draw(st.integers(0, 7)) for _ in range(films)]
    by_film = draw(st.booleans())
    wanted = np.array([draw(st.integers(0, 4)) for _ in range(gaps)])
    return Candidates.from_sets(sets, patient, list(range(films)) if by_film else None), wanted, draw(st.integers(1, 3))


def test_one_film_that_fills_two_gaps_beats_one_for_each():
    films = Candidates.from_sets([[0], [1], [0, 1], [0], [1], [0, 1]])
    chosen = greedy(films, np.array([2, 2]), 1)
    assert sorted(chosen) == [2, 5]


def test_a_patient_counts_once_in_a_gap_however_many_films():
    same = Candidates.from_sets([[0], [0], [0]], patient=[7, 7, 8])
    assert reached(same, greedy(same, np.array([3]), 3), 1).tolist() == [2]
    by_film = Candidates.from_sets([[0], [0], [0]], patient=[7, 7, 8], unit=[0, 1, 2])
    assert reached(by_film, greedy(by_film, np.array([3]), 3), 1).tolist() == [3]
    assert len(greedy(by_film, np.array([3]), 1)) == 2, "one film a patient"


def test_a_dear_film_loses_to_two_cheap_ones_only_when_it_is_dearer_than_both():
    sets = [[0, 1], [0], [1]]
    assert sorted(greedy(Candidates.from_sets(sets, weight=[3, 1, 1]), np.array([1, 1]), 1)) == [1, 2]
    assert greedy(Candidates.from_sets(sets, weight=[1.5, 1, 1]), np.array([1, 1]), 1) == [0]


def test_films_are_spread_over_patients_where_films_are_counted():
    films = Candidates.from_sets([[0]] * 6, patient=[0, 0, 0, 1, 1, 2], unit=list(range(6)))
    assert len(set(films.patient[greedy(films, np.array([3]), 3)].tolist())) == 3


def test_what_a_later_film_made_needless_is_dropped():
    """The greedy start {0, 1, 2} is needless once 3 and 4 are in, which the last two gaps need anyway."""
    films = Candidates.from_sets([[0, 1, 2], [0, 1, 3], [2, 4]])
    assert greedy(films, np.ones(5, dtype=int), 1) == [1, 2]
    assert without_needless(films, np.ones(5, dtype=int), [0, 1, 2]) == [1, 2]


def test_the_limit_of_films_is_kept_and_the_most_useful_come_first():
    films = Candidates.from_sets([[0], [0, 1, 2], [1, 2]])
    assert greedy(films, np.array([2, 2, 2]), 1, most=1) == [1]


def test_the_bound_of_gaps_that_no_film_shares_is_their_sum():
    films = Candidates.from_sets([[0]] * 50 + [[1]] * 50)
    assert lower_bound(films, np.array([20, 13])) == 33
    assert lower_bound(films, np.array([0, 0])) == 0
    assert lower_bound(Candidates.from_sets([[0, 1]] * 50 + [[0]] * 9), np.array([20, 13])) == 20


@settings(max_examples=300, deadline=None)
@given(cases())
def test_greedy_against_integer_programming(case):
    films, wanted, per_patient = case
    chosen = greedy(films, wanted, per_patient)
    have = reached(films, chosen, len(wanted))
    best = optimum(films, wanted, per_patient)
    patients = films.patient[chosen]
    assert not len(chosen) or np.bincount(patients).max() <= per_patient
    assert len(set(chosen)) == len(chosen)
    if best is None:
        assert (have < wanted).any()
        return
    assert (reached(films, best, len(wanted)) >= wanted).all()
    assert lower_bound(films, wanted) <= len(best)
    if (have >= wanted).all():
        assert len(best) <= len(chosen)
        largest = max(len(films.of(f)) for f in range(len(films)))
        assert len(chosen) <= math.floor(harmonic(largest) * len(best) + 1e-9) or np.bincount(patients).max() > 1


@settings(max_examples=200, deadline=None)
@given(cases())
def test_no_chosen_film_is_needless(case):
    films, wanted, per_patient = case
    chosen = greedy(films, wanted, per_patient)
    enough = np.minimum(wanted, reached(films, chosen, len(wanted)))
    for film in chosen:
        rest = [f for f in chosen if f != film]
        assert (reached(films, rest, len(wanted)) < enough).any()


def test_on_many_small_cases_greedy_is_the_fewest(capsys):
    """300 seeded cases of 30 films, 30 patients and 6 gaps; how often, and how far off otherwise, is printed."""
    random = np.random.default_rng(5)
    ratios = []
    for _ in range(300):
        sets = [np.flatnonzero(random.random(6) < 0.35).tolist() or [0] for _ in range(30)]
        films, wanted = Candidates.from_sets(sets), random.integers(1, 6, 6)
        best = optimum(films, wanted, 1)
        if best is not None:
            ratios.append(len(greedy(films, wanted, 1)) / len(best))
    with capsys.disabled():
        print(f"\ngreedy / fewest: equal in {np.mean(np.array(ratios) == 1):.0%} of {len(ratios)}, "
              f"mean {np.mean(ratios):.3f}, worst {max(ratios):.2f}")  # fmt: skip
    assert np.mean(np.array(ratios) == 1) >= 0.9
    assert max(ratios) <= 1.25


@pytest.mark.parametrize("wanted", [[3], [5]])
def test_an_impossible_wish_is_served_as_far_as_it_goes(wanted):
    films = Candidates.from_sets([[0], [0]])
    assert optimum(films, np.array(wanted), 1) is None
    assert len(greedy(films, np.array(wanted), 1)) == 2
