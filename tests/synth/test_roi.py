"""The regions of interest: inside the film and near the thorax, on the right side, and holding the finding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cars import phantom
from cars.errors import DataError, SettingError
from cars.synth.roi import DIRECTIONS, FOCAL, REGIONS, feather, grow, random_roi, roi_for


def chest(size: int = 64, seed: int = 0) -> np.ndarray:
    """The masks of a healthy phantom film, (3, size, size) bool."""
    rng = np.random.default_rng(seed)
    anatomy = phantom.sample_anatomy(rng, "F", 50)
    return phantom.render(phantom.sample_film(rng, anatomy, "PA"), size, masks=False).masks


MASKS = chest()


@pytest.mark.parametrize("finding", REGIONS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_region_is_never_empty_and_stays_near_the_thorax(finding: str, direction: str) -> None:
    near = grow(MASKS.any(axis=0), 0.16 * 64)
    near[:, :] |= ndimage.binary_fill_holes(near)
    if finding == "Support Devices":
        near[:32] = True  # tubes come from the neck
    for seed in range(12):
        region = roi_for(finding, direction, MASKS, np.random.default_rng(seed))
        assert region.shape == (64, 64)
        assert region.dtype == bool
        assert region.any()
        between = np.zeros_like(near)
        columns = np.flatnonzero(MASKS.any(axis=(0, 1)))
        between[:, columns[0] : columns[-1] + 1] = True
        assert not (region & ~near & ~between).any()
        assert region.mean() < 0.75


@given(seed=st.integers(0, 10_000), size=st.sampled_from([32, 64, 96, 150]))
@settings(max_examples=40, deadline=None)
def test_any_size_and_seed_gives_a_region(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    region = random_roi(chest(size, seed % 5), rng, whole=0.1)
    assert region.shape == (size, size)
    assert region.any()


@pytest.mark.parametrize("finding", ["Pleural Effusion", "Pneumothorax", "Lung Lesion", "Consolidation", "Fracture"])
def test_left_of_the_patient_is_right_on_the_image(finding: str) -> None:
    for side, other in (("left", 1), ("right", 0)):
        region = roi_for(finding, "insert", MASKS, np.random.default_rng(3), side=side)
        x = np.nonzero(region)[1].mean()
        assert (x > 32) == (side == "left")
        assert (region & MASKS[other]).sum() < 0.05 * region.sum()


def test_the_same_seed_gives_the_same_region() -> None:
    regions = [roi_for("Lung Lesion", "insert", MASKS, np.random.default_rng(7)) for _ in range(2)]
    assert np.array_equal(*regions)
    assert not np.array_equal(regions[0], roi_for("Lung Lesion", "insert", MASKS, np.random.default_rng(8)))


def test_effusion_reaches_the_costophrenic_angle_and_not_the_apex() -> None:
    region = roi_for("Pleural Effusion", "insert", MASKS, np.random.default_rng(0), side="left")
    rows, columns = np.nonzero(MASKS[0])
    angle = (rows[columns >= columns.max() - 2].max(), columns.max() - 1)
    assert region[angle]
    assert not region[: rows.min() + (np.ptp(rows) // 3)].any()
    # the meniscus: it begins higher at the chest wall than at the mediastinum
    top = [np.flatnonzero(region[:, c])[0] for c in np.flatnonzero(region.any(axis=0))]
    assert top[-3] < top[3]


def test_deletion_of_cardiomegaly_leaves_the_heart_a_core() -> None:
    region = roi_for("Cardiomegaly", "delete", MASKS, np.random.default_rng(0))
    heart = MASKS[2]
    edge = heart & ~ndimage.binary_erosion(heart)
    assert (region & edge).sum() >= 0.9 * edge.sum()
    centre = tuple(int(v) for v in ndimage.center_of_mass(heart))
    assert not region[centre]


@pytest.mark.parametrize("finding", ["Pleural Effusion", "Pneumothorax", "Edema", "Cardiomegaly", "Consolidation"])
def test_a_deletion_covers_what_the_finding_changed(finding: str) -> None:
    """On the phantom the true change is known; at least four fifths of it must lie in the region, film by film."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        anatomy = phantom.sample_anatomy(rng, "M", 60)
        healthy = phantom.sample_film(rng, anatomy, "AP")
        ill = phantom.with_finding(healthy, phantom.draw_finding(rng, finding, anatomy, severity=0.7))
        before, film = (phantom.render(spec, 64, masks=False) for spec in (healthy, ill))
        change = np.abs(film.image.astype(int) - before.image)
        region = roi_for(finding, "delete", film.masks, rng)
        assert change[region].sum() >= 0.8 * change.sum()


