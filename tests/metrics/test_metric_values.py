"""Ranking and proper scores against cases worked by hand and scikit-learn, on made-up cases with many ties."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from cars.errors import DataError
from cars.metrics import METRICS
from cars.metrics.auprc import auprc
from cars.metrics.auroc import auroc
from cars.metrics.brier import brier
from cars.metrics.ece import bin_of, ece
from cars.metrics.nll import nll


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels with both classes, probabilities with many ties, and whole-number weights as a bootstrap draws them."""
    n = draw(st.integers(2, 40))
    y = np.array([0, 1, *draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))])
    levels = draw(st.sampled_from([2, 5, 1000]))
    prob = np.array(draw(st.lists(st.integers(0, levels), min_size=n, max_size=n))) / levels
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=float)
    return y, prob, weights


def repeated(y: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same films written out as often as their weight says."""
    times = weights.astype(int)
    return np.repeat(y, times), np.repeat(prob, times)


# By hand ---------------------------------------------------------------------------------------------------------


def test_auprc_by_hand():
    # ranked: 1, 0, 1, 0 → precision 1/1 at recall 1/2, then 2/3 at recall 1
    assert auprc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_auprc_lets_ties_enter_together():
    # all alike: one point, precision = prevalence, whatever the order of the rows
    assert auprc([1, 0, 0, 0], [0.5] * 4) == pytest.approx(0.25)
    assert auprc([0, 0, 0, 1], [0.5] * 4) == pytest.approx(0.25)


def test_auroc_by_hand():
    # pairs: (.9 > .8), (.9 > .1), (.8 = .8 half), (.8 > .1) → 3.5 of 4
    assert auroc([1, 1, 0, 0], [0.9, 0.8, 0.8, 0.1]) == pytest.approx(3.5 / 4)


def test_ece_by_hand():
    # bin [0.2, 0.267): two films at 0.25, none has it → |0 − 0.25|; bin [0.867, 0.933): one at 0.9 that has it
    assert ece([0, 0, 1], [0.25, 0.25, 0.9]) == pytest.approx((2 * 0.25 + 1 * 0.1) / 3)


def test_ece_bins_are_closed_below_and_the_last_one_holds_1():
    assert bin_of(np.array([0.0, 1 / 15, 0.999, 1.0])).tolist() == [0, 1, 14, 14]


def test_brier_and_nll_by_hand():
    assert brier([1, 0], [0.8, 0.4]) == pytest.approx((0.04 + 0.16) / 2)
    assert nll([1, 0], [0.8, 0.4]) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)


# Against the reference library -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(cases())
def test_rank_metrics_equal_scikit_learn(case):
    y, prob, _ = case
    assert auprc(y, prob) == pytest.approx(reference.average_precision_score(y, prob), abs=1e-9)
    assert auroc(y, prob) == pytest.approx(reference.roc_auc_score(y, prob), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(cases())
def test_proper_scores_equal_scikit_learn(case):
    y, prob, _ = case
    assert brier(y, prob) == pytest.approx(reference.brier_score_loss(y, prob), abs=1e-9)
    assert nll(y, prob) == pytest.approx(reference.log_loss(y, prob, labels=[0, 1]), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(cases())
def test_ece_equals_a_sum_over_numpy_histograms(case):
    y, prob, _ = case
    positives, expected = (np.histogram(prob, bins=15, range=(0, 1), weights=w)[0] for w in (y, prob))
    assert ece(y, prob) == pytest.approx(np.abs(positives - expected).sum() / len(y), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from(METRICS.names()))
def test_a_weight_counts_a_film_that_often(case, name):
    y, prob, weights = case
    metric = METRICS.get(name)
    many_y, many_prob = repeated(y, prob, weights)
    once = metric(many_y, many_prob)
    for form in (weights, weights.astype(np.uint8)):
        np.testing.assert_allclose(metric(y, prob, np.stack([form, form])), [once, once], atol=1e-8)


@settings(max_examples=50, deadline=None)
@given(cases())
def test_weighted_rank_metrics_equal_scikit_learn(case):
    y, prob, weights = case
    if not (weights[y == 1].any() and weights[y == 0].any()):
        return
    rows = weights[None]
    assert auprc(y, prob, rows)[0] == pytest.approx(
        reference.average_precision_score(y, prob, sample_weight=weights), abs=1e-9
    )
    assert auroc(y, prob, rows)[0] == pytest.approx(reference.roc_auc_score(y, prob, sample_weight=weights), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_sensitivity_at_90_is_on_scikit_learns_roc_curve(case):
    y, prob, weights = case
    if not (weights[y == 1].any() and weights[y == 0].any()):
        return
    fpr, tpr, _ = reference.roc_curve(y, prob, sample_weight=weights, drop_intermediate=False)
    # the top of a step that stands at 0.1, else straight between the points on either side
    at = np.flatnonzero(fpr <= 0.1 + 1e-9)[-1]
    after = min(at + 1, len(fpr) - 1)
    share = max(0.0, 0.1 - fpr[at]) / (fpr[after] - fpr[at]) if after > at else 0.0
    expected = tpr[at] + share * (tpr[after] - tpr[at])
    assert METRICS.get("sensitivity_at_90")(y, prob, weights[None])[0] == pytest.approx(expected, abs=1e-7)


def test_sensitivity_at_90_by_hand():
    # ten negatives, so a false positive rate of 0.1 is one of them: .95 is hit before it and .6 after, at the same rate
    y = [1, 0, 1, 1] + [0] * 9
    prob = [0.95, 0.7, 0.6, 0.05] + [0.1] * 9
    assert METRICS.get("sensitivity_at_90")(y, prob) == pytest.approx(2 / 3)
    # five negatives: the curve goes from (0, 1/2) to (1/5, 1/2) to (1/5, 1): halfway along the flat piece
    assert METRICS.get("sensitivity_at_90")([1, 0, 1, 0, 0, 0, 0], [0.9, 0.8, 0.7, 0, 0, 0, 0]) == pytest.approx(0.5)
    # one run of ties holds both classes: straight up the diagonal of it
    assert METRICS.get("sensitivity_at_90")([1, 0], [0.5, 0.5]) == pytest.approx(0.1)


def test_sensitivity_and_specificity_by_hand():
    y, prob = [1, 1, 1, 0, 0], [0.9, 0.5, 0.2, 0.5, 0.1]
    assert METRICS.get("sensitivity")(y, prob, threshold=0.5) == pytest.approx(2 / 3), "on the threshold is positive"
    assert METRICS.get("specificity")(y, prob, threshold=0.5) == pytest.approx(1 / 2)
    assert METRICS.get("sensitivity")(y, prob, threshold=0.95) == 0.0
    assert math.isnan(METRICS.get("sensitivity")(y, prob, threshold=float("nan")))
    assert math.isnan(METRICS.get("sensitivity")([0, 0], [0.1, 0.9]))
    assert math.isnan(METRICS.get("specificity")([1, 1], [0.1, 0.9]))


# What is undefined -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["auprc", "auroc", "sensitivity_at_90", "calibration_slope", "calibration_intercept"])
@pytest.mark.parametrize("y", [[0, 0, 0], [1, 1, 1], []])
def test_one_class_alone_is_undefined_not_zero(name, y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # and it says so by NaN, not by a warning
        assert math.isnan(METRICS.get(name)(y, [0.2, 0.5, 0.7][: len(y)]))


def test_only_the_resample_without_a_positive_is_undefined():
    values = auroc([1, 0, 0], [0.9, 0.5, 0.95], np.array([[1, 1, 1], [0, 2, 1], [3, 0, 0]]))
    assert values[0] == pytest.approx(0.5)
    assert np.isnan(values[1:]).all()


@pytest.mark.parametrize(
    ("y", "prob", "says"),
    [
        ([0, -1], [0.5, 0.5], "-1"),
        ([0, 1], [0.5, 1.5], "1.5"),
        ([0, 1], [0.5, float("nan")], "nan"),
        ([0, 1], [0.5], r"\(2,\)"),
    ],
)
def test_wrong_input_is_quoted(y, prob, says):
    with pytest.raises(DataError, match=says):
        auprc(y, prob)
