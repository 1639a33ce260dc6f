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
    assert metric.direction in ("higher", "lower")
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
        assert metric.range[0] - 1e-12 <= value <= metric.range[1] + 1e-12


def test_the_truth_scores_better_than_its_opposite(metric, films):
    y, _ = films
    best, worst = metric(y, y.astype(float)), metric(y, 1.0 - y)
    assert (best > worst) if metric.direction == "higher" else (best < worst)


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
    np.testing.assert_allclose(metric(y, prob, np.ones((3, len(y)))), [metric(y, prob)] * 3, atol=1e-12)


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
