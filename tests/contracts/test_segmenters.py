"""What every registered segmenter promises. One whose weights are absent must say so, and is then left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cars import phantom
from cars.errors import DataError, MissingDependency, SettingError
from cars.segmenters import ORGANS, SEGMENTERS, TRUSTED, Masks, ctr


@pytest.fixture(scope="module")
def films() -> np.ndarray:
    """Four phantom films, uint8 (4, 160, 160)."""
    rng = np.random.default_rng(5)
    films = []
    for k in range(4):
        spec = phantom.sample_film(rng, phantom.sample_anatomy(rng, "FM"[k % 2], 40 + 10 * k), "PA")
        films.append(phantom.render(spec, 160, masks=False).image)
    return np.stack(films)


@pytest.fixture(params=SEGMENTERS.names())
def segmenter(request: pytest.FixtureRequest) -> Any:
    try:
        loaded = SEGMENTERS.get(request.param)().load("cpu")
    except MissingDependency as error:
        if request.param == "cars":  # its weights ship with the project: their absence is a failure
            raise
        pytest.skip(f"{request.param}: {error.message} {error.hint}")
    if getattr(loaded, "by_id", False):
        pytest.skip(f"{request.param} looks films up by their ids and cannot know these; its own tests show it")
    return loaded


def test_masks_have_the_inputs_size_and_a_confidence(segmenter: Any, films: np.ndarray) -> None:
    found = segmenter.masks(films)
    assert isinstance(found, Masks)
    assert found.masks.shape == (4, len(ORGANS), 160, 160)
    assert found.masks.dtype == bool
    assert found.confidence.shape == (4,)
    assert found.confidence.dtype == np.float32
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    assert segmenter.masks(films[:0]).masks.shape == (0, 3, 160, 160)


def test_left_lung_is_on_the_images_right(segmenter: Any, films: np.ndarray) -> None:
    found = segmenter.masks(films)
    for masks in found.masks:
        left, right = (np.nonzero(masks[k])[1].mean() for k in (0, 1))
        assert left > right + 30
        assert not (masks[0] & masks[1]).any()
        assert 0.3 < ctr(masks) < 0.75


def test_a_film_does_not_depend_on_its_batch(segmenter: Any, films: np.ndarray) -> None:
    together, alone = segmenter.masks(films), segmenter.masks(films[2:3])
    assert np.mean(together.masks[2] != alone.masks[0]) < 1e-3
    assert together.confidence[2] == pytest.approx(alone.confidence[0], abs=1e-3)


def test_noise_and_blank_films_are_not_trusted(segmenter: Any) -> None:
    rng = np.random.default_rng(0)
    strange = np.stack([rng.integers(0, 256, (128, 128)), np.zeros((128, 128)), np.full((128, 128), 255)])
    assert (segmenter.masks(strange.astype(np.uint8)).confidence < TRUSTED).all()


def test_wrong_input_is_refused(segmenter: Any, films: np.ndarray) -> None:
    with pytest.raises(DataError, match="float32"):
        segmenter.masks(films.astype(np.float32))
    with pytest.raises(DataError, match=r"\(160, 160\)"):
        segmenter.masks(films[0])


def test_a_wrong_name_lists_the_right_ones() -> None:
    with pytest.raises(SettingError, match="cars"):
        SEGMENTERS.get("carz")
