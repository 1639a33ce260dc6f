"""Calibration and uncertainty: by hand, by brute force, and against other libraries' values (reference.json)."""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.linear_model import LogisticRegression

from cars.metrics import METRICS
from cars.metrics._bins import absolute_error, debiased_absolute_error, debiased_squared_error, equal_mass
from cars.metrics._brier_parts import brier_parts
from cars.metrics._logits import logits_of, recalibration
from cars.metrics.aurc import area
from cars.metrics.smooth_ece import SMALLEST, smooth_ece, smooth_ece_at

from .test_metric_values import cases

REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text(encoding="utf-8"))


def plain(n: int) -> np.ndarray:
    return np.ones((1, n))


# Against other libraries' values ----------------------------------------------------------------------------------

#: Where the other library works in single precision, draws at random, or on a grid.
TOLERANCE = {
    "torchmetrics auroc": 1e-6, "torchmetrics auprc": 1e-6, "kumar ece_adaptive_debiased": 3e-4,
    "relplot smooth_ece": 3e-4,
}  # fmt: skip


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=range(len(REFERENCE["cases"])))
def test_equals_what_other_libraries_give(case):
    compared = 0
    for name, value in case["values"].items():
        metric = name.split(" ", 1)[1]
        if metric in METRICS.names() and name != "torchmetrics sensitivity":
            found = METRICS.get(metric)(case["y"], case["p"])
            assert found == pytest.approx(value, abs=TOLERANCE.get(name, 1e-9)), name
            compared += 1
    assert compared == 10


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=range(len(REFERENCE["cases"])))
def test_smooth_ece_at_a_bandwidth_is_relplots(case):
    y, p = np.array(case["y"], dtype=float), np.array(case["p"])
    for sigma, tolerance in ((0.03, 3e-5), (0.06, 1e-5), (0.1, 1e-5)):  # relplot's kernel lies on a grid of 1/1000
        found, _ = smooth_ece_at(y, p, plain(len(y)), sigma)
        assert found[0] == pytest.approx(case["values"][f"relplot smooth_ece at {sigma}"], abs=tolerance)


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=range(len(REFERENCE["cases"])))
def test_the_intercept_beside_the_slope_is_statsmodels(case):
    found = recalibration(np.array(case["y"], dtype=float), np.array(case["p"]), plain(len(case["y"])))[0]
    assert found[0] == pytest.approx(case["values"]["statsmodels intercept beside the slope"], abs=1e-9)


# Smooth ECE by brute force ----------------------------------------------------------------------------------------


