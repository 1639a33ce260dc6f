"""How many would one expect? Lower-order margins, and shrinkage of the ratio of what is there to what was expected.

Expected counts. For a pattern of k items, films fall into 2^k cells (each item carried or not). The expectation is the
full cell of the log-linear model that reproduces every margin of fewer than k items and has no k-way interaction
(Bishop, Fienberg & Holland, "Discrete Multivariate Analysis", 1975). Tables with those margins form a line: cell s is
base_s ± x, where x is the full cell, so the fitted x is the root of one increasing function and no iterative
proportional fitting is needed (a test compares the two). For k = 2 this is independence, n_a·n_b / n; for k = 3 it
uses all three pair margins. A pattern of one item has no lower margin but the total, hence no expectation.

Patients and studies. A patient has several films, and must match with one of them, so patients are no partition into
cells and the model is fitted to films. Its result is divided by the films per matching patient, extrapolated from the
more general patterns by the same rule (no k-way interaction in its logarithm) and kept between 1 and the smallest
parent's. This is an approximation; `tests/coverage/test_expected.py` shows it unbiased to a few per cent on clustered
independent data.

Shrinkage. N given E is Poisson(λE); λ has a prior of two gammas fitted by maximum likelihood over all patterns of a
level that the search counted (DuMouchel, "Bayesian Data Mining in Large Frequency Tables", The American Statistician
1999). EBGM = exp E[ln λ | N], EB05 and EB95 are the posterior's 5% and 95% points. EB95 < 1: rarer than expected.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: Patterns of more items use a product of three margins instead of the 2^k cells.
LARGEST_TABLE = 6
#: Fewer patterns than this say too little about a prior of five numbers; the levels are then pooled.
FEWEST_FOR_PRIOR = 40
MOST_FOR_PRIOR = 2000
QUANTILES = (0.05, 0.95)


def no_interaction(counts: np.ndarray) -> np.ndarray:
    """The expected number of films that carry all k items, given every margin of fewer than k.

    Args:
        counts: (n, 2^k) float; column s is how many films carry at least the items whose bits are set in s. Column 0 is
            the total; the last column is not used.

    Returns: (n,) float ≥ 0.
    """
    n, cells = counts.shape
    k = cells.bit_length() - 1
    size = np.array([s.bit_count() for s in range(cells)])
    base = counts.astype(float).copy()
    base[:, -1] = 0.0
    for j in range(k):  # Möbius inversion over item j: "at least" becomes "exactly"
        without = [s for s in range(cells) if not s >> j & 1]
        base[:, without] -= base[:, [s | 1 << j for s in without]]
    sign = np.where((k - size) % 2 == 0, 1.0, -1.0)
    low = np.max(-base[:, sign > 0], axis=1)
    high = np.min(base[:, sign < 0], axis=1)
    for _ in range(60):
        middle = (low + high) / 2
        cell = np.maximum(base + sign * middle[:, None], 1e-300)
        above = (sign * np.log(cell)).sum(axis=1) > 0
        high = np.where(above, middle, high)
        low = np.where(above, low, middle)
    return np.maximum((low + high) / 2, 0.0)


def conditional_independence(counts: dict[int, float], items: tuple[int, ...]) -> float:
    """The geometric mean over pairs (a, b) of n(without a)·n(without b) / n(without both): for patterns of many items."""
    full = sum(1 << i for i in items)
    logs = [
        np.log(counts[full ^ 1 << a] * counts[full ^ 1 << b] / counts[full ^ 1 << a ^ 1 << b])
        for n, a in enumerate(items)
        for b in items[n + 1 :]
    ]
    return float(np.exp(np.mean(logs)))


def subset_masks(items: tuple[int, ...]) -> list[int]:
    """Mask of each subset of the items, position s in binary order of the items' positions."""
    masks = [0]
    for i in items:
        masks += [m | 1 << i for m in masks]
    return masks


def expected_units(
    patterns: list[tuple[int, ...]], film_count: dict[int, int], unit_count: dict[int, int]
) -> np.ndarray:
    """Expected units of each pattern (item numbers, ascending); NaN for patterns of fewer than two items.

    Args:
        film_count, unit_count: mask of items → count, for every proper subset of every pattern. The same dict twice
            when films are counted.
    """
    result = np.full(len(patterns), np.nan)
    for k in sorted({len(p) for p in patterns if len(p) > 1}):
        where = [n for n, p in enumerate(patterns) if len(p) == k]
        if k > LARGEST_TABLE:
            films = np.array([conditional_independence(film_count, patterns[n]) for n in where])  # type: ignore[arg-type]
            parents = [[m ^ 1 << i for i in patterns[n]] for n in where for m in [sum(1 << i for i in patterns[n])]]
            per_unit = np.array([min(film_count[q] / max(unit_count[q], 1) for q in qs) for qs in parents])
            result[where] = films / np.maximum(per_unit, 1.0)
            continue
        masks = [subset_masks(patterns[n]) for n in where]
        counts = np.array([[film_count[m] for m in row[:-1]] + [0] for row in masks], dtype=float)
        films = no_interaction(counts)
        units = np.array([[unit_count[m] for m in row[:-1]] + [1] for row in masks], dtype=float)
        logs = np.log(np.maximum(counts[:, :-1], 1.0) / np.maximum(units[:, :-1], 1.0))
        size = np.array([s.bit_count() for s in range((1 << k) - 1)])
        extrapolated = (np.where((k - 1 - size) % 2 == 0, 1.0, -1.0) * logs).sum(axis=1)
        ceiling = logs[:, size == k - 1].min(axis=1)
        result[where] = films / np.exp(np.clip(extrapolated, 0.0, np.maximum(ceiling, 0.0)))
    return result


