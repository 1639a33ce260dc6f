"""The shared forms of the metrics against the plain ones: random cases with ties, patients, and resamples undefined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cars.evaluate.bootstrap import patient_weights, resample, resample_all
from cars.metrics import METRICS
from cars.metrics._fits import HALVES, falling
from cars.metrics._shared import Case, Draws
from cars.metrics.smooth_ece import smooth_ece_at

#: Smooth ECE is searched for until it is this near; the other costly ones by Newton's steps.
TOLERANCE = {"smooth_ece": 2e-10, "calibration_slope": 1e-9, "calibration_intercept": 1e-9}


def made(seed: int, films: int, levels: int, resamples: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (rare or common), probabilities (tied where levels are few), weights by patient: some lack a class."""
    rng = np.random.default_rng(seed)
    y = (rng.random(films) < rng.choice([0.05, 0.4])).astype(float)
    z = rng.choice([0.0, 1.5, 6.0]) * y + rng.normal(-2, rng.choice([0.2, 1.0, 3.0]), films)
    p = 1 / (1 + np.exp(-z))
    if levels:
        p = np.round(p * levels) / levels
    weights = patient_weights(rng.integers(0, max(films // 2, 1), films), resamples, seed)
    weights[0] = 0  # a resample without a film
    weights[1] *= (y == 1).astype(np.uint8)  # one without a negative
    weights[2] *= (y == 0).astype(np.uint8)
    return y, p, weights


def compare(y: np.ndarray, p: np.ndarray, weights: np.ndarray, threshold: float = 0.3) -> None:
    draws = Draws.of(weights)
    case = Case(y, p, draws, draws.first(1 + len(weights)), threshold)
    for name in METRICS:
        metric = METRICS.get(name)
        if not metric.shared:
            continue
        options = {"threshold": threshold} if metric.threshold else {}
        expected = np.append(metric(y, p, **options), metric(y, p, weights, **options))
        found = metric.shared(case)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), err_msg=name)
        scale = np.maximum(1, np.abs(expected))
        np.testing.assert_allclose(
            found / scale, expected / scale, rtol=0, atol=TOLERANCE.get(name, 1e-12), err_msg=name
        )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([0, 1, 4, 20]))
def test_every_shared_form_is_the_plain_one(seed, films, levels):
    compare(*made(seed, films, levels))


@pytest.mark.parametrize(("films", "levels"), [(400, 0), (400, 40), (257, 0)])
def test_also_with_more_films_and_more_resamples_than_go_in_step(films, levels):
    compare(*made(1, films, levels, resamples=300))


def test_whole_numbers_are_exact():
    y, p, weights = made(3, 200, 25, resamples=300)
    case = Case(y, p, Draws.of(weights), Draws.of(weights))
    for name in ("auroc", "auprc", "sensitivity_at_90"):
        np.testing.assert_array_equal(METRICS.get(name).shared(case)[1:], METRICS.get(name)(y, p, weights))


@pytest.mark.parametrize(("noise", "widest", "narrowest"), [(0.5, 1.0, 0.04), (0.0, 0.025, 0.009), (0.0, 0.007, 0.0)])
def test_smooth_ece_of_every_grid(noise, widest, narrowest):
    """Bandwidths that only the coarse, the middle and the fine grid resolve."""
    rng = np.random.default_rng(5)
    films = 30 if narrowest > 0.03 else 400 if narrowest else 4000
    p = rng.beta(1, 30, films) if narrowest < 0.03 else rng.random(films)
    y = (rng.random(films) < np.clip(p + noise * rng.normal(size=films), 0, 1)).astype(float)
    weights = patient_weights(np.arange(films), 40, 0)
    value, width = smooth_ece_at(y, p, weights, None)
    inside = (width < widest) & (width > narrowest)
    assert inside.sum() >= 10, "the case is one of that grid"
    draws = Draws.of(weights)
    found = METRICS.get("smooth_ece").shared(Case(y, p, draws, draws))[1:]
    np.testing.assert_allclose(found[inside], value[inside], rtol=0, atol=2e-10)


def test_the_exponential():
    x = np.concatenate([np.linspace(0, 50, 5001), [100.0, 700.0]])
    np.testing.assert_allclose([falling(v, HALVES) for v in x], np.exp(-x), rtol=4e-16)
    assert falling(5000.0, HALVES) < 1e-300


def test_films_that_weigh_alike_are_one_group():
    weights = np.array([[1, 2, 1, 0], [0, 3, 0, 0]], dtype=np.uint8)
    draws = Draws.of(weights)
    assert draws.group.tolist() == [0, 1, 0, 2]
    assert draws.counts.tolist() == [[1, 1, 0], [1, 2, 3], [1, 0, 0]], "first every film once"
    np.testing.assert_array_equal(draws.weights(), weights)
    some = draws.inside(np.array([False, True, True, False]))
    np.testing.assert_array_equal(some.weights(), weights[:, 1:3])
    assert len(draws.first(2)) == 2


@pytest.mark.parametrize("whole", [True, False])
def test_all_metrics_of_some_films_are_each_metric_on_those_films(whole):
    y, p, weights = made(8, 80, 0)
    films = np.arange(80) % 3 > 0
    draws = Draws.of(weights) if whole else weights * 1.0
    names = METRICS.names()
    found = resample_all(names, y[films], p[films], draws, films, 10, 0.2)
    for name, (value, resampled) in zip(names, found):
        metric = METRICS.get(name)
        few = weights[: 10 if metric.costly else None][:, films]
        options = {"threshold": 0.2} if metric.threshold else {}
        expected = resample(metric, y[films], p[films], few, **options)
        assert value == pytest.approx(expected[0], abs=1e-9, nan_ok=True), name
        np.testing.assert_allclose(resampled, expected[1], atol=1e-9, err_msg=name)
