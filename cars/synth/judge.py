"""The judge: a classifier of the 14 findings, no backbone under test, that decides whether an edit took.

`Judge.load()` gives the packaged one (trained on the phantom); `train_judge_on_workspace` makes one from a workspace's
own train patients. A judge that has seen too few positives of a finding does not judge it: its probability is NaN.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import DataError, MissingDependency, WorkspaceError
from ..nets import packaged
from ..progress import Progress, part_of, silent
from ..provenance import digest, file_digest
from ..schema import COLUMN_OF, FINDINGS, FRONTAL
from ..torchbox import device as choose_device

if TYPE_CHECKING:
    from ..workspace import Workspace

#: A finding needs this many positives and negatives among the training films, and among the validation films.
LEAST_TRAIN, LEAST_VALIDATION = 20, 5
#: Validation films below which train patients are held out to help choose thresholds.
ENOUGH_VALIDATION = 300
#: Share of the positive (negative) validation films that the zone where a judge is sure leaves on the right side.
SURE = 0.95


@dataclass
class Judge:
    """A trained judge. Use `Judge.load`.

    thresholds: (14,) float, NaN where untrained; chosen on validation patients. auroc: finding → its AUROC on them.
    """

    net: Any
    config: dict[str, Any]
    device: str = "cpu"
    folder: Path = field(default_factory=Path)

    @classmethod
    def load(cls, folder: Path | str | None = None, device: str = "auto") -> Judge:
        """Read a judge's folder, the packaged one when None.

        Raises: MissingDependency without the files, DataError when weights and config are not of one training.
        """
        from safetensors.torch import load_file

        from ..nets.judge import build

        folder = Path(folder) if folder else packaged("judge")
        config_file, weights = folder / "config.json", folder / "model.safetensors"
        if not config_file.is_file() or not weights.is_file():
            raise MissingDependency(f"There is no judge in {folder}.", "Train one with `cars train-generator`.")
        config = json.loads(config_file.read_text(encoding="utf-8"))
        if file_digest(weights) != config["weights_sha256"]:
            raise DataError(f"{weights} is not the file that its config.json describes.", "Train the judge again.")
        net = build(config["arch"])
        net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(weights).items()})
        name = choose_device(device)
        return cls(net.eval().to(name), config, name, folder)

    @property
    def size(self) -> int:
        """Side of the square film that the network sees, pixels; films of other sizes are resized."""
        return int(self.config["size"])

    @property
    def revision(self) -> str:
        """First 12 hex digits of the SHA-256 of the weights."""
        return str(self.config["weights_sha256"])[:12]

    @cached_property
    def trained(self) -> np.ndarray:
        """(14,) bool: the findings that this judge judges."""
        return np.array([finding in self.config["validation"] for finding in FINDINGS])

    @cached_property
    def thresholds(self) -> np.ndarray:
        """(14,) float32 in (0, 1); NaN where untrained."""
        chosen = self.config["validation"]
        return np.array([chosen.get(f, {}).get("threshold", np.nan) for f in FINDINGS], dtype=np.float32)

    @cached_property
    def sure(self) -> np.ndarray:
        """(14, 2) float32: below the first a finding is surely absent, from the second on surely present (`surely`).

        A judge from before there was such a zone decides at its threshold. NaN where untrained.
        """
        chosen = self.config["validation"]
        pairs = [chosen.get(f, {}).get("sure", [t, t]) for f, t in zip(FINDINGS, self.thresholds.tolist(), strict=True)]
        return np.array(pairs, dtype=np.float32)

    @property
    def auroc(self) -> dict[str, float]:
        """Finding → AUROC on validation films, trained findings only; `config["validation"]` has n and positives."""
        return {finding: entry["auroc"] for finding, entry in self.config["validation"].items()}

    def probabilities(self, images: np.ndarray, batch: int = 64) -> np.ndarray:
        """images: (B, H, W) uint8, square films → (B, 14) float32 in [0, 1], NaN for untrained findings."""
        from ..nets.judge import to_input, torch

        _check(images)
        parts = [np.zeros((0, len(FINDINGS)), dtype=np.float32)]
        with torch.inference_mode():
            for start in range(0, len(images), batch):
                x = to_input(images[start : start + batch], self.size, self.device)
                parts.append(torch.sigmoid(self.net(x).float()).cpu().numpy())
        found = np.concatenate(parts)
        found[:, ~self.trained] = np.nan
        return found

    def saliency(self, images: np.ndarray, finding: str) -> np.ndarray:
        """Where the judge sees a finding: (B, H, W) uint8 → (B, H, W) float32 in [0, 1], the peak of each film 1.

        |gradient of the logit × difference from the film's blurred self|, averaged over eight slightly noisy copies
        (Smilkov et al. 2017, "SmoothGrad", arXiv 1706.03825) and smoothed over 1/32 of the film.
        """
        from scipy import ndimage

        from ..nets.judge import to_input, torch

        _check(images)
        index = FINDINGS.index(finding)
        generator = torch.Generator().manual_seed(0)
        maps = []
        for image in images:
            x = to_input(image[None], self.size, self.device).repeat(8, 1, 1, 1)
            x = x + 0.05 * torch.randn(x.shape, generator=generator).to(x.device)
            x.requires_grad_(True)
            (slope,) = torch.autograd.grad(self.net(x)[:, index].sum(), x)
            near = torch.nn.functional.avg_pool2d(x.detach(), 15, stride=1, padding=7, count_include_pad=False)
            seen = (slope * (x.detach() - near)).abs().mean(dim=(0, 1)).cpu().numpy()
            seen = ndimage.gaussian_filter(seen, self.size / 32)
            seen = ndimage.zoom(seen, np.array(image.shape) / self.size, order=1, grid_mode=True, mode="nearest")
            maps.append((seen / max(float(seen.max()), 1e-12)).astype(np.float32))
        return np.stack(maps) if maps else np.zeros(images.shape, dtype=np.float32)


def _check(images: np.ndarray) -> None:
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(
            f"A judge takes uint8 (B, H, W), not {images.dtype} {images.shape}.", "Use imaging.square first."
        )


def targets(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finding codes int8 (N, 14) → targets float32 in {0, 1} and which of them count, bool, both (N, 14).

    The stated policy: uncertain does not count; not mentioned is taken as absent, since CheXpert's labeler seldom
    writes a 0 and NIH's never does.
    """
    return (labels == 1).astype(np.float32), labels != -1


