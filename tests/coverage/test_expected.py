"""Expected counts against iterative proportional fitting; shrinkage against closed forms and numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from cars.coverage.expected import (
    STARTS,
    Prior,
    conditional_independence,
    expected_films,
    fit_prior,
    log_likelihood,
    mask_of,
    no_interaction,
    shrink,
)


def at_least(cells: np.ndarray) -> np.ndarray:
    """Exact cells (2^k,) → how many carry at least the items of s."""
    size = len(cells)
    return np.array([sum(cells[u] for u in range(size) if u & s == s) for s in range(size)], dtype=float)


def fitted_by_ipf(cells: np.ndarray, rounds: int = 300) -> float:
    """The full cell of the model without k-way interaction, by fitting each (k-1)-way margin in turn."""
    k = len(cells).bit_length() - 1
    table, fitted = cells.reshape((2,) * k), np.ones((2,) * k)
    for _ in range(rounds):
        for axis in range(k):
            margin, now = table.sum(axis, keepdims=True), fitted.sum(axis, keepdims=True)
            fitted = fitted * np.divide(margin, now, out=np.zeros_like(now), where=now > 0)
    return float(fitted[(1,) * k])


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_no_interaction_is_what_proportional_fitting_gives(k, seed):
    cells = np.random.default_rng(seed).integers(1, 60, 2**k).astype(float)
    assert no_interaction(at_least(cells)[None])[0] == pytest.approx(fitted_by_ipf(cells), rel=1e-4)


def test_two_items_are_independence_and_the_observed_cell_is_not_used():
    counts = np.array([[1000.0, 200.0, 150.0, 0.0], [1000.0, 200.0, 150.0, 99.0]])
    assert no_interaction(counts) == pytest.approx([30.0, 30.0])


def test_three_items_use_the_pairs_and_not_only_independence():
    # a and b always go together: of 100 films with c, 50 carry a, so 50 carry all three; independence says 25
    cells = np.zeros(8)
    cells[0b000], cells[0b011], cells[0b100], cells[0b111] = 450, 450, 50, 50
    assert no_interaction(at_least(cells)[None])[0] == pytest.approx(50, abs=1e-6)


def test_an_expectation_forced_to_zero_is_zero():
    # no film carries both a and b, so none can carry a, b and c
    cells = np.array([50.0, 20, 30, 0, 40, 10, 5, 0])
    assert no_interaction(at_least(cells)[None])[0] == pytest.approx(0, abs=1e-6)


def test_expected_films_handles_patterns_of_any_size():
    items = tuple(range(8))
    counts = {mask: 4096 >> mask.bit_count() for mask in range(1 << 8)}  # eight independent fair items
    patterns = [(3,), (0, 1), (1, 4, 6), items]
    result = expected_films(patterns, counts)
    assert np.isnan(result[0])
    assert result[1:] == pytest.approx([1024, 512, 16], rel=1e-6)
    assert conditional_independence(counts, items) == pytest.approx(16)
    assert mask_of((0, 3)) == 9


def test_one_gamma_has_the_closed_form_of_its_posterior():
    """With both parts alike the posterior is Gamma(alpha + N, beta + E)."""
    prior = Prior(2.0, 1.5, 2.0, 1.5, 0.4)
    n, e = np.array([0.0, 3.0, 20.0]), np.array([4.0, 2.5, 10.0])
    result = shrink(prior, n, e)
    posterior = stats.gamma(2.0 + n, scale=1 / (1.5 + e))
    assert result.low == pytest.approx(posterior.ppf(0.05), rel=1e-6)
    assert result.high == pytest.approx(posterior.ppf(0.95), rel=1e-6)


@pytest.mark.parametrize(("n", "e"), [(0, 3.0), (4, 11.0), (15, 6.2), (200, 180.0)])
def test_mixture_agrees_with_numerical_integration(n, e):
    """EBGM, EB05 and EB95 under DuMouchel's starting prior, from prior × Poisson likelihood integrated numerically."""
    prior = STARTS[0]

    # on a grid of ln λ, where the density is smooth; its lower tail is long, for alpha1 is 0.2
    grid = np.linspace(-150, np.log(60), 400_001)
    x = np.exp(grid)
    first = prior.share * stats.gamma.pdf(x, prior.alpha1, scale=1 / prior.beta1)
    second = (1 - prior.share) * stats.gamma.pdf(x, prior.alpha2, scale=1 / prior.beta2)
    values = (first + second) * stats.poisson.pmf(n, x * e) * x
    mass = integrate.cumulative_simpson(values, x=grid, initial=0)
    mean_log = integrate.simpson(grid * values, x=grid) / mass[-1]
    low, high = (np.exp(np.interp(q, mass / mass[-1], grid)) for q in (0.05, 0.95))
    result = shrink(prior, np.array([n]), np.array([e]))
    assert result.ratio[0] == pytest.approx(np.exp(mean_log), rel=1e-3)
    assert result.low[0] == pytest.approx(low, rel=1e-3)
    assert result.high[0] == pytest.approx(high, rel=1e-3)


def test_marginal_is_the_negative_binomial():
    prior = Prior(1.7, 0.6, 30.0, 28.0, 0.3)
    n, e = np.array([0, 2, 9]), np.array([1.0, 5.0, 8.0])
    parts = [
        share * stats.nbinom.pmf(n, a, b / (b + e))
        for share, a, b in ((0.3, prior.alpha1, prior.beta1), (0.7, prior.alpha2, prior.beta2))
    ]
    assert log_likelihood(prior, n.astype(float), e) == pytest.approx(np.log(sum(parts)).sum())


