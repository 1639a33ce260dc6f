"""Writes reference.json: what other libraries give on made-up cases, for tests that do not need them installed.

    pip install netcal==1.4.0 torchmetrics==1.9.0 relplot==1.0.3 statsmodels==0.15.0 uncertainty-calibration==0.1.4
    python tests/metrics/make_reference.py

Not a test and not needed to run the tests; in an environment of its own, since netcal brings much along.
"""

from __future__ import annotations

import json
from pathlib import Path

import calibration
import numpy as np
import relplot
import statsmodels.api as sm
import torch
import torchmetrics.functional.classification as tm
from netcal.metrics.confidence import ECE
from statsmodels.stats.multitest import multipletests

BINS = 15
relplot.config.smECE_mesh_pts = 20_001  # 200 by default, whose sum is off by 1e-3


def case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """158 films (so that no 15th of them falls on a film), probabilities to six places, off by a slope and a shift.

    None within 0.004 of 0 or 1: relplot's grid loses half of the weight of a film that rounds to either end.
    """
    rng = np.random.default_rng(seed)
    logits = rng.normal(-0.5, 1.5, 158)
    y = (rng.random(158) < 1 / (1 + np.exp(-logits))).astype(int)
    prob = 1 / (1 + np.exp(-(rng.choice([0.6, 1.0, 1.7]) * logits + rng.normal(0, 0.7))))
    return y, np.round(0.004 + 0.992 * prob, 6)


def kumar(y: np.ndarray, p: np.ndarray, edges: np.ndarray) -> tuple[float, float]:
    """(debiased ℓ2 error, debiased ℓ1 error by 100,000 draws) of the package uncertainty-calibration."""
    parts = calibration.utils.bin(list(zip(p, y)), [*edges[1:-1], 1.0])
    np.random.seed(0)  # noqa: NPY002 (the package draws from the global generator)
    return (
        float(calibration.utils.unbiased_l2_ce(parts)),
        float(calibration.utils.normal_debiased_ce(parts, power=1, resamples=100_000)),
    )


def values(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """Everything for one case."""
    logits = np.log(p / (1 - p))
    logistic = sm.Logit(y, sm.add_constant(logits)).fit(disp=0, tol=1e-12, maxiter=200)
    shift = sm.GLM(y, np.ones((len(y), 1)), family=sm.families.Binomial(), offset=logits).fit(tol=1e-14)
    probs, labels = torch.tensor(p), torch.tensor(y)
    equal_mass = np.quantile(p, np.linspace(0, 1, BINS + 1))
    rms, debiased = kumar(y, p, equal_mass)
    sensitivity, _ = tm.binary_sensitivity_at_specificity(probs, labels, min_specificity=0.9)
    return {
        "netcal ece": float(ECE(BINS).measure(p, y)),
        "netcal ece_adaptive": float(ECE(BINS, equal_intervals=False).measure(p, y)),
        "torchmetrics ece": float(tm.binary_calibration_error(probs, labels, n_bins=BINS)),
        "torchmetrics auroc": float(tm.binary_auroc(probs, labels)),
        "torchmetrics auprc": float(tm.binary_average_precision(probs, labels)),
        "torchmetrics sensitivity": float(sensitivity),
        "kumar rms_calibration_error": rms,
        "kumar ece_adaptive_debiased": debiased,
        "relplot smooth_ece": float(relplot.smECE(p, y)),
        **{f"relplot smooth_ece at {s}": float(relplot.smECE_sigma(p, y, s)) for s in (0.03, 0.06, 0.1)},
        "statsmodels calibration_slope": float(logistic.params[1]),
        "statsmodels intercept beside the slope": float(logistic.params[0]),
        "statsmodels calibration_intercept": float(shift.params[0]),
    }


def holm(seed: int) -> dict[str, list[float]]:
    """p values and the ones that statsmodels adjusts them to."""
    p = np.round(np.random.default_rng(seed).random(7) ** 3, 6)
    return {"p": p.tolist(), "adjusted": multipletests(p, method="holm")[1].tolist()}


if __name__ == "__main__":
    cases = []
    for seed in range(6):
        y, p = case(seed)
        cases.append({"y": y.tolist(), "p": p.tolist(), "values": values(y, p)})
    found = {"cases": cases, "holm": [holm(seed) for seed in range(5)]}
    path = Path(__file__).with_name("reference.json")
    path.write_text(json.dumps(found, indent=1).replace(",\n    ", ", ").replace("[\n    ", "["), encoding="utf-8")
