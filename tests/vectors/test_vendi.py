"""The Vendi score against its n × n form, and against sets whose score is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cars.errors import DataError
from cars.vectors import spectrum, vendi, vendi_of


def n_by_n(vectors: np.ndarray) -> float:
    """Friedman and Dieng 2022, definition 3.1: exp of the von Neumann entropy of K / n."""
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(unit @ unit.T / len(unit))
    kept = eigenvalues[eigenvalues > 1e-15]
    return float(np.exp(-(kept * np.log(kept)).sum()))


@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), dim=st.integers(1, 40), half=st.booleans())
@settings(max_examples=80, deadline=None)
def test_equal_to_the_n_by_n_form(seed, n, dim, half):
    vectors = np.random.default_rng(seed).normal(size=(n, dim)) + 0.1
    vectors = vectors.astype(np.float16 if half else np.float32)
    vectors[(vectors == 0).all(axis=1)] = 1
    assert vendi_of(vectors) == pytest.approx(n_by_n(vectors), abs=1e-8)


def test_blocks_change_nothing(monkeypatch):
    import sys

    vectors = np.random.default_rng(0).normal(size=(500, 7))
    whole = spectrum(vectors)
    monkeypatch.setattr(sys.modules["cars.vectors.vendi"], "BLOCK", 64)
    np.testing.assert_allclose(spectrum(vectors), whole, atol=1e-12)
    assert whole.sum() == pytest.approx(1)


@pytest.mark.parametrize("q", [0.5, 1, 2, float("inf")])
def test_sets_whose_score_is_known(q):
    assert vendi_of(np.ones((9, 4)), q) == pytest.approx(1), "nine equal vectors are one"
    assert vendi_of(np.repeat(np.eye(5), 3, axis=0), q) == pytest.approx(5), "five directions, three times each"
    assert vendi_of(10 * np.eye(3), q) == pytest.approx(3), "length does not matter"


def test_orders_by_hand():
    # three of one direction and one of another: eigenvalues 3/4 and 1/4
    eigenvalues = spectrum(np.array([[1, 0], [1, 0], [1, 0], [0, 1]]))
    np.testing.assert_allclose(eigenvalues, [0.25, 0.75])
    assert vendi(eigenvalues, 1) == pytest.approx((4 / 3) ** 0.75 * 4**0.25)
    assert vendi(eigenvalues, 2) == pytest.approx(1 / (9 / 16 + 1 / 16))
    assert vendi(eigenvalues, float("inf")) == pytest.approx(4 / 3)


def test_no_vector_has_no_score_and_zeros_no_direction():
    assert np.isnan(vendi_of(np.empty((0, 4))))
    with pytest.raises(DataError, match="no direction"):
        vendi_of(np.array([[1.0, 0], [0, 0]]))
