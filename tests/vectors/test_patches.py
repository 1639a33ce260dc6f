"""Searching a piece of a film among films: against a loop over all places, and copies that must show."""

from __future__ import annotations

import numpy as np
import pytest

from cars.errors import DataError
from cars.vectors import Patches

S = 20


def textures(n: int, seed: int = 0, size: int = S) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size)).astype(np.uint8)


def disc(y: float, x: float, r: float, size: int = S) -> np.ndarray:
    down, right = np.mgrid[:size, :size]
    return (down - y) ** 2 + (right - x) ** 2 <= r * r


def by_loop(search: Patches, film: np.ndarray, where: np.ndarray, rows: list[int]) -> tuple[float, int, tuple]:
    """The best Pearson correlation over all films and places, pixel by pixel."""
    piece = search.high_passed(film)[where]
    y, x = np.nonzero(where)
    best = (-2.0, -1, (0, 0))
    for row in rows:
        for down in range(-S, S):
            for right in range(-S, S):
                if y.min() + down < 0 or y.max() + down >= S or x.min() + right < 0 or x.max() + right >= S:
                    continue
                r = float(np.corrcoef(piece, search.films[row][y + down, x + right])[0, 1])
                if r > best[0]:
                    best = (r, row, (down, right))
    return best


@pytest.mark.parametrize("sigma", [0.0, 2.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_equal_to_a_loop_over_all_places(seed, sigma, monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules["cars.vectors.patches"], "BLOCK", 2)
    films = textures(5, seed)
    search = Patches(films, np.array(list("abacd")), sigma)
    film, where = textures(1, 100 + seed)[0], disc(6, 12, 3.5)
    found = search.nearest(film, where, "a")
    wanted = by_loop(search, film, where, [1, 3, 4])
    assert found[0] == pytest.approx(wanted[0], abs=1e-4)
    assert found[1:] == wanted[1:]


def test_a_planted_copy_shows_whatever_its_place_and_exposure():
    films = textures(30, 3)
    search = Patches(films, np.arange(30).astype(str))
    edited, where = textures(1, 9)[0], disc(9, 9, 5)
    before = search.nearest(edited, where)[0]
    # the piece of film 17 that lies two down and three left of it, darker and flatter
    moved = np.roll(films[17], (-2, 3), axis=(0, 1))
    edited[where] = np.rint(20 + 0.6 * moved[where]).astype(np.uint8)
    value, row, offset = search.nearest(edited, where)
    assert (row, offset) == (17, (2, -3))
    assert value > 0.9 > before + 0.2


def test_the_patients_own_films_are_not_looked_at():
    films = textures(4, 4)
    search = Patches(films, np.array(["p", "q", "p", "r"]))
    where = disc(10, 10, 4)
    assert search.nearest(films[2], where)[:2] == (pytest.approx(1, abs=1e-4), 2)
    value, row, _ = search.nearest(films[2], where, "p")
    assert row in (1, 3)
    assert value < 0.9
    value, row, offset = Patches(films[:1], np.array(["p"])).nearest(films[0], where, "p")
    assert np.isnan(value)
    assert (row, offset) == (-1, (0, 0))


def test_reach_bounds_the_offset():
    films = textures(1, 5)
    where = disc(10, 10, 4)
    moved = np.roll(films[0], (4, 0), axis=(0, 1))
    assert Patches(films, np.array(["p"]), 0.0).nearest(moved, where)[2] == (-4, 0)
    value, _, (down, right) = Patches(films, np.array(["p"]), 0.0, reach=2).nearest(moved, where)
    assert max(abs(down), abs(right)) <= 2
    assert value < 0.9


def test_flat_pieces_and_flat_films_match_nothing():
    films = textures(2, 6)
    films[0, :, :10] = 128
    search = Patches(films, np.array(["p", "q"]), 0.0)
    blank = np.full((S, S), 77, np.uint8)
    blank[0, 0] = 255
    assert np.isnan(search.nearest(blank, disc(10, 10, 4))[0])
    # the flat half of film 0 has no correlation with anything, so it must not divide by nothing
    assert search.nearest(films[1], disc(10, 10, 4))[:2] == (pytest.approx(1, abs=1e-4), 1)


def test_what_does_not_fit_is_refused():
    search = Patches(textures(2), np.array(["p", "q"]))
    for film, where in ((textures(1)[0], disc(5, 5, 1)), (textures(1, size=8)[0], disc(4, 4, 3, 8))):
        with pytest.raises(DataError, match="cannot be searched"):
            search.nearest(film, where)
    with pytest.raises(DataError, match="do not fit"):
        Patches(textures(2), np.array(["p"]))