def test_a_deletion_reaches_above_the_highest_fluid() -> None:
    """A band of fluid that is left stays as a bright line under the region's soft edge."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        anatomy = phantom.sample_anatomy(rng, "F", 50)
        healthy = phantom.sample_film(rng, anatomy, "PA")
        ill = phantom.with_finding(healthy, phantom.draw_finding(rng, "Pleural Effusion", anatomy, severity=1.0))
        before, film = (phantom.render(spec, 64, masks=False) for spec in (healthy, ill))
        fluid = np.abs(film.image.astype(int) - before.image) > 20
        region = roi_for("Pleural Effusion", "delete", film.masks, rng)
        assert np.flatnonzero(region.any(axis=1))[0] < np.flatnonzero(fluid.any(axis=1))[0]


def test_saliency_narrows_a_deletion_to_its_side_and_place() -> None:
    y, x = (int(v) for v in ndimage.center_of_mass(MASKS[0]))
    saliency = np.zeros((64, 64), dtype=np.float32)
    saliency[y, x] = 1
    for finding in ("Pneumothorax", *FOCAL):
        wide = roi_for(finding, "delete", MASKS, np.random.default_rng(0))
        narrow = roi_for(finding, "delete", MASKS, np.random.default_rng(0), saliency=saliency)
        assert narrow.sum() < 0.75 * wide.sum()
        assert not (narrow & MASKS[1]).any()
    assert roi_for("Lung Lesion", "delete", MASKS, np.random.default_rng(0), saliency=saliency)[y, x]


def test_an_even_saliency_changes_nothing_about_the_sides() -> None:
    flat = np.ones((64, 64), dtype=np.float32)
    region = roi_for("Pleural Effusion", "delete", MASKS, np.random.default_rng(0), saliency=flat)
    assert np.array_equal(region, roi_for("Pleural Effusion", "delete", MASKS, np.random.default_rng(0)))


def test_protected_pixels_are_never_in_a_region() -> None:
    protect = np.zeros((64, 64), dtype=bool)
    protect[20:40] = True
    for finding in REGIONS:
        region = roi_for(finding, "delete", MASKS, np.random.default_rng(0), protect=protect)
        assert not (region & protect).any()
    with pytest.raises(DataError, match="protected pixels cover"):
        roi_for("Edema", "insert", MASKS, np.random.default_rng(0), protect=np.ones((64, 64), dtype=bool))


def test_wrong_words_and_empty_masks_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(SettingError, match="'No Finding'"):
        roi_for("No Finding", "insert", MASKS, rng)
    with pytest.raises(SettingError, match="'remove'"):
        roi_for("Edema", "remove", MASKS, rng)
    with pytest.raises(SettingError, match="'both'"):
        roi_for("Edema", "insert", MASKS, rng, side="both")
    without_heart = MASKS.copy()
    without_heart[2] = False
    with pytest.raises(DataError, match="heart is empty"):
        roi_for("Edema", "insert", without_heart, rng)
    with pytest.raises(DataError, match="saliency is"):
        roi_for("Edema", "delete", MASKS, rng, saliency=np.ones((8, 8)))


def test_random_regions_are_half_finding_aware_and_whole_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    regions = [random_roi(MASKS, rng, whole=0.2) for _ in range(200)]
    assert 0.12 < np.mean([r.all() for r in regions]) < 0.28
    assert random_roi(np.zeros((3, 64, 64), dtype=bool), rng).any()


@given(seed=st.integers(0, 10_000), width=st.floats(0, 12))
@settings(max_examples=40, deadline=None)
def test_feather_has_exactly_the_regions_support(seed: int, width: float) -> None:
    roi = random_roi(MASKS, np.random.default_rng(seed))
    weights = feather(roi, width)
    assert weights.dtype == np.float32
    assert np.array_equal(weights > 0, roi)
    assert weights.max() <= 1


def test_feather_rises_inwards_and_ignores_the_films_edge() -> None:
    roi = np.zeros((32, 32), dtype=bool)
    roi[:, :16] = True
    weights = feather(roi, 4)
    assert np.all(weights[:, :11] == 1)
    assert np.all(np.diff(weights[5, 8:17]) <= 0)
    assert weights[5, 15] < 0.2
    assert np.all(feather(np.ones((8, 8), dtype=bool), 4) == 1)
    assert not feather(np.zeros((8, 8), dtype=bool), 4).any()


@pytest.mark.parametrize("shape", [(40, 60), (61, 33)])
@pytest.mark.parametrize("width", [0.0, 3.0, 50.0])
def test_a_feather_is_the_same_as_over_the_whole_film(shape, width):
    """Against the distance transform of the whole film, for ROIs inside it, at its edges and in two parts."""
    rng = np.random.default_rng(3)
    for n in range(12):
        roi = np.zeros(shape, bool)
        for _ in range(1 + n % 3):
            top, left = rng.integers(0, shape[0] - 5), rng.integers(0, shape[1] - 5)
            roi[top : top + rng.integers(1, 30), left : left + rng.integers(1, 30)] = True
        ramp = np.clip(ndimage.distance_transform_edt(roi) / (width + 1), 0, 1)
        np.testing.assert_allclose(feather(roi, width), ramp * ramp * (3 - 2 * ramp), atol=1e-6)