def test_the_fitted_prior_is_no_less_likely_than_the_one_that_made_the_data():
    random = np.random.default_rng(5)
    truth = Prior(1.0, 2.5, 40.0, 40.0, 0.25)
    e = random.uniform(2, 80, 2000)
    tight = random.random(2000) >= truth.share
    ratio = np.where(tight, random.gamma(40.0, 1 / 40.0, 2000), random.gamma(1.0, 1 / 2.5, 2000))
    n = random.poisson(ratio * e).astype(float)
    fitted = fit_prior(n, e)
    assert log_likelihood(fitted, n, e) >= log_likelihood(truth, n, e) - 1e-6
    high = shrink(fitted, n, e).high
    # the deficits that were planted are found, and the pile at 1 is not called rare
    assert (high[~tight & (ratio < 0.3) & (e > 20)] < 1).mean() > 0.95
    assert (high[tight] < 1).mean() < 0.1


#: The vignette "Empirical Bayes Metrics with openEBGM" (2023-09-14) of the R package openEBGM 0.9.1 (Canida & Ihrie,
#: "openEBGM: An R Implementation of the Gamma-Poisson Shrinker Data Mining Model", The R Journal 9/2, 2017), on its
#: data set caers: the estimated prior (alpha1, beta1, alpha2, beta2, P); by cell N, E, QUANT_05, EBGM, QUANT_95.
OPENEBGM_PRIOR = Prior(3.25379356, 0.39988854, 2.02612692, 1.90807970, 0.06534557)
OPENEBGM = {
    "1-Phenylalanine, heart rate increased": (1, 0.0360548272, 0.49, 2.23, 13.85),
    "11 Unspecified vitamins, asthma": (1, 0.0038736591, 0.52, 2.58, 15.78),
    "11 Unspecified vitamins, cardiac function test": (1, 0.0002979738, 0.52, 2.63, 16.02),
    "11 Unspecified vitamins, dyspnoea": (1, 0.0765792610, 0.47, 1.92, 11.77),
    "11 Unspecified vitamins, hypersensitivity": (1, 0.0527413588, 0.48, 2.09, 12.95),
    "Reumofan Plus, weight increased": (16, 0.40643623, 15.68, 23.26, 33.48),
    "Hydroxycut Regular, emotional distress": (19, 0.89690107, 11.65, 16.78, 23.55),
    "Reumofan Plus, immobile": (6, 0.07866508, 10.16, 18.28, 30.83),
    "Hydroxycut Hardcore, cardio-respiratory distress": (8, 0.30482718, 9.00, 15.25, 24.52),
    "Hydroxycut Regular, injury": (11, 0.56317044, 8.98, 14.28, 21.78),
}


@pytest.mark.parametrize("cell", OPENEBGM)
def test_published_scores_of_openebgm(cell):
    """EBGM to both printed digits. Its quantiles come from a bisection that stops at a half-width of 0.005 and are then
    rounded, so ours, which are exact, may differ from them by 0.01 and not more."""
    n, e, low, ratio, high = OPENEBGM[cell]
    result = shrink(OPENEBGM_PRIOR, np.array([n]), np.array([e]))
    assert round(float(result.ratio[0]), 2) == ratio
    assert result.low[0] == pytest.approx(low, abs=0.01)
    assert result.high[0] == pytest.approx(high, abs=0.01)


def test_published_mixture_fractions_of_openebgm():
    """The same vignette's Qn, the chance that a cell's λ came from the prior's first part, to seven digits: P and the
    derivative of the log likelihood by the logit of P make it up."""
    published = [0.2819737, 0.3409653, 0.3482317, 0.2819737, 0.2226356, 0.2556670]
    cells = [0.0360548272, 0.0038736591, 0.0002979738, 0.0360548272, 0.0765792610, 0.0527413588]
    share = OPENEBGM_PRIOR.share
    step = 1e-5
    for e, expected in zip(cells, published, strict=True):
        up, down = (
            log_likelihood(
                OPENEBGM_PRIOR._replace(share=1 / (1 + (1 / share - 1) * np.exp(-s))), np.ones(1), np.array([e])
            )
            for s in (step, -step)
        )
        assert (up - down) / (2 * step) + share == pytest.approx(expected, abs=2e-7)


def test_published_fit_without_three_way_interaction():
    """Alcohol, cigarette and marijuana use of 2,276 students (Agresti, Categorical Data Analysis, 2nd edition 2002,
    tables 8.3 and 8.4): the model of all pairs (AC, AM, CM) fits 910.4 who use all three and 279.6 who use none."""
    alcohol, cigarettes, marijuana = 1, 2, 4
    seen = {0: 279, marijuana: 2, cigarettes: 43, cigarettes | marijuana: 3, alcohol: 456, alcohol | marijuana: 44,
            alcohol | cigarettes: 538, 7: 911}  # fmt: skip
    cells = np.array([seen[s] for s in range(8)], dtype=float)
    assert no_interaction(at_least(cells)[None])[0] == pytest.approx(910.4, abs=0.05)
    none = np.array([seen[7 - s] for s in range(8)], dtype=float)  # the items are now the three non-uses
    assert no_interaction(at_least(none)[None])[0] == pytest.approx(279.6, abs=0.05)


def test_shrinkage_pulls_few_cases_further_than_many():
    prior = Prior(5.0, 5.0, 5.0, 5.0, 0.5)
    few, many = shrink(prior, np.array([0.0, 0.0]), np.array([2.0, 200.0])).ratio
    assert many < 0.05 < few < 1
