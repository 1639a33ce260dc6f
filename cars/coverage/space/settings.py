"""The settings of `cars space`. Cheap to import."""

from __future__ import annotations

from dataclasses import dataclass

from ...config import setting

NEIGHBOURS = ("other-patients", "all-films")
SEARCH = ("exact", "ivf")


@dataclass(frozen=True)
class SpaceSettings:
    """How near is near, and how neighbours are looked for."""

    k: int = setting(
        5, "A train film reaches as far as its k-th nearest train film; that distance is its radius.",
        minimum=1, maximum=100,
    )  # fmt: skip
    neighbours: str = setting(
        "other-patients",
        "Which train films count for a radius: those of other patients only, or a patient's own as well.",
        choices=NEIGHBOURS,
    )
    search: str = setting(
        "exact",
        "How radii are found: exact compares every pair of train films; ivf searches part of them, for large sets.",
        choices=SEARCH,
    )
    recall: float = setting(
        0.95, "With ivf: the share of true neighbours that must be found on a sample.", minimum=0.5, maximum=1
    )
    synthetic: bool = setting(True, "Also say what the accepted synthetic films add; radii stay those of real films.")
    seed: int = setting(0, "Seed of the ivf search and of the random films that a gap is compared with.", minimum=0)
    device: str = setting("auto", "Device that embeds synthetic films: auto, cpu or cuda.")
