"""The patient-level bootstrap: whole patients, the same draw for all, and intervals that hold what they should."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cars.errors import SettingError
from cars.evaluate.bootstrap import (
    Spread,
    holm,
    interval,
    p_value,
    patient_weights,
    pooled_deviation,
    seed_noise,
    smallest_effect,
    spread,
)
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


def test_holm_is_statsmodels():
    """tests/metrics/make_reference.py stores what statsmodels' multipletests gives."""
    stored = json.loads((Path(__file__).parents[1] / "metrics" / "reference.json").read_text(encoding="utf-8"))["holm"]
    assert len(stored) == 5
    for case in stored:
        np.testing.assert_allclose(holm(np.array(case["p"])), case["adjusted"], atol=1e-12)


# Training seeds ---------------------------------------------------------------------------------------------------


def test_the_deviation_between_seeds_is_pooled_by_hand():
    # deviations from the means: ±1 (2 values), ±2 and 0 (3 values): (1 + 1 + 4 + 0 + 4) / (1 + 2)
    groups = [np.array([1.0, 3.0]), np.array([0.0, 2.0, 4.0]), np.array([7.0]), np.array([np.nan, 1.0])]
    assert pooled_deviation(groups) == (pytest.approx((10 / 3) ** 0.5), 3)
    deviation, df = pooled_deviation([np.array([1.0])])
    assert np.isnan(deviation)
    assert df == 0


def test_seed_noise_is_students_t():
    noise = seed_noise(deviation=0.3, df=4, seeds=9, resamples=200_000, seed=0)
    for share in (0.025, 0.2, 0.5, 0.975):
        assert np.quantile(noise, share) == pytest.approx(stats.t.ppf(share, 4) * 0.1, abs=0.004)
    np.testing.assert_array_equal(noise, seed_noise(0.3, 4, 9, 200_000, 0))
    assert not seed_noise(float("nan"), 0, 1, 10, 0).any(), "nothing is known of it with one seed"


@pytest.mark.parametrize("backbones", [1, 7])
def test_intervals_hold_the_truth_where_training_is_noisy(backbones):
    """Three seeds, whose noise is three times the patients': 95% intervals miss in about 5% of 1,000 trials."""
    rng = np.random.default_rng(0)
    missed = 0
    for trial in range(1000):
        seeds = rng.normal(0, 0.3, (backbones, 3))  # a difference between arms at each seed; truly 0
        deviation, df = pooled_deviation(list(seeds))
        patients = rng.normal(0, 0.1)  # what these patients add to it, the same for all seeds
        resampled = seeds[0].mean() + patients + rng.normal(0, 0.1, 400)
        found = interval(seeds[0].mean() + patients, resampled + seed_noise(deviation, df, 3, 400, trial))
        missed += not found.low <= 0 <= found.high
    assert 25 <= missed <= 80


def test_spread_by_hand():
    # patients 3, seeds 8/√4 = 4 → 5; Satterthwaite: 625 / (81/80 + 256/6)
    resampled = np.array([-3.0, 3.0] * 500) * np.sqrt(999 / 1000)
    found = spread(resampled, deviation=8.0, df=6, seeds=4, patients=81)
    assert (found.patients, found.seeds, found.total) == (pytest.approx(3), pytest.approx(4), pytest.approx(5))
    assert found.df == pytest.approx(625 / (81 / 80 + 256 / 6))
    alone = spread(resampled, float("nan"), 0, 1, 81)
    assert alone.total == pytest.approx(3)
    assert np.isnan(alone.seeds)


def test_the_smallest_effect_by_hand():
    # the textbook's 2.80 standard errors: 1.96 + 0.84
    assert smallest_effect(Spread(1.0, 1.0, np.nan, 1e9), 0.95) == pytest.approx(2.8016, abs=1e-3)
    # Holm's first step over seven backbones: 2.69 + 0.84
    assert smallest_effect(Spread(1.0, 1.0, np.nan, 1e9), 0.95, tests=7) == pytest.approx(3.5316, abs=1e-3)


def test_the_smallest_effect_is_found_with_its_power():
    """Differences of means of 100 patients that truly are the smallest effect: p ≤ 0.05 in about 80% of 300 trials."""
    rng = np.random.default_rng(0)
    weights = patient_weights(np.arange(100), 400, seed=0)
    effect = smallest_effect(Spread(0.1, 0.1, np.nan, 99), 0.95)
    found = 0
    for _ in range(300):
        values = rng.normal(effect, 1.0, 100)
        found += p_value(weights @ values / 100) <= 0.05
    assert 0.72 <= found / 300 <= 0.88
