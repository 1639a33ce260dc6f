"""Passes with dropout left on: how far one trained network disagrees with itself.

A network trained with dropout is read as a distribution of networks, each pass with other features dropped as one draw
from it (Gal and Ghahramani, Dropout as a Bayesian Approximation: Representing Model Uncertainty in Deep Learning, 2016,
arXiv 1506.02142). Here the features before the classifier are dropped and nothing else is: the rest of the network is
as in any prediction, so a film's features are computed once and the passes cost next to nothing. Stochastic depth,
which some bodies have in training, is off.

Table passes, one part a unit that was trained with dropout, one row a test film: unit dicom_id subject_id passes, and
for each finding, in the order of FINDINGS, what is left of its passes: mean_<finding> (mean probability) and
entropy_<finding> (mean of the passes' entropies, nats), both as trained; scaled_mean_<finding> and
scaled_entropy_<finding> are the same after each pass's logits were divided by the unit's temperature.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import torchbox
from ..errors import WorkspaceError
from ..metrics.entropy import binary_entropy
from ..workspace import Workspace
from .arms import COLUMNS
from .calibration import sigmoid

TABLE = "passes"
#: Films whose features are dropped at once; the draws do not depend on it.
CHUNK = 1024


@dataclass(frozen=True)
class Passes:
    """What is left of the passes over N films: float64 (N, 14) each. mean: probability; entropy: in nats."""

    mean: np.ndarray
    entropy: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """The entropy of the mean; of it `entropy` is expected and the rest mutual information."""
        return binary_entropy(self.mean)


@contextlib.contextmanager
def features_kept(model: Any, wanted: float) -> Iterator[list[Any]]:
    """While this is open, what reaches the network's classifier is put into the list: float32 (B, D), on the CPU.

    wanted: 0 keeps nothing, and then any network will do.
    """
    kept: list[Any] = []
    if not wanted:
        yield kept
        return
    hook = model.head.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].float().cpu()))
    try:
        yield kept
    finally:
        hook.remove()


def run(features: Any, head: Any, rate: float, passes: int, seed: int, temperature: float) -> dict[bool, Passes]:
    """Predict each film `passes` times, each time without another share of its features.

    Args:
        features: float32 tensor (N, D), as they reach the classifier. head: the linear classifier. rate: the share of
            features that is dropped; those that are left are divided by 1 − rate, as in training. seed: the unit's.

    Returns: whether after temperature scaling → the passes. What is dropped follows from the seed, the pass and the
    film's place alone, so more passes begin with the same ones.
    """
    torch = torchbox.torch()
    weight, bias = head.weight.detach().float().cpu(), head.bias.detach().float().cpu()
    films, width = features.shape
    sums = {side: [np.zeros((films, len(bias))) for _ in range(2)] for side in (False, True)}
    for number in range(passes):
        rng = np.random.default_rng([seed, 3, number])
        for start in range(0, films, CHUNK):
            rows = slice(start, min(start + CHUNK, films))
            kept = rng.random((rows.stop - start, width), dtype=np.float32) >= np.float32(rate)
            with torch.inference_mode():
                part = features[rows] * torch.from_numpy(kept) / (1 - rate)
                logits = torch.nn.functional.linear(part, weight, bias).numpy().astype(np.float64)
            for side, (mean, entropy) in sums.items():
                prob = sigmoid(logits / temperature if side else logits)
                mean[rows] += prob
                entropy[rows] += binary_entropy(prob)
    return {side: Passes(mean / passes, entropy / passes) for side, (mean, entropy) in sums.items()}


def _columns(calibrated: bool) -> tuple[list[str], list[str]]:
    before = "scaled_" if calibrated else ""
    return [f"{before}mean_{slug}" for slug in COLUMNS], [f"{before}entropy_{slug}" for slug in COLUMNS]


def write(workspace: Workspace, films: pd.DataFrame, passes: int, found: dict[bool, Passes]) -> None:
    """Write a unit's part. films: unit dicom_id subject_id of the films, in order; found: as `run` gives it."""
    parts = [films[["unit", "dicom_id", "subject_id"]].reset_index(drop=True).assign(passes=passes)]
    for side, of in found.items():
        mean, entropy = _columns(side)
        parts += [pd.DataFrame(of.mean, columns=mean), pd.DataFrame(of.entropy, columns=entropy)]
    unit = str(films["unit"].iloc[0])
    workspace.write_part(TABLE, unit, pd.concat(parts, axis=1))


def made(workspace: Workspace, unit: str) -> tuple[int, list[str]]:
    """(how many passes there are of a unit, over which films); 0 where there are none."""
    part = workspace.part_path(TABLE, unit)
    if not part.exists():
        return 0, []
    frame = pd.read_parquet(part, columns=["dicom_id", "passes"])
    return int(frame["passes"].iloc[0]), frame["dicom_id"].tolist()


def read(workspace: Workspace, unit: str, ids: list[str], calibrated: bool) -> tuple[int, Passes]:
    """(how many passes, what is left of them) of the films `ids`, in that order.

    Raises: WorkspaceError where the unit has no passes, or passes over other films.
    """
    there, films = made(workspace, unit)
    if sorted(films) != sorted(ids):
        raise WorkspaceError(
            f"The passes with dropout of the unit {unit} are {'of other films' if there else 'not there'}.",
            "Run `cars finetune` again; finished units are not retrained.",
        )
    frame = pd.read_parquet(workspace.part_path(TABLE, unit)).set_index("dicom_id").loc[ids]
    mean, entropy = _columns(calibrated)
    return there, Passes(frame[mean].to_numpy(np.float64), frame[entropy].to_numpy(np.float64))