def brute(y: np.ndarray, p: np.ndarray, w: np.ndarray, sigma: float, points: int = 4000) -> float:
    """Gaussians around each film and around its mirror images in 0 and 1, summed on a grid."""
    t = (np.arange(points) + 0.5) / points
    reach = int(np.ceil(6 * sigma / 2)) + 1
    images = np.concatenate([s * p + 2 * k for k in range(-reach, reach + 1) for s in (1, -1)])
    heights = np.tile(w * (y - p) / w.sum(), 2 * (2 * reach + 1))
    near = np.abs(images - 0.5) < 0.5 + 7 * sigma
    kernel = np.exp(-((t[:, None] - images[near]) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    return float(np.abs(kernel @ heights[near]).mean())


@pytest.mark.parametrize("seed", range(3))
def test_smooth_ece_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    y, p, w = rng.integers(0, 2, 12).astype(float), np.append(rng.random(10), [0.0, 1.0]), rng.integers(1, 4, 12) * 1.0
    for sigma in (0.04, 0.3, 1.0):
        assert smooth_ece_at(y, p, w[None], sigma)[0][0] == pytest.approx(brute(y, p, w, sigma), abs=1e-6)
    fixed = optimize.brentq(lambda s: brute(y, p, w, s) - s, 0.05, 1.0, xtol=1e-9)
    assert smooth_ece(y, p, w[None])[0] == pytest.approx(fixed, abs=1e-6)


def test_smooth_ece_by_hand():
    # all said 0.5 and none has it: the residual is −0.5 times a density: 0.5 at any bandwidth
    assert smooth_ece([0, 0, 0], [0.5, 0.5, 0.5]) == pytest.approx(0.5, abs=1e-6)
    assert smooth_ece([1, 0], [1.0, 0.0]) == 0.0
    # at a huge bandwidth everything is averaged: |mean residual|
    assert smooth_ece_at(np.array([1.0, 0.0]), np.array([0.9, 0.4]), plain(2), 5.0)[0][0] == pytest.approx(0.15)


def test_smooth_ece_finds_small_bandwidths_too():
    """Nearly honest probabilities: the fixed point lies where only the finer transform is exact."""
    p = np.repeat((np.arange(150) + 0.5) / 150, 2)
    y = np.tile([0.0, 1.0], 150)
    noise = np.random.default_rng(0).normal(0, 0.01, 150).repeat(2)
    w = np.where(y == 1, p, 1 - p) + np.clip(noise, -0.003, 0.003) * (2 * y - 1)  # not whole numbers
    value, width = smooth_ece_at(y, p, w[None], None)
    assert SMALLEST < width[0] < 0.008
    assert value[0] == pytest.approx(width[0], abs=1e-8)
    assert value[0] == pytest.approx(brute(y, p, w, width[0], 20_000), abs=1e-6)


# Bins -------------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(cases())
def test_equal_mass_bins_are_numpys_quantiles(case):
    y, prob, weights = case
    if weights.sum() < 2:
        return
    often = np.repeat(prob, weights.astype(int))
    h = (len(often) - 1) * np.arange(1, 15) / 15
    ranks = np.sort(often)
    low = np.floor(h + 1e-9).astype(int)  # NumPy's own quantile rounds h, and so may miss a film by 1e-16
    edges = ranks[low] + np.where(h - low > 1e-9, h - low, 0) * (
        ranks[np.minimum(low + 1, len(often) - 1)] - ranks[low]
    )
    expected = np.zeros((15, 2))
    np.add.at(expected, np.searchsorted(edges, prob, side="right"), np.stack([weights, weights * y], axis=1))
    np.testing.assert_allclose(equal_mass([np.ones_like(prob), y * 1.0], prob, weights[None])[0], expected)


def test_adaptive_ece_by_hand():
    # 15 films, 15 bins: each film its own bin, so the error is the mean of |y − p|
    p = np.linspace(0.01, 0.2, 15)
    y = np.array([1] + [0] * 14)
    assert METRICS.get("ece_adaptive")(y, p) == pytest.approx(np.abs(y - p).mean())
    assert METRICS.get("ece")(y, p) != pytest.approx(np.abs(y - p).mean())


def test_debiasing_by_hand():
    # one bin, four films said 0.5, two have it: the error is 0, and another sample's would be about N(0, 0.25/4),
    # whose mean absolute value is 0.25·√(2/π)
    totals = np.array([[[4.0, 2.0, 2.0]]])
    assert debiased_absolute_error(totals)[0] == pytest.approx(-0.25 * math.sqrt(2 / math.pi))
    y, p = [0, 0, 1, 1], [0.5] * 4
    assert METRICS.get("ece_debiased")(y, p) == pytest.approx(-0.25 * math.sqrt(2 / math.pi))
    # far off, chance does not flip the sign and so adds nothing
    assert METRICS.get("ece_debiased")([0] * 99 + [1], [0.9] * 100) == pytest.approx(0.89, abs=1e-9)
    # squared: 0² − 0.25/3 is below 0, so no error is shown; (0.9 − 0.01)² − 0.0099/99
    assert METRICS.get("rms_calibration_error")(y, p) == 0.0
    found = METRICS.get("rms_calibration_error")([0] * 99 + [1], [0.9] * 100)
    assert found == pytest.approx(math.sqrt(0.89**2 - 0.0099 / 99))


def test_debiasing_takes_bias_off():
    """Honest probabilities: the squared form is right on average; the absolute one is nearer 0 than the plain error."""
    rng = np.random.default_rng(0)
    plainly, debiased, squared = [], [], []
    for _ in range(200):
        p = rng.random(150)
        y = (rng.random(150) < p).astype(float)
        totals = equal_mass([np.ones(150), y, p], p, plain(150))
        plainly.append(absolute_error(totals)[0])
        debiased.append(debiased_absolute_error(totals)[0])
        squared.append(debiased_squared_error(totals)[0])
    assert np.mean(plainly) > 0.08
    assert 0 < np.mean(debiased) < 0.7 * np.mean(plainly)
    assert abs(np.mean(squared)) < 3 * np.std(squared) / 200**0.5
    assert abs(np.mean(squared)) < 0.1 * np.mean(plainly) ** 2


# Parts of the Brier score -----------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(cases())
def test_the_parts_of_the_brier_score_sum_to_it(case):
    y, prob, weights = case
    if not weights.any():
        return
    for w in (plain(len(y)), weights[None]):
        part = brier_parts(y.astype(float), prob, w)
        total = part.reliability - part.generalised_resolution + part.uncertainty
        whole = METRICS.get("brier")(y, prob, w)
        np.testing.assert_allclose(total, whole, atol=1e-12)
        murphy = part.reliability - part.resolution + part.uncertainty
        np.testing.assert_allclose(murphy + part.within_variance - part.within_covariance, whole, atol=1e-12)


def test_the_parts_of_the_brier_score_by_hand():
    # bin of 0.2: five films, one has it; bin of 0.8: five films, three have it. Prevalence 0.4.
    p = np.array([0.2] * 5 + [0.8] * 5)
    y = np.array([1, 0, 0, 0, 0, 1, 1, 1, 0, 0], dtype=float)
    part = brier_parts(y, p, plain(10))
    assert part.reliability[0] == pytest.approx(0.5 * 0.0 + 0.5 * 0.2**2)
    assert part.resolution[0] == pytest.approx(0.5 * 0.2**2 + 0.5 * 0.2**2)
    assert part.uncertainty[0] == pytest.approx(0.24)
    assert part.within_variance[0] == pytest.approx(0, abs=1e-12)
    assert part.within_covariance[0] == pytest.approx(0, abs=1e-12)
    # two probabilities in one bin, in step with the labels: variance 0.01² and covariance 2 · 0.01 · 0.5
    part = brier_parts(np.array([0.0, 1.0]), np.array([0.81, 0.83]), plain(2))
    assert part.within_variance[0] == pytest.approx(1e-4)
    assert part.within_covariance[0] == pytest.approx(0.01)


# Recalibration ----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_recalibration_is_logistic_regression(seed):
    rng = np.random.default_rng(seed)
    y, prob = rng.integers(0, 2, 30), rng.random(30)
    weights = rng.integers(0, 3, 30).astype(float)
    z = logits_of(prob)
    if not (z[(y == 0) & (weights > 0)].max(initial=-9) > z[(y == 1) & (weights > 0)].min(initial=9)) or not (
        z[(y == 1) & (weights > 0)].max(initial=-9) > z[(y == 0) & (weights > 0)].min(initial=9)
    ):
        return
    fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(z[:, None], y, sample_weight=weights)
    found = recalibration(y * 1.0, prob, weights[None])[0]
    assert found[1] == pytest.approx(fit.coef_[0, 0], abs=1e-4)  # scikit-learn's own steps stop at about 1e-5
    p = 1 / (1 + np.exp(-(found[0] + found[1] * z)))
    assert weights @ (y - p) == pytest.approx(0, abs=1e-7), "the likelihood's gradient is 0"
    assert weights @ ((y - p) * z) == pytest.approx(0, abs=1e-7)


def test_the_intercept_makes_the_probabilities_sum_to_the_positives():
    rng = np.random.default_rng(0)
    y, prob = rng.integers(0, 2, 50), rng.random(50)
    weights = rng.integers(0, 4, (6, 50)).astype(float)
    for row, a in zip(weights, METRICS.get("calibration_intercept")(y, prob, weights)):
        moved = 1 / (1 + np.exp(-(a + logits_of(prob))))
        assert row @ moved == pytest.approx(row @ y, abs=1e-8)
    # by hand: said 0.5, two of three have it → log(2)
    assert METRICS.get("calibration_intercept")([1, 1, 0], [0.5] * 3) == pytest.approx(math.log(2))
    # probabilities of 0 and 1 are kept finite
    assert math.isfinite(METRICS.get("calibration_intercept")([1, 0, 1], [0.0, 1.0, 0.5]))


@pytest.mark.parametrize(
    ("y", "prob"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]),  # a cut at 0.25 separates them
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4]),
        ([0, 0, 1, 1], [0.1, 0.2, 0.2, 0.4]),  # all but a tie at the border
        ([0, 1, 0, 1], [0.3] * 4),  # nothing to tell a slope from
    ],
)
def test_a_slope_without_a_finite_fit_is_undefined(y, prob):
    assert math.isnan(METRICS.get("calibration_slope")(y, prob))


