"""Groups of films against the reference: which lie within reach of a train film, and how far the others are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...progress import Progress
from ...provenance import digest
from ...vectors import expected_coverage, knn, relate, spectrum, vendi
from ...workspace import atomic_write, write_json
from ..views import wilson
from .reference import Films, Reference

#: Orders of the Vendi score: 1 is the published one; larger ones hear rare films less.
ORDERS = (1.0, 2.0, float("inf"))
#: Random draws of train films that a group's Vendi score is compared with; of larger draws the scores hardly differ.
DRAWS, LARGE, DRAWS_OF_LARGE = 10, 100, 3
#: Resamples of patients for the interval of a density.
RESAMPLES = 1000


def clustered(hit: np.ndarray, patients: np.ndarray) -> dict[str, float]:
    """The share of films that `hit` holds for, with Wilson's 95% interval.

    Films of one patient resemble each other, so the interval takes them for one: its n is (Σ m)² / Σ m² over the films
    m of each patient (Kish), which is the number of patients where each has equally many. NaN without a film.

    Returns: value, low, high, n_films, n_patients.
    """
    films = np.unique(patients.astype(str), return_counts=True)[1].astype(float) if len(hit) else np.zeros(0)
    share = float(np.mean(hit)) if len(hit) else float("nan")
    n = np.array([films.sum() ** 2 / (films**2).sum() if len(hit) else 0.0])
    low, high = wilson(share * n, n)
    low, high = np.minimum(low, share), np.maximum(high, share)  # at 0 and 1 rounding would put the share outside
    return {
        "value": share, "low": float(low[0]), "high": float(high[0]), "n_films": len(hit), "n_patients": len(films),
    }  # fmt: skip


def mean_by_patient(values: np.ndarray, patients: np.ndarray, seed: int) -> dict[str, float]:
    """The mean over films with a 95% interval from resampled patients; NaN without a film. Keys as `clustered`."""
    found = {"value": float("nan"), "low": float("nan"), "high": float("nan"), "n_films": len(values), "n_patients": 0}
    if len(values):
        group = np.unique(patients.astype(str), return_inverse=True)[1]
        films, total = np.bincount(group), np.bincount(group, values)
        drawn = np.random.default_rng(seed).integers(0, len(films), (RESAMPLES, len(films)))
        low, high = np.quantile(total[drawn].sum(axis=1) / films[drawn].sum(axis=1), [0.025, 0.975])
        found |= {"value": float(np.mean(values)), "low": float(low), "high": float(high), "n_patients": len(films)}
    return found


def kept(path: Path, make: Callable[[], tuple[pd.DataFrame, dict[str, Any]]]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What `make` returns, from disk where it was made before. The table is written last."""
    described, table = path.with_suffix(".json"), path.with_suffix(".parquet")
    if not table.exists():
        frame, words = make()
        write_json(described, words)
        with atomic_write(table) as stream:
            frame.to_parquet(stream, index=False)
    return pd.read_parquet(table), json.loads(described.read_text(encoding="utf-8"))


def train_table(reference: Reference) -> pd.DataFrame:
    """The train films as `against_train` has others: each is compared with the films that may count for it.

    A film lies within reach when it is among the k nearest of some train film, which is what it would be asked if it
    were new. So the covered share is that of films like the train films, of patients that train does not have.
    """
    return pd.DataFrame(
        {
            "dicom_id": reference.films.ids, "nearest_dicom_id": reference.films.ids[reference.nearest],
            "distance": reference.distance, "radius": reference.radii[reference.nearest],
            "balls": reference.chosen_by.astype(np.int64), "covered": reference.chosen_by > 0,
        }
    )  # fmt: skip