def choose_threshold(probability: np.ndarray, positive: np.ndarray) -> float:
    """The threshold of the greatest sensitivity + specificity (Youden's J), midway between two neighbouring films.

    probability: (N,) float. positive: (N,) bool with both values in it. From the threshold on a film is positive.
    """
    order = np.argsort(probability, kind="stable")
    p, y = probability[order].astype(np.float64), positive[order]
    # cut k calls films k… positive; a cut is possible only between two different probabilities
    missed, cleared = np.cumsum(y)[:-1], np.cumsum(~y)[:-1]
    youden = (y.sum() - missed) / y.sum() + cleared / (~y).sum() - 1
    youden[p[1:] <= p[:-1]] = -np.inf
    if not np.isfinite(youden).any():
        return float(p[0])
    best = int(np.argmax(youden))
    return float((p[best] + p[best + 1]) / 2)


def surely(probability: np.ndarray, positive: np.ndarray, threshold: float, share: float = SURE) -> tuple[float, float]:
    """Where a judge is sure: below the first value a finding is absent, from the second on it is present.

    At least `share` of the positive films lie at or above the first, and of the negative ones below the second. Neither
    passes the threshold: where the judge separates the two well, both are the threshold itself.
    probability: (N,) float. positive: (N,) bool with both values in it.
    """
    p = probability.astype(np.float64)
    present, absent = np.sort(p[positive]), np.sort(p[~positive])
    low = present[len(present) - math.ceil(share * len(present))]
    high = np.nextafter(np.float32(absent[math.ceil(share * len(absent)) - 1]), np.float32(2))
    return min(float(low), threshold), max(float(high), threshold)


