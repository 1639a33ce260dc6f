"""Curves of the result figures against cases worked by hand and scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from cars import schema
from cars.errors import SettingError
from cars.evaluate import curves
from cars.evaluate.calibration import sigmoid

from .conftest import make_workspace
from .test_report import add_run, noisy, truth_of

LESION = schema.FINDINGS.index("Lung Lesion")


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    workspace = make_workspace(tmp_path_factory.mktemp("curves") / "ws", patients=150, edits=0)
    truth = truth_of(workspace)
    add_run(
        workspace, "r",
        {("b", "real", 0): noisy(truth, 1, 0), ("b", "real+cars", 0): noisy(truth, 2, 1),
         ("b", "real+cars", 1): noisy(truth, 2, 2)},
    )  # fmt: skip
    return curves.open_run(workspace, None)


def test_precision_at_each_recall_by_hand():
    # from the top: + − + (two that tie: + −); recalls 1/3, 2/3, 1 at precisions 1, 2/3, 3/5
    y = np.array([1, 0, 1, 1, 0.0])
    p = np.array([0.9, 0.8, 0.7, 0.4, 0.4])
    found = curves._precision_at(y, p, np.ones((1, 5)))[0]
    at = dict(zip(np.round(np.linspace(0, 1, curves.POINTS), 2), found))
    assert (at[0.0], at[0.33], at[0.34], at[0.66], at[0.67], at[1.0]) == pytest.approx((1, 1, 2 / 3, 2 / 3, 0.6, 0.6))


def test_a_resample_without_a_positive_has_no_precision():
    found = curves._precision_at(np.array([1.0, 0]), np.array([0.3, 0.6]), np.array([[0.0, 2], [1, 1]]))
    assert np.isnan(found[0]).all()
    assert found[1] == pytest.approx(0.5)


def test_the_curve_is_scikit_learns(view):
    table = curves.precision_recall(view, "b", "real", "Pneumothorax", resamples=40)
    c = schema.FINDINGS.index("Pneumothorax")
    y, p = view.test.y[:, c], view.probabilities("b", "real", False)[0][:, c]
    precision, recall, _ = precision_recall_curve(y, p)
    for row in table.iloc[1::10].itertuples():
        # scikit-learn goes from the lowest threshold up, so the last with enough recall is the highest threshold
        assert row.precision == pytest.approx(precision[:-1][recall[:-1] >= row.recall - 1e-9][-1])
    assert table["precision"].mean() == pytest.approx(average_precision_score(y, p), abs=0.02)
    assert (table["low"] <= table["high"]).all()
    assert ((table["low"] <= table["precision"] + 0.1) & (table["precision"] - 0.1 <= table["high"])).all()
    one = table.iloc[0]
    assert (one["n"], one["positives"], one["seeds"]) == (60, y.sum(), 1)
    assert one["prevalence"] == pytest.approx(y.mean())


def test_seeds_are_averaged(view):
    table = curves.precision_recall(view, "b", "real+cars", "Lung Lesion", resamples=20)
    y, prob = view.test.y[:, LESION], view.probabilities("b", "real+cars", False)[:, :, LESION]
    each = [curves._precision_at(y, p, np.ones((1, len(y))))[0] for p in prob]
    assert table["precision"].to_numpy() == pytest.approx(np.mean(each, axis=0))
    assert table["seeds"].unique().tolist() == [2]


def test_a_finding_without_positives_has_an_undefined_curve_with_its_n(view):
    table = curves.precision_recall(view, "b", "real", "Fracture")
    assert len(table) == 1
    assert table["precision"].isna().all()
    assert (table["n"].iloc[0], table["positives"].iloc[0]) == (60, 0)
    with pytest.raises(SettingError, match="Flu"):
        curves.precision_recall(view, "b", "real", "Flu")
    with pytest.raises(SettingError, match="nobody"):
        curves.precision_recall(view, "nobody", "real", "Fracture")


def test_entropy_and_mutual_information_by_hand(view):
    cases = curves.uncertainty(view, "b", "real+cars", False, "Lung Lesion")
    prob = view.probabilities("b", "real+cars", False)[:, :, LESION]
    p, q = prob[0][0], prob[1][0]

    def entropy(x):
        return -x * np.log(x) - (1 - x) * np.log(1 - x)

    mean = (p + q) / 2
    assert cases["entropy"][0] == pytest.approx(entropy(mean))
    assert cases["mutual"][0] == pytest.approx(entropy(mean) - (entropy(p) + entropy(q)) / 2)
    assert cases["wrong"][0] == ((mean >= 0.5) != (view.test.y[0, LESION] == 1))
    alone = curves.uncertainty(view, "b", "real", False, "Lung Lesion")
    assert alone["mutual"].isna().all(), "one seed has nothing to disagree with"
    assert alone["entropy"].notna().all()


def made(entropy, wrong, subjects=None):
    n = len(entropy)
    return pd.DataFrame(
        {"subject_id": subjects or [str(i) for i in range(n)], "entropy": entropy, "mutual": np.nan, "wrong": wrong,
         "members": 1}
    )  # fmt: skip


def test_risk_and_coverage_by_hand():
    # certain to uncertain: right, right, (wrong and right tie), wrong
    cases = made([0.1, 0.2, 0.3, 0.3, 0.6], [False, False, True, False, True])
    table = curves.risk_coverage(cases, resamples=30)
    at = table.set_index(table["coverage"].round(2))["risk"]
    # half of the tie is 0.5 errors of 3 cases
    assert (at[0.4], at[0.6], at[0.8], at[1.0]) == pytest.approx((0, 0.5 / 3, 1 / 4, 2 / 5))
    assert (table["wrong"].iloc[0], table["n"].iloc[0], table["patients"].iloc[0]) == (2, 5, 5)
    undefined = curves.risk_coverage(cases, "mutual information")
    assert len(undefined) == 1
    assert undefined["risk"].isna().all()
    with pytest.raises(SettingError, match="luck"):
        curves.risk_coverage(cases, "luck")


def test_the_interval_takes_a_patients_films_together():
    wrong = [True, True, False, False] * 10
    many = made([0.3] * 40, wrong)
    few = made([0.3] * 40, wrong, [str(n // 2) for n in range(40)])

    def width(cases):
        last = curves.risk_coverage(cases, resamples=400).iloc[-1]
        return last["high"] - last["low"]

    assert width(few) > 1.2 * width(many)


def test_a_histogram_by_hand():
    cases = made([0.01, 0.01, 0.69, 0.69, 0.69], [False, False, True, True, False])
    table = curves.uncertainty_histogram(cases, "entropy", resamples=50)
    right, wrong = (table[table["answer"] == a] for a in ("right", "wrong"))
    assert len(right) == len(wrong) == curves.BINS
    assert right["share"].iloc[[0, -1]].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert wrong["share"].iloc[-1] == 1
    assert (right["n"].iloc[0], wrong["n"].iloc[0]) == (3, 2)
    assert right["cases"].sum() == 3
    assert (table["low"] <= table["high"]).all()


def test_a_histogram_of_nothing_is_undefined_and_says_n():
    cases = made([0.1, 0.2], [False, False])
    table = curves.uncertainty_histogram(cases, "entropy", resamples=10)
    wrong = table[table["answer"] == "wrong"]
    assert wrong["share"].isna().all()
    assert wrong["n"].tolist() == [0]
    none = curves.uncertainty_histogram(cases, "mutual information", resamples=10)
    assert none["share"].isna().all()
    assert none.set_index("answer")["n"].to_dict() == {"right": 2, "wrong": 0}


def test_calibrated_probabilities_are_the_scaled_ones(tmp_path):
    workspace = make_workspace(tmp_path / "ws", patients=20, edits=0)
    logits = np.full((8, 14), 2.0)
    add_run(workspace, "r", {("b", "real", 0): sigmoid(logits)}, temperature=2.0)
    view = curves.open_run(workspace, None)
    assert view.probabilities("b", "real", True) == pytest.approx(sigmoid(np.ones((1, 8, 14))))
    assert view.probabilities("b", "real", False) == pytest.approx(sigmoid(logits[None]))
