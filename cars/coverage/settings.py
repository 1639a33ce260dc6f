"""The settings of `cars gaps`. Cheap to import: nothing but the standard library."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import setting

UNITS = ("patient", "study", "film")
VALUES = ("present", "all")
SPLITS = ("train", "validate", "test", "all")


@dataclass(frozen=True)
class GapsSettings:
    """What a gap is made of, and how few is too few."""

    attributes: str = setting(
        "sex,age_band,view,findings",
        "Attributes that patterns combine: sex, age_band, view, race, a finding, or `findings` for all 14.",
    )
    values: str = setting(
        "present",
        "Finding values that form patterns: present, or all three (present, absent, uncertain).",
        choices=VALUES,
    )
    max_order: int = setting(3, "Most attributes in one pattern.", minimum=1, maximum=18)
    threshold: int = setting(30, "A pattern with fewer than this many is uncovered (τ).", minimum=1)
    unit: str = setting("patient", "What the threshold counts.", choices=UNITS)
    split: str = setting(
        "train", "Films that are counted. Gaps are of the training patients unless you say otherwise.", choices=SPLITS
    )
    include_impossible: bool = setting(False, "List combinations that the rules forbid, too.")
    include_synthetic: bool = setting(False, "Count accepted synthetic films as well, under their source patient.")
    limit: int = setting(100_000, "Stop after this many uncovered patterns and say so.", minimum=1)
