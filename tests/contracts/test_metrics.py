"""What every registered metric promises; a new one is tested as soon as its file exists."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cars.errors import DataError
from cars.metrics import METRICS


@pytest.fixture(params=METRICS.names())
def metric(request):
    return METRICS.get(request.param)


@pytest.fixture
def films():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 200)
    return y, np.clip(0.3 * y + rng.random(200) * 0.7, 0, 1)


def test_says_what_it_is(metric):
    assert metric.direction in ("higher", "lower", "target", "none")
    assert (metric.direction == "target") == (metric.target is not None)
    assert metric.direction in metric.better or metric.direction in ("target", "none")
    assert metric.better
    assert metric.range[0] < metric.range[1]
    assert any(char.isdigit() for char in metric.paper), "the paper has a year"
    assert metric.label
    assert METRICS.get(metric.metric) is metric
    assert metric.__doc__


def test_stays_in_its_range(metric, films):
    y, prob = films
    for p in (prob, 1 - prob, np.full(len(y), 0.5), y.astype(float), 1.0 - y):
        value = metric(y, p)
        assert isinstance(value, float)
        assert math.isnan(value) or metric.range[0] - 1e-12 <= value <= metric.range[1] + 1e-12
    assert math.isfinite(metric(y, prob))


def test_the_truth_scores_best(metric, films):
    """Better than its opposite or than one answer for all, and not worse than its opposite."""
    y, _ = films
    if metric.direction not in ("higher", "lower"):
        pytest.skip(f"of {metric.label}, {metric.better}")
    sign = 1 if metric.direction == "higher" else -1
    best, opposite, constant = (sign * metric(y, p) for p in (y.astype(float), 1.0 - y, np.full(len(y), 0.5)))
    assert best >= opposite - 1e-12
    assert best > min(opposite, constant)


def test_a_target_is_what_honest_probabilities_reach(metric):
    if metric.direction != "target":
        pytest.skip("no target")
    rng = np.random.default_rng(0)
    honest = rng.uniform(0.02, 0.98, 20_000)
    y = rng.random(20_000) < honest
    assert metric(y, honest) == pytest.approx(metric.target, abs=0.06)
    assert abs(metric(y, honest**2) - metric.target) > 0.2


def test_the_order_of_films_does_not_matter(metric, films):
    y, prob = films
    order = np.random.default_rng(0).permutation(len(y))
    assert metric(y[order], prob[order]) == pytest.approx(metric(y, prob), abs=1e-12)


def test_changes_nothing_that_it_is_given(metric, films):
    y, prob = films
    before = y.copy(), prob.copy()
    metric(y, prob, np.ones((2, len(y))))
    np.testing.assert_array_equal(y, before[0])
    np.testing.assert_array_equal(prob, before[1])


def test_weights_of_one_are_no_weights(metric, films):
    y, prob = films
    for dtype in (float, np.uint8, int):
        np.testing.assert_allclose(metric(y, prob, np.ones((3, len(y)), dtype)), [metric(y, prob)] * 3, atol=1e-12)


def test_a_weight_counts_a_film_that_often(metric, films):
    y, prob = films
    prob = np.round(prob, 2)  # ties
    weights = np.random.default_rng(1).integers(0, 4, (5, len(y)))
    found = metric(y, prob, weights.astype(np.uint8))
    for row, value in zip(weights, found):
        assert value == pytest.approx(metric(np.repeat(y, row), np.repeat(prob, row)), abs=1e-9, nan_ok=True)
    np.testing.assert_allclose(metric(y, prob, weights.astype(float)), found, atol=1e-9)


def test_temperature_scaling_changes_it_just_when_it_says_so(metric, films):
    y, prob = films
    squeezed = 1 / (1 + (1 / prob - 1) ** (1 / 3))  # a temperature of 3
    threshold = 1 / (1 + (1 / 0.3 - 1) ** (1 / 3))
    if metric.threshold:
        before, after = metric(y, prob, threshold=0.3), metric(y, squeezed, threshold=threshold)
    else:
        before, after = metric(y, prob), metric(y, squeezed)
    assert (after != pytest.approx(before, abs=1e-9)) == metric.scaling


def test_a_resample_without_films_is_undefined(metric, films):
    y, prob = films
    values = metric(y, prob, np.zeros((1, len(y))))
    assert math.isnan(values[0])


def test_only_the_order_matters_where_it_says_so(metric, films):
    y, prob = films
    squeezed = metric(y, prob**3)
    assert (squeezed == pytest.approx(metric(y, prob), abs=1e-12)) == metric.ranks


def test_refuses_a_label_that_is_not_0_or_1(metric):
    with pytest.raises(DataError, match="-2"):
        metric([1, -2], [0.1, 0.2])
