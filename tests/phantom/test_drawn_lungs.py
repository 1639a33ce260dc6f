"""Phantom films bent to drawn lungs: what is read off a mask, and that the bent film's lungs have the shape."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from cars import phantom
from cars.phantom.drawn_lungs import SIDE, archive, bend, drawn_shapes, inside_shape, landmarks, lungs_of, whole_lungs
from cars.segmenters import dice


def spec_of(seed: int) -> phantom.FilmSpec:
    rng = np.random.default_rng(seed)
    return phantom.sample_film(rng, phantom.sample_anatomy(rng, "F", 50), "PA")


def test_landmarks_of_a_rectangle_by_hand() -> None:
    lung = np.zeros((100, 100), bool)
    lung[20:80, 10:40] = True
    points = landmarks(lung, True) * 100
    assert points[0] == pytest.approx((20.5, 25.0))  # the apex: the middle of the first row
    assert points[1:10, 1] == pytest.approx(10.5)  # the lateral edge, downwards
    assert (np.diff(points[1:10, 0]) > 0).all()
    assert points[10:19, 1] == pytest.approx(39.5)  # the medial edge
    assert points[19:, 0] == pytest.approx(79.5)  # the diaphragm, from the costophrenic angle inwards
    assert (np.diff(points[19:, 1]) > 0).all()
    # the left lung is its mirror image
    mirrored = landmarks(lung[:, ::-1], False) * 100
    assert mirrored[:, 0] == pytest.approx(points[:, 0])
    assert mirrored[:, 1] == pytest.approx(100 - points[:, 1])


def test_a_drawn_mask_becomes_a_right_and_a_left_lung() -> None:
    mask = np.zeros((400, 500), np.uint8)
    mask[100:300, 80:200], mask[100:300, 280:420] = 255, 255
    mask[150:170, 100:120] = 127  # "ignore": a device over the lung
    lungs = lungs_of(mask)
    assert lungs is not None
    rows, columns = np.nonzero(lungs[0])
    scale, pad = SIDE / 500, 50 * SIDE / 500  # padded to 500 × 500
    assert rows.min() == pytest.approx(100 * scale + pad, abs=1.5)
    assert columns.min() == pytest.approx(80 * scale, abs=1.5)
    assert np.nonzero(lungs[1])[1].min() == pytest.approx(280 * scale, abs=1.5)
    assert lungs[0].mean() == pytest.approx(200 * 120 / 500**2, abs=0.005)  # no hole where the device is


@pytest.mark.parametrize("what", ["empty", "one lung", "cut", "specks"])
def test_masks_without_two_whole_lungs_are_left_out(what: str) -> None:
    mask = np.zeros((300, 300), np.uint8)
    if what != "empty":
        mask[80:220, 40:120] = 255
    if what == "cut":
        mask[80:300, 180:260] = 255
    if what == "specks":
        mask[100:120, 180:200] = 255
    assert lungs_of(mask) is None


def test_a_bent_films_lungs_have_the_drawn_shape_and_its_heart_moves_along() -> None:
    source, other = spec_of(1), spec_of(2)
    a, b = whole_lungs(other)
    shape = np.stack([landmarks(a, True), landmarks(b, False)]) * 0.85 + (0.03, 0.08)  # smaller, and elsewhere
    film = phantom.render(source, 128, masks=False)
    assert bend(film.image, film.masks, source, shape) is not None
    lungs = whole_lungs(source)
    moved = bend(np.zeros((SIDE, SIDE), np.uint8), lungs, source, shape)
    assert moved is not None
    wanted = inside_shape(shape, SIDE)
    for side in (0, 1):
        assert dice(moved[1][side], wanted[side]) > 0.95 > dice(lungs[side], wanted[side])
    # film and masks are bent alike: the lungs stay the dark part
    image, masks = bend(film.image, film.masks, source, shape)  # type: ignore[misc]
    inside = masks[0] | masks[1]
    assert image[inside].mean() < image[masks[2]].mean() - 60
    assert not (masks[:2].any(axis=0) & masks[2]).any()


def test_a_shape_that_strains_the_film_is_refused() -> None:
    spec = spec_of(1)
    a, b = whole_lungs(spec)
    shape = np.stack([landmarks(a, True), landmarks(b, False)])
    shape[0, :, 1] = shape[0, :, 1] * 0.15 + 0.2  # a right lung squeezed to a stripe
    film = phantom.render(spec, 128, masks=False)
    assert bend(film.image, film.masks, spec, shape) is None


def test_training_and_test_shapes_are_different_films_and_look_like_lungs() -> None:
    if find_spec("torchxrayvision") is None:
        pytest.skip("torchxrayvision, which carries the drawn masks, is not installed")
    assert archive().is_file()
    held = drawn_shapes(held=True)
    assert held.shape[1:] == (2, 26, 2)
    assert len(held) > 50
    assert (held[:, 0, :, 1].mean(axis=1) < held[:, 1, :, 1].mean(axis=1)).all()  # the right lung is on the left
    assert ((held > 0) & (held < 1)).all()
