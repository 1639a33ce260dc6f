"""Clean-up, confidence, Dice and the cardiothoracic ratio, on masks drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cars.segmenters import TRUSTED, Masks, ctr, dice, pa_ctr
from cars.segmenters._shape import certainty, largest, plausibility, resize, solidity, to_masks


def chest(size: int = 100) -> np.ndarray:
    """Probabilities (3, size, size) of two lungs and a heart, all certain."""
    p = np.zeros((3, size, size), dtype=np.float32)
    p[0, 20:75, 58:85] = 1  # the patient's left lung, on the image's right
    p[1, 20:75, 15:42] = 1
    p[2, 50:78, 40:64] = 1
    return p


FULL = np.ones(3)


def test_dice_by_hand() -> None:
    a, b = np.zeros((4, 4), dtype=bool), np.zeros((4, 4), dtype=bool)
    a[0, :3], b[0, 1:] = True, True
    assert dice(a, b) == pytest.approx(2 * 2 / 6)
    assert dice(a, a) == 1
    assert dice(a, ~a) == 0
    assert dice(a & b & ~a, b & ~b) == 1  # both empty


def test_ctr_by_hand() -> None:
    # heart 24 columns wide, thorax from column 15 to 84: 70
    assert ctr(chest() > 0.5) == pytest.approx(24 / 70)
    without = chest() > 0.5
    without[2] = False
    assert np.isnan(ctr(without))


def test_ctr_is_of_the_widest_extents_whatever_their_height() -> None:
    masks = chest() > 0.5
    # a heart that leans: its rightmost and its leftmost point lie at different heights
    masks[2] = False
    masks[2, 50:60, 38:52] = masks[2, 60:78, 48:66] = True
    masks[0, 70:75, 85:88] = True  # a costophrenic angle that reaches further out
    assert ctr(masks) == pytest.approx((66 - 38) / (88 - 15))


@pytest.mark.parametrize("view", ["AP", "lateral", "other", "unknown"])
def test_the_ratio_is_given_on_pa_films_only(view: str) -> None:
    masks = chest() > 0.5
    assert pa_ctr(masks, "PA") == (pytest.approx(24 / 70), "")
    ratio, reason = pa_ctr(masks, view)
    assert ratio is None
    assert view in reason
    assert pa_ctr(masks, "PA", TRUSTED - 0.01)[0] is None
    assert "not trusted" in pa_ctr(masks, "PA", TRUSTED - 0.01)[1]
    masks[2] = False
    assert pa_ctr(masks, "PA") == (None, "a lung or the heart has no outline")


def test_untrusted_masks_say_why() -> None:
    empty = np.zeros((2, 3, 4, 4), dtype=bool)
    masks = Masks(empty, np.array([0.9, 0.2], dtype=np.float32), ("", "a reason"))
    assert masks.why_not(0) == ""
    assert masks.why_not(1) == "the outlines are not trusted (confidence 0.20): a reason"
    assert Masks(empty, masks.confidence).why_not(1) == "the outlines are not trusted (confidence 0.20)"


def test_largest_keeps_one_component_and_fills_holes() -> None:
    mask = np.zeros((30, 30), dtype=bool)
    mask[2:12, 2:12] = True
    mask[5, 5] = False
    mask[20:23, 20:23] = True
    kept, share = largest(mask)
    assert kept[5, 5]
    assert not kept[20:, 20:].any()
    assert share == pytest.approx(99 / 108)
    assert largest(np.zeros((4, 4), dtype=bool))[1] == 0


def test_solidity_of_a_square_and_an_l() -> None:
    square, corner = np.zeros((20, 20), dtype=bool), np.zeros((20, 20), dtype=bool)
    square[5:15, 5:15] = True
    corner[0:20, 0:4] = corner[16:20, 0:20] = True
    assert solidity(square) == pytest.approx(1.0)
    assert solidity(corner) < 0.6


def test_a_chest_is_plausible() -> None:
    assert plausibility(chest() > 0.5, FULL) == pytest.approx(1.0)
    assert plausibility(chest() > 0.5, np.array([1.0, 0.5, 1.0])) == pytest.approx(0.5)


def test_mirrored_upside_down_tiny_and_missing_organs_are_not() -> None:
    masks = chest() > 0.5
    swapped = masks[[1, 0, 2]]
    assert plausibility(swapped, FULL) == 0
    assert plausibility(np.flip(masks, axis=2), FULL) == 0
    assert plausibility(np.flip(masks, axis=1), FULL) == 0
    tiny = masks.copy()
    tiny[0] = False
    tiny[0, 40:45, 60:65] = True
    assert plausibility(tiny, FULL) == 0
    missing = masks.copy()
    missing[2] = False
    assert plausibility(missing, FULL) == 0
    ragged = masks.copy()
    ragged[0, 5:8, 10:90] = ragged[0, 5:20, 70:72] = True  # a leak over the shoulders
    assert plausibility(ragged, FULL) < TRUSTED


def test_certainty_is_the_expected_dice() -> None:
    p = np.zeros((3, 10, 10), dtype=np.float32)
    p[:, :5] = 0.8
    # Σ p·m = 40, Σ p + Σ m = 40 + 50
    assert certainty(p) == pytest.approx(80 / 90)
    p[1, :5] = 1.0
    assert certainty(p) == pytest.approx(80 / 90)  # the least of the three
    assert certainty(np.zeros((3, 4, 4))) == 0


def test_masks_at_another_size() -> None:
    found = to_masks(chest()[None], 250, 250)
    assert found.masks.shape == (1, 3, 250, 250)
    assert found.confidence[0] == pytest.approx(1.0)
    assert found.trusted.tolist() == [True]
    for organ in range(3):
        enlarged = np.repeat(np.repeat(chest()[organ] > 0.5, 5, axis=0), 5, axis=1)[::2, ::2]
        assert dice(found.masks[0, organ], enlarged) > 0.97


def test_a_second_island_is_taken_away_and_costs_confidence() -> None:
    p = chest()
    p[0, 85:95, 5:25] = 1
    found = to_masks(p[None], 100, 100)
    assert not found.masks[0, 0, 80:].any()
    assert found.confidence[0] < 0.95


def test_trusted_is_the_threshold() -> None:
    masks = Masks(np.zeros((2, 3, 4, 4), dtype=bool), np.array([TRUSTED, TRUSTED - 0.01], dtype=np.float32))
    assert masks.trusted.tolist() == [True, False]


def test_resize_keeps_means_and_identity() -> None:
    field = np.arange(16, dtype=float).reshape(4, 4)
    assert resize(field, 4, 4) is field
    assert resize(np.full((4, 4), 0.3), 9, 7) == pytest.approx(0.3)
    assert resize(field, 8, 8).mean() == pytest.approx(field.mean())
