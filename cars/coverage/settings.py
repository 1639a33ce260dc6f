"""The settings of `cars gaps`. Cheap to import: nothing but the standard library."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import setting

UNITS = ("patient", "study", "film")
VALUES = ("present", "present+absent", "present+uncertain", "all")
SPLITS = ("train", "validate", "test", "all")


@dataclass(frozen=True)
class GapsSettings:
    """What a gap is made of, and how few is too few."""

    attributes: str = setting(
        "sex,age_band,view,findings",
        "Attributes that patterns combine: sex, age_band, view, race, a finding, findings, concept:NAME, concepts.",
    )
    values: str = setting(
        "present",
        "Values of findings and concepts that form patterns: present; absent or uncertain beside it; or all three.",
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
    threshold_share: float = setting(
        0.0,
        "Threshold τ as a share of the counted patients, studies or films, rounded up; 0: use the threshold as it is.",
        minimum=0,
        maximum=1,
    )
    where: str = setting("", "Only films that meet these conditions, for example `view:PA,AP; sex:F`; empty: all.")
    seconds: int = setting(120, "Stop the search after this long and say so.", minimum=1, maximum=86_400)
    attribute_set: str = setting(
        "", "A saved attribute set (`cars sets`); its attributes, values and filter take the place of these settings'."
    )
