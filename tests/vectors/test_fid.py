"""FID and KID: cases worked by hand, the formula by another way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cars.errors import DataError
from cars.vectors import drawn, frechet, kernel_distance


def sets(seed: int, n: int = 40, m: int = 30, dim: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)), rng.normal(size=(m, dim)) * 1.3 + 0.4


def by_the_formula(x: np.ndarray, y: np.ndarray) -> float:
    """Heusel et al. 2017, equation 6, with a root of the matrix product."""
    from scipy import linalg

    c, d = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.real(linalg.sqrtm(np.atleast_2d(c @ d)))
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c + d - 2 * root))


def by_all_pairs(x: np.ndarray, y: np.ndarray) -> float:
    """Bińkowski et al. 2018, the unbiased estimate, as three sums over pairs."""

    def k(a, b):
        return (sum(p * q for p, q in zip(a, b)) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    own = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    other = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return own + other - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_one_dimension_by_hand():
    # means 1 and 5, variances 2 and 8: 16 + (√2 − √8)² = 16 + 2
    assert frechet(np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]])) == pytest.approx(18)


def test_two_axes_by_hand():
    # covariances diag(2, 0) and diag(0, 2) share nothing: the means agree, so 2 + 2
    x, y = np.array([[-1.0, 0], [1, 0]]), np.array([[0.0, -1], [0, 1]])
    assert frechet(x, y) == pytest.approx(4)


@pytest.mark.parametrize(("n", "m"), [(40, 30), (4, 30), (40, 3), (3, 4)])
def test_frechet_is_the_formula(n, m):
    # fewer vectors than numbers takes another path than more
    x, y = sets(n + m, n, m)
    assert frechet(x, y) == pytest.approx(by_the_formula(x, y), rel=1e-5, abs=1e-5)


@given(seed=st.integers(0, 1000), n=st.integers(2, 12), m=st.integers(2, 12), shift=st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_frechet_moves_with_the_mean_alone(seed, n, m, shift):
    x, y = sets(seed, n, m)
    assert frechet(x, x + shift) == pytest.approx(5 * shift**2, abs=1e-6)
    assert frechet(x, y) == pytest.approx(frechet(y, x), rel=1e-6, abs=1e-8)
    assert frechet(x, y) >= 0


def test_frechet_by_blocks(monkeypatch):
    import sys

    x, y = sets(3, 100, 90)
    whole = frechet(x, y)
    monkeypatch.setattr(sys.modules["cars.vectors.fid"], "BLOCK", 7)
    assert frechet(x, y) == pytest.approx(whole, rel=1e-9)


def test_frechet_of_few_vectors_is_far_above_zero():
    """What the documentation warns of: one distribution, and the fewer vectors the larger."""
    rng = np.random.default_rng(0)
    values = [frechet(rng.normal(size=(n, 20)), rng.normal(size=(n, 20))) for n in (10, 40, 640)]
    assert values[0] > values[1] > values[2]
    assert values[0] > 10
    assert values[2] < 1


@given(seed=st.integers(0, 1000), n=st.integers(2, 7), m=st.integers(2, 7))
@settings(max_examples=25, deadline=None)
def test_kernel_distance_is_the_sum_over_pairs(seed, n, m):
    x, y = sets(seed, n, m, 3)
    assert kernel_distance(x, y) == pytest.approx(by_all_pairs(x.tolist(), y.tolist()), rel=1e-9, abs=1e-9)


def test_kernel_distance_is_unbiased():
    rng = np.random.default_rng(0)
    values = [kernel_distance(rng.normal(size=(8, 4)), rng.normal(size=(6, 4))) for _ in range(2000)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(2000)
    assert np.mean(np.array(values) < 0) > 0.2


def test_drawn_over_whole_sets_is_the_distance_itself():
    x, y = sets(1, 12, 12)
    found = drawn(x, y, kernel_distance, 12, draws=3)
    assert (found.value, found.low, found.high) == pytest.approx([kernel_distance(x, y)] * 3)
    assert (found.size, found.draws) == (12, 3)


def test_drawn_quantiles_hold_the_distance():
    """Half of each set at a time: the interval holds the true distance in about 95 of 100 repeats."""
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(60, 1)), rng.normal(size=(60, 1)) + 1
        found = drawn(x, y, lambda a, b: float(b.mean() - a.mean()), 30, draws=100, seed=seed)
        assert found.low < found.value < found.high
        held += found.low <= 1 <= found.high
    assert 51 <= held <= 60


def test_drawn_takes_no_vector_twice_and_repeats():
    x = np.arange(10.0)[:, None]

    def distinct(a, b):
        return float(min(len(np.unique(a)), len(np.unique(b))))

    assert drawn(x, x, distinct, 5, draws=20).low == 5
    sizes = {drawn(x, x, lambda a, b: float(a.sum() - b.sum()), 5, draws=4, seed=s).value for s in (1, 1, 2)}
    assert len(sizes) == 2


def test_what_cannot_be_compared_is_refused():
    x, y = sets(0)
    for distance in (frechet, kernel_distance):
        with pytest.raises(DataError, match="no distance"):
            distance(x, y[:, :4])
        with pytest.raises(DataError, match="no distance"):
            distance(x[:1], y)
    for size in (1, 31):
        with pytest.raises(DataError, match=f"Subsets of {size}"):
            drawn(x, y, frechet, size)