def auroc(probability: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve as the rank statistic; ties count half. Both classes must be there."""
    ranks = pd.Series(probability).rank().to_numpy()
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def validated(probability: np.ndarray, labels: np.ndarray, trained: np.ndarray) -> dict[str, dict[str, Any]]:
    """Finding → threshold, sure, auroc, n, positives, from validation films only.

    probability: (N, 14). labels: int8 (N, 14). trained: (14,) bool, findings with enough training films. A finding with
    fewer than LEAST_VALIDATION positives or negatives is left out, which marks it untrained.
    """
    result = {}
    y, counts = targets(labels)
    for k, finding in enumerate(FINDINGS):
        p, positive = probability[counts[:, k], k], y[counts[:, k], k] == 1
        if not trained[k] or min(positive.sum(), (~positive).sum()) < LEAST_VALIDATION:
            continue
        threshold = choose_threshold(p, positive)
        result[finding] = {
            "threshold": threshold,
            "sure": surely(p, positive, threshold),
            "auroc": round(auroc(p, positive), 4),
            "n": len(p),
            "positives": int(positive.sum()),
        }
    return result


def train_judge_on_workspace(
    workspace: Workspace,
    size: int | None = None,
    folder: Path | None = None,
    *,
    arch: str = "small",
    minutes: float | None = 3.0,
    epochs: int | None = None,
    seed: int = 0,
    start: str = "packaged",
    limit: int = 20_000,
    device: str = "auto",
    progress: Progress = silent,
) -> Path:
    """Train a judge on the workspace's own real frontal films of train patients; returns its folder.

    Thresholds come from the validate split. Where that has fewer than ENOUGH_VALIDATION films, a sixth of the train
    patients is held out and joins it. Test patients are never read. The same films and settings give the same folder,
    models/judge/<key>, which is returned at once when it is complete.

    Args:
        size: side of the decoded films; None takes the architecture's own.
        start: "packaged" goes on from the judge that ships where `arch` is its own, "scratch" from nothing.
        limit: most training films; beyond it whole patients are left out at random (seeded).
    """
    from ..filmcache import film_cache
    from .judge_training import SIZES, train_judge

    workspace.need("films", "ingest")
    names = ["dicom_id", "subject_id", "split", "view", "on_disk", "origin", *COLUMN_OF.values()]
    films = workspace.read("films", names)
    usable = films["on_disk"] & films["view"].isin(FRONTAL) & (films["origin"] == "real")
    films = films[usable & films["split"].isin(["train", "validate"])].sort_values("dicom_id", ignore_index=True)
    films["held"] = films["split"] == "validate"
    if films["held"].sum() < ENOUGH_VALIDATION:
        films["held"] |= np.array([int(digest("judge", s, seed), 16) % 6 == 0 for s in films["subject_id"]], dtype=bool)
    films = _limited(films, limit, seed)
    if films["held"].all() or not films["held"].any():
        raise WorkspaceError(
            f"A judge needs frontal films of train patients and of others for thresholds; {len(films)} are usable.",
            "Ingest a data set with films on disk.",
        )
    size = size or SIZES[arch]
    first = Judge.load(device="cpu") if start == "packaged" and arch == "small" else None
    settings = {
        "arch": arch, "minutes": minutes, "epochs": epochs, "seed": seed, "size": size, "limit": limit,
        "start": first.revision if first else None,
    }  # fmt: skip
    rows = films[["dicom_id", "held", *COLUMN_OF.values()]].astype(object).values.tolist()
    key = digest(settings, rows)
    folder = Path(folder) if folder else workspace.path / "models" / "judge" / key
    cache = film_cache(workspace, size, films["dicom_id"].tolist(), progress=part_of(progress, 0.0, 0.2))
    films = films[films["dicom_id"].isin(set(cache.ids))].reset_index(drop=True)
    return train_judge(
        cache.images(films["dicom_id"].tolist()),
        films[list(COLUMN_OF.values())].to_numpy(dtype=np.int8),
        films["held"].to_numpy(dtype=bool),
        folder,
        arch=arch, minutes=minutes, epochs=epochs, seed=seed, device=device, start=first,
        progress=part_of(progress, 0.2, 1.0),
        about={
            "data": f"{len(films)} frontal films of {films['subject_id'].nunique()} train and validate patients",
            "train_patients": int(films.loc[~films["held"], "subject_id"].nunique()),
            "validation_patients": int(films.loc[films["held"], "subject_id"].nunique()),
            "failed_films": len(cache.failed),
        },
    )  # fmt: skip


def _limited(films: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    """At most `limit` training films and a quarter as many held-out ones, by leaving out whole patients."""
    kept = []
    for held, most in ((False, limit), (True, max(limit // 4, 1))):
        part = films[films["held"] == held]
        if len(part) > most:
            rank = {s: digest("limit", s, seed) for s in part["subject_id"].unique()}
            order = part.assign(rank=part["subject_id"].map(rank)).sort_values("rank", kind="stable")
            whole = order.groupby("rank", sort=True).size().cumsum()
            part = order[order["rank"].isin(whole.index[whole <= most])].drop(columns="rank")
        kept.append(part)
    return pd.concat(kept).sort_values("dicom_id", ignore_index=True)