def against_train(
    reference: Reference, films: Films, k: int, strangers: bool, path: Path, seed: int, progress: Progress
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Films against the train films' radii.

    Returns: one row a film: dicom_id, nearest_dicom_id, distance, radius (of that nearest film), balls (train films
    within whose radius it lies), covered (balls > 0); and precision, density, recall, coverage: each value, low, high,
    expected (for films of the same distribution), n_films, n_patients.
    """

    def make() -> tuple[pd.DataFrame, dict[str, Any]]:
        train = reference.films
        own = knn(films.vectors, k, films.patients.astype(str) if strangers else None)[1][:, -1]
        found = relate(train.vectors, films.vectors, reference.radii, own, progress)
        table = pd.DataFrame(
            {
                "dicom_id": films.ids, "nearest_dicom_id": train.ids[found.nearest], "distance": found.distance,
                "radius": reference.radii[found.nearest], "balls": found.within, "covered": found.within > 0,
            }
        )  # fmt: skip
        nothing = {"value": float("nan"), "low": float("nan"), "high": float("nan")}
        held = clustered(found.held, train.patients)
        return table, {
            "precision": {
                **clustered(found.inside > 0, films.patients), "expected": float((reference.chosen_by > 0).mean()),
            },
            "density": {**mean_by_patient(found.inside / k, films.patients, seed), "expected": 1.0},
            # without k others of its own group a film has no ball, so recall is not defined
            "recall": {**held, **({} if np.isfinite(own).all() else nothing), "expected": float("nan")},
            "coverage": {
                **clustered(found.holds, train.patients),
                "expected": expected_coverage(len(train), len(films), k),
            },
        }  # fmt: skip

    return kept(path.with_name(f"{path.name}-{digest(films.hash, seed)}"), make)


def with_synthetic(
    reference: Reference, made: Films, made_table: pd.DataFrame, films: Films, path: Path, progress: Progress
) -> pd.DataFrame:
    """What synthetic films add for these films: nearest_synthetic, distance_synthetic, and whether it is within reach.

    A synthetic film reaches as far as the real train film nearest to it: radii stay those of real films, so a film that
    was covered stays covered.
    """

    def make() -> tuple[pd.DataFrame, dict[str, Any]]:
        radius = made_table.set_index("dicom_id")["radius"].loc[list(made.ids)].to_numpy()
        found = relate(made.vectors, films.vectors, radius, progress=progress)
        table = {"dicom_id": films.ids, "nearest_synthetic": made.ids[found.nearest]}
        return pd.DataFrame({**table, "distance_synthetic": found.distance, "reached": found.within > 0}), {}

    return kept(path.with_name(f"{path.name}-{digest(films.hash, made.hash)}"), make)[0]


class Diversity:
    """Vendi scores of groups of films, each beside that of equally many random train films."""

    def __init__(self, train: Films, seed: int) -> None:
        self.train, self.seed = train, seed
        self._random: dict[int, list[float]] = {}

    def of(self, films: Films) -> dict[str, float]:
        """order ("1", "2", "inf") → score; NaN without a film."""
        eigenvalues = spectrum(films.vectors)
        return {f"{q:g}": vendi(eigenvalues, q) for q in ORDERS}

    def random(self, n: int) -> dict[str, float]:
        """The same of n train films at random: the mean of seeded draws; n above LARGE is rounded to two digits.

        NaN where train has no more than n films, or n is 0.
        """
        size = round(n, 2 - len(str(n))) if n > LARGE else n
        if not 0 < size < len(self.train) or n >= len(self.train):
            return dict.fromkeys((f"{q:g}" for q in ORDERS), float("nan"))
        if size not in self._random:
            rng = np.random.default_rng([self.seed, size])
            count = DRAWS if size <= LARGE else DRAWS_OF_LARGE
            draws = [np.sort(rng.choice(len(self.train), size, replace=False)) for _ in range(count)]
            found = [spectrum(self.train.take(rows).vectors) for rows in draws]
            self._random[size] = [float(np.mean([vendi(e, q) for e in found])) for q in ORDERS]
        return dict(zip((f"{q:g}" for q in ORDERS), self._random[size], strict=True))
