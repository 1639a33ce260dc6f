"""Temperature scaling: one number per unit, fitted on the validate patients (Guo et al. 2017, arXiv 1706.04599)."""

from __future__ import annotations

import numpy as np

from ..metrics._logits import logits_of

#: The temperature is sought in this range; at either end the fit says little more than "flat" or "sharp".
LOWEST, HIGHEST = 0.05, 20.0


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logits of any shape → probabilities, float64, without overflow."""
    from scipy.special import expit

    return expit(np.asarray(logits, dtype=np.float64))


def to_logits(prob: np.ndarray) -> np.ndarray:
    """Probabilities of any shape → logits, float64; 1e-15 from 0 and 1 at least, so that all are finite."""
    return logits_of(prob)


def scaled(prob: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities after dividing their logits by the temperature."""
    return sigmoid(to_logits(prob) / temperature)


def log_loss(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean binary cross-entropy in nats: log(1 + e^z) − y·z."""
    z = np.asarray(logits, dtype=np.float64)
    return float(np.mean(np.logaddexp(0.0, z) - y * z))


def fit_temperature(logits: np.ndarray, y: np.ndarray, known: np.ndarray) -> float:
    """The temperature with the lowest log loss over the known labels.

    Args:
        logits: (N, K) float. y: (N, K) 0 and 1. known: (N, K) bool, the labels that count.

    Returns: a temperature in [0.05, 20]; 1.0 when no label is known, or when all known ones are alike (then the fit
    would only push the probabilities towards that answer).
    """
    from scipy.optimize import minimize_scalar

    z, labels = np.asarray(logits, dtype=np.float64)[known], np.asarray(y, dtype=np.float64)[known]
    if not len(z) or labels.min() == labels.max():
        return 1.0
    # log loss is convex in 1/T and so has one minimum over log T too
    found = minimize_scalar(
        lambda log_t: log_loss(z / np.exp(log_t), labels),
        bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-6},
    )  # fmt: skip
    return float(np.exp(found.x))