class Prior(NamedTuple):
    """λ ~ share · Gamma(alpha1, rate beta1) + (1 − share) · Gamma(alpha2, rate beta2)."""

    alpha1: float
    beta1: float
    alpha2: float
    beta2: float
    share: float


#: DuMouchel's starting point, and one that holds most ratios near 1.
STARTS = (Prior(0.2, 0.1, 2.0, 4.0, 1 / 3), Prior(20.0, 20.0, 2.0, 2.0, 0.7))


def _log_marginal(n: np.ndarray, e: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """ln P(N = n) with λ ~ Gamma(alpha, rate beta): negative binomial."""
    from scipy.special import gammaln

    return (
        gammaln(alpha + n) - gammaln(alpha) - gammaln(n + 1)
        + alpha * np.log(beta / (beta + e)) + n * np.log(e / (beta + e))
    )  # fmt: skip


def log_likelihood(prior: Prior, n: np.ndarray, e: np.ndarray) -> float:
    """Sum of ln P(N = n | E = e) under the mixture; e > 0."""
    first = np.log(prior.share) + _log_marginal(n, e, prior.alpha1, prior.beta1)
    second = np.log1p(-prior.share) + _log_marginal(n, e, prior.alpha2, prior.beta2)
    return float(np.logaddexp(first, second).sum())


def fit_prior(n: np.ndarray, e: np.ndarray) -> Prior:
    """The prior of greatest likelihood. n: (cells,) counts; e: (cells,) expected, > 0."""
    from scipy.optimize import minimize

    n, e = np.asarray(n, dtype=float), np.asarray(e, dtype=float)

    def prior_of(x: np.ndarray) -> Prior:
        return Prior(*np.exp(x[:4]).tolist(), 1 / (1 + float(np.exp(-x[4]))))

    best, best_value = STARTS[0], -np.inf
    for start in STARTS:
        x0 = np.append(np.log(start[:4]), np.log(start.share / (1 - start.share)))
        found = minimize(
            lambda x: -log_likelihood(prior_of(x), n, e) / len(n),
            x0, method="L-BFGS-B", bounds=[(-7, 9)] * 4 + [(-6, 6)], options={"maxiter": 200},
        )  # fmt: skip
        if -found.fun > best_value:
            best, best_value = prior_of(found.x), -found.fun
    return best


class Shrunk(NamedTuple):
    """Posterior of λ = count / expected: geometric mean, 5% and 95% points; each (cells,) float."""

    ratio: np.ndarray
    low: np.ndarray
    high: np.ndarray


def shrink(prior: Prior, n: np.ndarray, e: np.ndarray) -> Shrunk:
    """EBGM, EB05 and EB95 of each cell. n: (cells,) counts; e: (cells,) expected, ≥ 0."""
    from scipy.special import digamma, gammainc, gammaincinv

    n, e = np.asarray(n, dtype=float), np.asarray(e, dtype=float)
    positive = np.maximum(e, 1e-12)
    first = np.log(prior.share) + _log_marginal(n, positive, prior.alpha1, prior.beta1)
    second = np.log1p(-prior.share) + _log_marginal(n, positive, prior.alpha2, prior.beta2)
    weight = 1 / (1 + np.exp(np.clip(second - first, -700, 700)))
    shapes = (prior.alpha1 + n, prior.alpha2 + n)
    rates = (prior.beta1 + e, prior.beta2 + e)
    mean_log = [digamma(a) - np.log(b) for a, b in zip(shapes, rates, strict=True)]
    ratio = np.exp(weight * mean_log[0] + (1 - weight) * mean_log[1])
    points = []
    for q in QUANTILES:
        # the mixture's quantile lies between those of its two parts
        ends = [gammaincinv(a, q) / b for a, b in zip(shapes, rates, strict=True)]
        low, high = np.minimum(*ends), np.maximum(*ends)
        for _ in range(40):
            middle = (low + high) / 2
            below = weight * gammainc(shapes[0], rates[0] * middle)
            below += (1 - weight) * gammainc(shapes[1], rates[1] * middle)
            low, high = np.where(below < q, middle, low), np.where(below < q, high, middle)
        points.append((low + high) / 2)
    return Shrunk(ratio, *points)
