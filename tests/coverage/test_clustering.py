"""Expected patients and studies on made-up data where every attribute is independent of every other."""

from __future__ import annotations

import numpy as np
import pytest

from cars.coverage.clustering import calibration, concentration_of, expected_units, none_of, units_hit
from cars.coverage.expected import fit_prior, mask_of, shrink
from cars.coverage.mups import find_mups, make_bags, pack
from cars.coverage.rows import PatternCounter


def independent_films(seed: int, patients: int, spread: float):
    """sex and age by patient, findings by study with a rate of the patient's own, view by film; all independent.

    spread: 0 for the same rate in all patients; the larger, the more a patient's studies agree.
    Returns (member (films, 16) bool, attribute of each item, patient, study).
    """
    random = np.random.default_rng(seed)
    study_of = np.repeat(np.arange(patients), 1 + random.poisson(2.0, patients))
    films = 1 + (random.random(len(study_of)) < 0.5) + (random.random(len(study_of)) < 0.2)
    study = np.repeat(np.arange(len(study_of)), films)
    patient = study_of[study]
    sex = random.integers(0, 2, patients)[patient]
    age = random.choice(5, patients, p=[0.05, 0.2, 0.3, 0.3, 0.15])[patient]
    view = random.choice(3, len(study), p=[0.5, 0.3, 0.2])
    columns, attribute = [np.eye(2)[sex], np.eye(5)[age], np.eye(3)[view]], [0] * 2 + [1] * 5 + [2] * 3
    for k, p in enumerate([0.02, 0.05, 0.1, 0.1, 0.2, 0.3]):
        rate = random.beta(p / spread, (1 - p) / spread, patients) if spread else np.full(patients, p)
        columns.append((random.random(len(study_of)) < rate[study_of])[study][:, None])
        attribute.append(3 + k)
    return np.concatenate(columns, axis=1).astype(bool), np.array(attribute), patient, study


@pytest.mark.parametrize("unit", ["patient", "study", "film"])
@pytest.mark.parametrize("spread", [0.0, 0.3, 1.5])
def test_independent_data_is_as_expected(spread, unit):
    member, attribute, patient, study = independent_films(1, 2500, spread)
    bags = make_bags(pack(member), {"patient": patient, "study": study, "film": None}[unit], member.shape[1])
    search = find_mups(bags, attribute, 20, 3)
    counter = PatternCounter(member, patient, study)
    counted = {m: n for level in search.frequent for m, n in level.items()}
    counted |= {mask_of(m): n for m, n in zip(search.mups, search.counts, strict=True)}
    for size in (2, 3):
        cells = [tuple(i for i in range(16) if m >> i & 1) for m in counted if m.bit_count() == size]
        n = np.array([counted[mask_of(c)] for c in cells], dtype=float)
        e = expected_units(cells, counter, unit, counted)
        assert n.sum() / e.sum() == pytest.approx(1, abs=0.03)
        high = shrink(fit_prior(n, e), n, e).high
        # nothing here is rarer than expected; among the rare patterns hardly any may be called so
        assert (high < 1)[n < 20].sum() <= 1
        assert (high < 1).mean() < 0.15


def test_none_of_knows_both_ends_and_the_chance_between():
    draws = np.array([0, 1, 3])
    assert none_of(draws, 0.2, 1e8) == pytest.approx([1, 0.8, 0.8**3], rel=1e-5)  # independent draws
    assert none_of(draws, 0.2, 1e-8) == pytest.approx([1, 0.8, 0.8], rel=1e-5)  # all draws of a unit alike
    # concentration 1, mean 1/2: Beta(1/2, 1/2); two draws miss with probability (1/2)(3/2) / (1 · 2)
    assert none_of(np.array([2]), 0.5, 1.0) == pytest.approx([0.375])


def test_the_concentration_gives_back_the_units_it_was_fitted_to():
    histogram = np.array([0, 300, 200, 100, 50])
    for units in (140, 170, 200):  # between 130, all films of a unit alike, and 210, independent films
        c = concentration_of(histogram, 0.2, units)
        assert units_hit(histogram, 0.2, c) == pytest.approx(units, rel=1e-3)


def test_calibration_meets_the_actual_films_per_unit():
    assert calibration(np.array([1.5, 2.0]), np.array([2.0, 3.0])) == pytest.approx(0.5)
    assert calibration(np.array([1.0]), np.array([1.0])) == 1.0