def test_temperature_scaling_multiplies_the_slope():
    rng = np.random.default_rng(0)
    y, prob = rng.integers(0, 2, 300), rng.random(300)
    scaled = 1 / (1 + np.exp(-logits_of(prob) / 2.5))
    slope = METRICS.get("calibration_slope")
    assert slope(y, scaled) == pytest.approx(2.5 * slope(y, prob), abs=1e-8)


# Uncertainty ------------------------------------------------------------------------------------------------------


def test_entropy_is_scipys():
    p = np.array([0.0, 0.1, 0.5, 1.0])
    expected = np.mean([stats.entropy([x, 1 - x]) for x in p])
    assert METRICS.get("entropy")([0, 1, 0, 1], p) == pytest.approx(expected, abs=1e-12)


def all_orders(loss: np.ndarray, confidence: np.ndarray) -> float:
    """Mean area over every order of the films that keeps the more confident first."""
    found = []
    for order in permutations(range(len(loss))):
        ranked = confidence[list(order)]
        if (np.diff(ranked) <= 0).all():
            found.append(np.mean(np.cumsum(loss[list(order)]) / np.arange(1, len(loss) + 1)))
    return float(np.mean(found))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=6))
def test_the_area_under_risk_coverage_by_all_orders(films):
    loss, confidence = np.array(films, dtype=float).T
    found = area(loss, confidence, np.ones((1, len(loss)), dtype=np.uint8))[0]
    assert found == pytest.approx(all_orders(loss, confidence), abs=1e-12)


def test_aurc_by_hand():
    # most confident first: .95 right, .1 right, .7 wrong, .45 right → risks 0, 0, 1/3, 1/4
    assert METRICS.get("aurc")([1, 0, 0, 0], [0.95, 0.1, 0.7, 0.45]) == pytest.approx((1 / 3 + 1 / 4) / 4)
