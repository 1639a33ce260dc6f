"""A film is its spec's alone, and a finding changes it where its mask says and nowhere else."""

import json

import numpy as np
import pytest

from cars.errors import SettingError
from cars.phantom import (
    DRAWABLE,
    Anatomy,
    Drawn,
    FilmSpec,
    draw_finding,
    render,
    sample_anatomy,
    sample_film,
    with_finding,
    without_finding,
)
from cars.schema import HIERARCHY


def film_spec(seed: int, view: str = "PA", sex: str = "M", age: int = 50) -> FilmSpec:
    rng = np.random.default_rng(seed)
    return sample_film(rng, sample_anatomy(rng, sex, age), view)


def ratio(film) -> float:
    """Cardiothoracic ratio from the masks."""
    lungs = np.flatnonzero((film.masks[0] | film.masks[1]).any(axis=0))
    heart = np.flatnonzero(film.masks[2].any(axis=0))
    return (heart[-1] - heart[0] + 1) / (lungs[-1] - lungs[0] + 1)


@pytest.mark.parametrize("view", ["PA", "AP", "LATERAL"])
def test_equal_specs_give_equal_films(view):
    spec = film_spec(1, view)
    spec = with_finding(spec, draw_finding(np.random.default_rng(2), "Edema", spec.anatomy))
    first = render(spec, 128)
    for seed in range(10, 18):  # push the first film out of the cache
        render(film_spec(seed), 64, masks=False)
    again = render(FilmSpec.from_json(json.dumps(spec.to_json())), 128)
    assert first.image.dtype == np.uint8
    assert first.image.shape == (128, 128)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.masks, again.masks)


@pytest.mark.parametrize("finding", DRAWABLE)
@pytest.mark.parametrize("view", ["PA", "AP", "LATERAL"])
def test_a_finding_changes_the_film_inside_its_mask_only(finding, view):
    spec = film_spec(3, view, "F", 66)
    ill = with_finding(spec, draw_finding(np.random.default_rng(4), finding, spec.anatomy, severity=0.6))
    film, healthy = render(ill, 128), render(without_finding(ill, finding), 128)
    mask = film.finding_masks[finding]
    change = np.abs(film.image.astype(int) - healthy.image)
    assert not change[~mask].any()
    assert mask.any()
    assert mask.mean() < 0.6
    assert change[mask].mean() > 1.5, "the finding cannot be seen"
    assert change.max() >= 12


def test_one_finding_of_several_leaves_the_others_alone():
    spec = film_spec(5)
    rng = np.random.default_rng(6)
    for finding in ("Pleural Effusion", "Cardiomegaly", "Support Devices"):
        spec = with_finding(spec, draw_finding(rng, finding, spec.anatomy))
    film = render(spec, 128)
    other = render(without_finding(spec, "Support Devices"), 128)
    np.testing.assert_array_equal(
        film.image[~film.finding_masks["Support Devices"]], other.image[~film.finding_masks["Support Devices"]]
    )
    assert set(film.finding_masks) == {"Pleural Effusion", "Cardiomegaly", "Support Devices"}


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_the_heart_is_below_half_the_thorax_until_enlarged(view):
    for seed in range(12):
        spec = film_spec(seed, view, "FM"[seed % 2], 25 + 5 * seed)
        assert 0.33 < ratio(render(spec, 128, masks=False)) < 0.5
        large = with_finding(
            spec, draw_finding(np.random.default_rng(seed), "Cardiomegaly", spec.anatomy, severity=0.0)
        )
        assert ratio(render(large, 128, masks=False)) > 0.5


def test_organ_masks_lie_where_the_organs_are():
    film = render(film_spec(8), 128)
    left, right, heart = film.masks
    columns = np.arange(128)
    assert (left.any(axis=0) * columns).sum() / left.any(
        axis=0
    ).sum() > 64  # the patient's left is on the image's right
    assert (right.any(axis=0) * columns).sum() / right.any(axis=0).sum() < 64
    assert not (left & right).any()
    assert not ((left | right) & heart).any()
    assert 0.06 < left.mean() < 0.25
    assert 0.06 < right.mean() < 0.25
    assert 0.03 < heart.mean() < 0.2
    assert film.image[left].mean() < film.image[heart].mean() - 40  # lung is dark, heart bright


@pytest.mark.parametrize("finding", [f for f in DRAWABLE if f != "Support Devices"])
def test_severity_grows_the_change(finding):
    spec = film_spec(9)
    healthy = render(spec, 96).image.astype(int)
    total = []
    for severity in (0.1, 0.95):
        drawn = draw_finding(np.random.default_rng(10), finding, spec.anatomy, severity)
        total.append(np.abs(render(with_finding(spec, drawn), 96, masks=False).image - healthy).sum())
    assert total[1] > total[0] > 0


def test_findings_follow_the_hierarchy():
    spec = film_spec(11)
    assert spec.findings == {"No Finding"}
    rng = np.random.default_rng(12)
    assert with_finding(spec, draw_finding(rng, "Support Devices", spec.anatomy)).findings == {
        "No Finding",
        "Support Devices",
    }
    for parent, children in HIERARCHY.items():
        for child in children:
            ill = with_finding(spec, draw_finding(rng, child, spec.anatomy))
            assert ill.findings == {child, parent}
            assert without_finding(ill, parent) == spec


def test_every_size_shows_the_same_anatomy():
    spec = film_spec(13)
    small = render(spec, 64, masks=False).image.astype(float)
    large = render(spec, 256, masks=False).image.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.98


def test_records_survive_json():
    spec = film_spec(14)
    drawn = draw_finding(np.random.default_rng(1), "Fracture", spec.anatomy)
    assert Anatomy.from_json(json.dumps(spec.anatomy.to_json())) == spec.anatomy
    assert Drawn.from_json(json.loads(json.dumps(drawn.to_json()))) == drawn
    assert FilmSpec.from_json(json.loads(json.dumps(with_finding(spec, drawn).to_json()))) == with_finding(spec, drawn)


def test_wrong_words_are_refused():
    spec = film_spec(15)
    with pytest.raises(SettingError, match="No Finding"):
        draw_finding(np.random.default_rng(0), "No Finding", spec.anatomy)
    with pytest.raises(SettingError, match="LATERAL"):
        sample_film(np.random.default_rng(0), spec.anatomy, "OBLIQUE")
    with pytest.raises(SettingError, match="'X'"):
        sample_anatomy(np.random.default_rng(0), "X", 50)
    with pytest.raises(SettingError, match="32"):
        render(spec, 16)


def test_nothing_of_a_nodule_lies_far_from_it():
    for seed in range(12):
        spec = film_spec(seed)
        drawn = draw_finding(np.random.default_rng(seed), "Lung Lesion", spec.anatomy, severity=0.9)
        mask = render(with_finding(spec, drawn), 256).finding_masks["Lung Lesion"]
        rows, columns = np.nonzero(mask)
        # 1.7 radii to either side, spicules up to 1.9, and what softening and the mask's margin add
        reach = 3.9 * max(1.0, drawn.aspect) * drawn.extent / 2 / (spec.field_cm / 256) + 10
        assert max(np.ptp(rows), np.ptp(columns)) <= reach
