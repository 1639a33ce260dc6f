"""How many would one expect? Lower-order margins, and shrinkage of the ratio of what is there to what was expected.

Expected counts. For a pattern of k items, films fall into 2^k cells (each item carried or not). The expectation is the
full cell of the log-linear model that reproduces every margin of fewer than k items and has no k-way interaction
(Bishop, Fienberg & Holland, "Discrete Multivariate Analysis", 1975). Tables with those margins form a line: cell s is
base_s ± x, where x is the full cell, so the fitted x is the root of one increasing function and no iterative
proportional fitting is needed (a test compares the two). For k = 2 this is independence, n_a·n_b / n; for k = 3 it
uses all three pair margins. A pattern of one item has no lower margin but the total, hence no expectation.

This is a count of films; clustering.py turns it into patients or studies.

Shrinkage. N given E is Poisson(λE); λ has a prior of two gammas fitted by maximum likelihood over all patterns of a
level that the search counted (DuMouchel, "Bayesian Data Mining in Large Frequency Tables", The American Statistician
1999). EBGM = exp E[ln λ | N], EB05 and EB95 are the posterior's 5% and 95% points. EB95 < 1: rarer than expected.
The prior's shapes are kept below 100: no expectation is taken to be known better than to ±10%, since otherwise a prior
fitted to thousands of well-behaved patterns would turn a bias of 2% into a verdict.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: Item numbers, ascending.
Items = tuple[int, ...]

#: Patterns of more items use a product of three margins instead of the 2^k cells.
LARGEST_TABLE = 6
#: Fewer patterns than this say too little about a prior of five numbers; the levels are then pooled.
FEWEST_FOR_PRIOR = 40
MOST_FOR_PRIOR = 2000
QUANTILES = (0.05, 0.95)
#: Bounds of the prior's shapes and rates. A gamma of shape 100 has a standard deviation of a tenth of its mean; one of
#: shape 0.1 still leaves room for a pattern that is merely very rare.
SHAPES, RATES = (0.1, 100.0), (1e-3, 1e4)


def no_interaction(counts: np.ndarray) -> np.ndarray:
    """The expected number of films that carry all k items, given every margin of fewer than k.

    Args:
        counts: (n, 2^k) float; column s is how many films carry at least the items whose bits are set in s. Column 0 is
            the total; the last column is not used.

    Returns: (n,) float ≥ 0.
    """
    cells = counts.shape[1]
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


def conditional_independence(counts: dict[int, int], items: Items) -> float:
    """For many items: the geometric mean over pairs (a, b) of n(without a)·n(without b) / n(without both)."""
    full = mask_of(items)
    logs = [
        np.log(counts[full ^ 1 << a] * counts[full ^ 1 << b] / counts[full ^ 1 << a ^ 1 << b])
        for n, a in enumerate(items)
        for b in items[n + 1 :]
    ]
    return float(np.exp(np.mean(logs)))


def mask_of(items: Items) -> int:
    """Item numbers as one integer, bit i for item i."""
    return sum(1 << i for i in items)


def subset_masks(items: Items) -> list[int]:
    """Mask of each subset of the items, position s in binary order of the items' positions."""
    masks = [0]
    for i in items:
        masks += [m | 1 << i for m in masks]
    return masks


def expected_films(patterns: list[Items], film_count: dict[int, int]) -> np.ndarray:
    """Expected films of each pattern (item numbers, ascending); NaN for patterns of fewer than two items.

    Args:
        film_count: mask of items → films, for every proper subset that `subsets_needed` names.
    """
    result = np.full(len(patterns), np.nan)
    for k, where in by_size(patterns).items():
        if k > LARGEST_TABLE:
            result[where] = [conditional_independence(film_count, patterns[n]) for n in where]
        else:
            counts = [[film_count[m] for m in subset_masks(patterns[n])[:-1]] + [0] for n in where]
            result[where] = no_interaction(np.array(counts, dtype=float))
    return result


def subsets_needed(items: Items) -> list[int]:
    """Masks of the proper subsets that an expectation uses: all, or for many items those one and two items smaller."""
    if len(items) <= LARGEST_TABLE:
        return subset_masks(items)[:-1]
    full = mask_of(items)
    one = [full ^ 1 << a for a in items]
    return one + [full ^ 1 << a ^ 1 << b for n, a in enumerate(items) for b in items[n + 1 :]]


def by_size(patterns: list[Items]) -> dict[int, list[int]]:
    """Size → positions of the patterns of that many items, from two on."""
    sizes: dict[int, list[int]] = {}
    for n, pattern in enumerate(patterns):
        if len(pattern) > 1:
            sizes.setdefault(len(pattern), []).append(n)
    return sizes


class Prior(NamedTuple):
    """λ ~ share · Gamma(alpha1, rate beta1) + (1 − share) · Gamma(alpha2, rate beta2)."""

    alpha1: float
    beta1: float
    alpha2: float
    beta2: float
    share: float


#: DuMouchel's starting point (mean 1, wide); it stands in where there are too few patterns to fit a prior.
VAGUE = Prior(0.2, 0.1, 2.0, 4.0, 1 / 3)
#: The fit starts there, and from a prior that holds most ratios near 1.
STARTS = (VAGUE, Prior(20.0, 20.0, 2.0, 2.0, 0.7))


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
        a, b, c, d = np.exp(x[:4]).tolist()
        return Prior(a, b, c, d, 1 / (1 + float(np.exp(-x[4]))))

    bounds = [tuple(np.log(b)) for b in (SHAPES, RATES, SHAPES, RATES)] + [(-6.0, 6.0)]
    best, best_value = STARTS[0], -np.inf
    for start in STARTS:
        x0 = np.append(np.log(start[:4]), np.log(start.share / (1 - start.share)))
        found = minimize(
            lambda x: -log_likelihood(prior_of(x), n, e) / len(n),
            x0, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200},
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
