"""Precision, recall, density and coverage against their definition, written out, and against the package `prdc`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cars.errors import DataError
from cars.vectors import expected_coverage, prdc, relate

MODULE = "cars.vectors.prdc"


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """Naeem et al. 2020, equations 3 to 6, from all distances."""

    def pairs(a, b):
        return np.sqrt(((a[:, None].astype(np.float64) - b[None]) ** 2).sum(axis=2))

    def radii(a):
        return np.sort(pairs(a, a), axis=1)[:, k]

    across, real_radii, fake_radii = pairs(real, fake), radii(real), radii(fake)
    inside = across < real_radii[:, None]
    return {
        "precision": inside.any(axis=0).mean(), "recall": (across < fake_radii[None]).any(axis=1).mean(),
        "density": inside.sum() / (k * len(fake)), "coverage": inside.any(axis=1).mean(),
    }  # fmt: skip


@pytest.fixture
def small_blocks(monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules[MODULE], "QUERY_BLOCK", 13)
    monkeypatch.setattr(sys.modules[MODULE], "REFERENCE_BLOCK", 17)


def sets(seed: int, n: int = 120, m: int = 90, dim: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)).astype(np.float32), (rng.normal(size=(m, dim)) * 1.2 + 0.3).astype(np.float32)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 8), n=st.integers(9, 70), m=st.integers(9, 70))
@settings(max_examples=60, deadline=None)
def test_equal_to_the_definition(seed, k, n, m):
    real, fake = sets(seed, n, m)
    found, wanted = prdc(real, fake, k), by_definition(real, fake, k)
    assert found == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_the_package(small_blocks, seed):
    package = pytest.importorskip("prdc", reason="the package prdc is in requirements-dev.txt")
    real, fake = sets(seed, 300, 170, 16)
    assert prdc(real, fake, 5) == pytest.approx(package.compute_prdc(real, fake, 5), abs=1e-6)


def test_blocks_change_nothing(small_blocks):
    real, fake = sets(3)
    assert prdc(real, fake, 5) == pytest.approx(by_definition(real, fake, 5), abs=1e-9)


def test_worked_by_hand():
    # on a line, k = 1: the reals 0, 1, 3 reach 1, 1, 2; the fakes 0.5, 10, 10.5 reach 9.5, 0.5, 0.5
    real, fake = np.array([[0.0], [1], [3]], np.float32), np.array([[0.5], [10], [10.5]], np.float32)
    assert prdc(real, fake, 1) == pytest.approx(
        {"precision": 1 / 3, "recall": 1.0, "density": 2 / 3, "coverage": 2 / 3}
    )
    found = relate(real, fake, np.array([1.0, 1.0, 2.5]))
    np.testing.assert_array_equal(found.nearest, [0, 2, 2])
    np.testing.assert_array_equal(found.distance, [0.5, 7, 7.5])
    np.testing.assert_array_equal(found.within, [3, 0, 0])
    np.testing.assert_array_equal(found.inside, [2, 0, 0])  # on the ball of 3, not inside it
    assert found.held is None


def test_copies_are_on_a_ball_of_radius_zero(small_blocks):
    """Far from the origin, where products of float32 would put equal vectors apart."""
    same = np.full((40, 64), 3.7, np.float32)
    found = relate(same, same[:20], np.zeros(40))
    np.testing.assert_array_equal(found.distance, 0)
    np.testing.assert_array_equal(found.nearest, 0)
    np.testing.assert_array_equal(found.within, 40)
    np.testing.assert_array_equal(found.inside, 0)


def test_a_patients_films_are_no_neighbours():
    real, fake = sets(5, 60, 60)
    doubled = np.repeat(real, 3, axis=0)
    patients = np.repeat(np.arange(60), 3)
    assert prdc(doubled, fake, 2)["precision"] == 0, "every radius is 0: a film's nearest two are its copies"
    found, single = prdc(doubled, fake, 3, patients), prdc(real, fake, 1)
    assert found["precision"] == single["precision"]
    assert found["coverage"] == single["coverage"]


def test_what_to_expect_of_one_distribution():
    assert expected_coverage(10**6, 10**6, 5) == pytest.approx(1 - 2**-5, abs=1e-5)
    rng = np.random.default_rng(0)
    found = [prdc(*(rng.normal(size=(n, 4)).astype(np.float32) for n in (200, 80)), 3) for _ in range(40)]
    assert np.mean([f["coverage"] for f in found]) == pytest.approx(expected_coverage(200, 80, 3), abs=0.02)
    assert np.mean([f["density"] for f in found]) == pytest.approx(1, abs=0.03)


def test_what_cannot_be_compared_is_an_error():
    real, fake = sets(1)
    with pytest.raises(DataError, match="cannot be compared"):
        relate(real, fake[:, :3], np.ones(len(real)))
    with pytest.raises(DataError, match="cannot be compared"):
        relate(real[:0], fake, np.ones(0))
    with pytest.raises(DataError, match="fewer than 5"):
        prdc(real, fake[:5], 5)
