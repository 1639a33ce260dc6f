"""The patient-level bootstrap: whole patients, the same draw for all, and intervals that hold what they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cars.errors import SettingError
from cars.evaluate.bootstrap import holm, interval, p_value, patient_weights, seed_weights
from cars.metrics.auroc import auroc


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(0, 5))
def test_films_of_a_patient_are_drawn_together(patients, seed):
    subjects = np.array([f"p{p}" for p in patients])
    weights = patient_weights(subjects, 20, seed)
    for patient in set(subjects):
        mine = weights[:, subjects == patient]
        assert (mine == mine[:, :1]).all()
    first = [int(np.flatnonzero(subjects == p)[0]) for p in sorted(set(subjects))]
    assert (weights[:, first].sum(axis=1) == len(set(subjects))).all(), "as many patients as there are"


def test_the_draw_does_not_depend_on_the_order_or_number_of_films():
    some = np.array(["a", "b", "c", "c"])
    other = np.array(["c", "a", "b", "a"])
    one, two = patient_weights(some, 50, 7), patient_weights(other, 50, 7)
    for patient in "abc":
        np.testing.assert_array_equal(one[:, some == patient][:, 0], two[:, other == patient][:, 0])
    assert not np.array_equal(one, patient_weights(some, 50, 8))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    # the mean of 40 patients' values, known to be 0: 90% intervals miss in about 10% of 300 trials
    missed = 0
    for trial in range(300):
        values = np.random.default_rng(trial).normal(size=40)
        weights = patient_weights(np.arange(40), 400, seed=trial)
        found = interval(float(values.mean()), weights @ values / 40, level=0.9)
        missed += not found.low <= 0 <= found.high
    assert 15 <= missed <= 55


def test_repeated_films_of_a_patient_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    y, prob = rng.integers(0, 2, 60), rng.random(60)
    subjects = np.arange(60)
    alone = auroc(y, prob, patient_weights(subjects, 1000, 0))
    five = [np.repeat(a, 5) for a in (y, prob, subjects)]
    np.testing.assert_allclose(auroc(five[0], five[1], patient_weights(five[2], 1000, 0)), alone, atol=1e-9)


def test_undefined_resamples_are_dropped_and_counted():
    found = interval(0.5, np.array([np.nan, 0.4, 0.6, np.nan]), level=0.5)
    assert (found.undefined, found.resamples) == (2, 4)
    assert 0.4 <= found.low < found.high <= 0.6
    nothing = interval(float("nan"), np.array([np.nan, np.nan]))
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
    assert nothing.undefined == 2


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_wrong_level_is_quoted(level):
    with pytest.raises(SettingError, match=f"level = {level}"):
        interval(0.5, np.array([0.5]), level=level)


def test_p_value_by_hand():
    # 2 of 99 at or below 0 → 2 · (2 + 1) / 100
    assert p_value(np.array([-1.0, 0.0] + [1.0] * 97)) == pytest.approx(0.06)
    assert p_value(np.zeros(99)) == 1.0, "two models alike"
    assert np.isnan(p_value(np.array([np.nan])))


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    adjusted = holm(np.array([0.04, np.nan, 0.5]))
    np.testing.assert_allclose(adjusted, [0.08, np.nan, 0.5])


def test_seed_weights_are_shares():
    shares = seed_weights(3, 200, 0)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares.std() > 0
    assert (seed_weights(1, 10, 0) == 1).all()
