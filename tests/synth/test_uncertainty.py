"""Semantic uncertainty: worked examples, and its bounds on drawn probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from cars.schema import FINDINGS
from cars.synth.uncertainty import binary_entropy, decompose, uncertainty_rows


def test_worked_example():
    # H(1/4) = 1/4 · 2 + 3/4 · log2(4/3) = 0.8113 bits
    assert binary_entropy(np.array([0.0, 0.25, 0.5, 1.0])) == pytest.approx([0, 0.811278, 1, 0])
    # two witnesses who are sure of opposite answers: all doubt is disagreement
    assert decompose(np.array([[0.0, 1.0]])) == pytest.approx((1.0, 1.0, 2))
    # two who both do not know: none is
    assert decompose(np.array([[0.5], [0.5]])) == pytest.approx((1.0, 0.0, 2))
    # 0 and 1/2: mean 1/4, total H(1/4), expected entropy 1/2
    assert decompose(np.array([0.0, 0.5])) == pytest.approx((0.811278, 0.311278, 2))


def test_what_nobody_judges_is_undefined_and_not_certain():
    total, mutual, n = decompose(np.array([[np.nan, np.nan]]))
    assert math.isnan(total)
    assert math.isnan(mutual)
    assert n == 0
    assert decompose(np.array([[0.5, np.nan]])) == pytest.approx((1.0, 0.0, 1))
    assert math.isnan(binary_entropy(np.array([np.nan]))[0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_agrees_with_scipy_and_keeps_its_bounds(values):
    p = np.array(values)
    total, mutual, n = decompose(p)
    reference = entropy([p.mean(), 1 - p.mean()], base=2)
    assert total == pytest.approx(reference, abs=1e-9)
    assert mutual == pytest.approx(reference - np.mean([entropy([q, 1 - q], base=2) for q in p]), abs=1e-9)
    assert 0 <= mutual <= total + 1e-12 <= 1 + 1e-9
    assert n == len(values)
    assert decompose(p[::-1])[:2] == pytest.approx((total, mutual), abs=1e-12)


class FixedJudge:
    """Says the film's mean / 255 for every finding but the ones that it does not know."""

    size = 16

    def __init__(self, shift: float = 0.0, unknown: str = ""):
        self.shift, self.unknown = shift, unknown

    def probabilities(self, images):
        p = np.repeat(images.mean((1, 2))[:, None] / 255 + self.shift, 14, axis=1)
        if self.unknown:
            p[:, FINDINGS.index(self.unknown)] = np.nan
        return p


def test_rows_count_tries_and_judges():
    films = [np.full((20, 20), v, np.uint8) for v in (0, 51, 204)]
    judges = [FixedJudge(), FixedJudge(0.2, unknown="Edema")]
    pneumonia, edema = uncertainty_rows(films, {"Pneumonia": "insert", "Edema": "delete"}, judges)
    p = np.array([[0, 0.2], [0.2, 0.4], [0.8, 1.0]])
    assert (pneumonia["finding"], pneumonia["k"], pneumonia["m"], pneumonia["n"]) == ("Pneumonia", 3, 2, 6)
    assert (pneumonia["total"], pneumonia["mutual"]) == pytest.approx(decompose(p)[:2])
    assert (edema["finding"], edema["k"], edema["m"], edema["n"]) == ("Edema", 3, 1, 3)
    assert (edema["total"], edema["mutual"]) == pytest.approx(decompose(p[:, 0])[:2])
