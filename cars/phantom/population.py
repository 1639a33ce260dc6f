"""A made-up population of films with realistic co-occurrences, label noise and planted holes.

Findings come from three hidden factors of a patient (heart failure, infection, surgery or trauma) with thresholds set
so that their shares lie near those of MIMIC-CXR's train studies, shifted by age, sex and whether the film is portable.
`HOLES` lists the combinations that never occur, so a coverage search has something true to find.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from cars.errors import SettingError
from cars.phantom.anatomy import sample_anatomy
from cars.phantom.findings import draw_finding
from cars.phantom.spec import DRAWABLE, Drawn, FilmSpec, sample_film
from cars.schema import FINDINGS, age_band, view_of

#: Combinations that are never drawn. A finding's name means "present"; view and age band in the words of cars.schema.
#: The last finding named is the one left out where a study would fall into the hole.
HOLES: tuple[dict[str, str], ...] = (
    {"sex": "F", "age_band": "60–79", "Pneumothorax": "present"},
    {"view": "PA", "sex": "F", "age_band": "40–59", "Pleural Effusion": "present"},
    {"view": "lateral", "sex": "M", "Edema": "present"},
    {"view": "AP", "sex": "F", "Lung Lesion": "present"},
    {"age_band": "80+", "Pneumonia": "present"},
    {"race": "asian", "sex": "M", "Cardiomegaly": "present"},
    {"view": "AP", "sex": "F", "Fracture": "present"},
    {"Pleural Effusion": "present", "Pneumothorax": "present"},
)

#: finding → share of studies, then loadings on heart failure, infection, surgery/trauma, age, portable film, male sex.
_RISK: dict[str, tuple[float, ...]] = {
    "Atelectasis": (0.185, 0.35, 0.10, 0.45, 0.15, 0.30, 0.05),
    "Cardiomegaly": (0.165, 0.70, 0.00, 0.00, 0.40, 0.10, 0.00),
    "Consolidation": (0.045, 0.10, 0.65, 0.10, 0.05, 0.20, 0.05),
    "Edema": (0.120, 0.75, 0.05, 0.10, 0.20, 0.40, 0.00),
    "Enlarged Cardiomediastinum": (0.031, 0.20, 0.00, 0.20, 0.30, 0.25, 0.05),
    "Fracture": (0.022, 0.00, 0.00, 0.45, 0.35, 0.00, 0.00),
    "Lung Lesion": (0.034, 0.00, 0.10, 0.00, 0.35, -0.20, 0.05),
    "Lung Opacity": (0.050, 0.15, 0.45, 0.10, 0.10, 0.15, 0.00),
    "Pleural Effusion": (0.215, 0.55, 0.20, 0.30, 0.25, 0.25, 0.00),
    "Pleural Other": (0.012, 0.00, 0.15, 0.15, 0.40, -0.10, 0.20),
    "Pneumonia": (0.078, 0.05, 0.70, 0.00, 0.10, 0.05, 0.00),
    "Pneumothorax": (0.062, -0.10, 0.00, 0.70, -0.20, 0.25, 0.15),
    "Support Devices": (0.280, 0.35, 0.10, 0.45, 0.10, 0.75, 0.05),
}
_CHRONIC = ("Cardiomegaly", "Enlarged Cardiomediastinum", "Lung Lesion", "Pleural Other")
_RACES = ("WHITE", "BLACK/AFRICAN AMERICAN", "HISPANIC/LATINO - PUERTO RICAN", "ASIAN", "OTHER", "UNKNOWN")
_RACE_SHARE = (0.60, 0.17, 0.07, 0.08, 0.05, 0.03)

#: finding → share of absent studies whose report says so, and share that is called uncertain though absent.
_SAID: dict[str, tuple[float, float]] = {
    "Atelectasis": (0.01, 0.03),
    "Cardiomegaly": (0.22, 0.02),
    "Consolidation": (0.16, 0.012),
    "Edema": (0.20, 0.03),
    "Enlarged Cardiomediastinum": (0.05, 0.03),
    "Fracture": (0.02, 0.002),
    "Lung Lesion": (0.02, 0.005),
    "Lung Opacity": (0.03, 0.012),
    "Pleural Effusion": (0.45, 0.02),
    "Pleural Other": (0.01, 0.003),
    "Pneumonia": (0.18, 0.06),
    "Pneumothorax": (0.60, 0.004),
    "Support Devices": (0.03, 0.0),
}


@dataclass(frozen=True)
class Row:
    """One film with its study's and patient's facts, in MIMIC-CXR's terms."""

    dicom_id: str
    study_id: int
    subject_id: int
    split: str  # train, validate or test; one per patient
    sex: str
    age: int  # at the study, as MIMIC gives it: anchor_age + years since anchor_year
    race: str
    view: str  # ViewPosition: PA, AP or LATERAL
    study_date: str  # YYYYMMDD
    study_time: str  # HHMMSS.sss
    anchor_age: int
    anchor_year: int
    labels: dict[str, float]  # the study's report labels: 1.0, 0.0, −1.0; a finding not mentioned is not a key
    spec: FilmSpec

    @property
    def findings(self) -> frozenset[str]:
        """What is truly drawn, whatever the report says."""
        return self.spec.findings

    @property
    def age_band(self) -> str:
        return age_band(self.age)


def in_hole(
    hole: dict[str, str], view: str, sex: str, age: int, race: str, findings: frozenset[str] | set[str]
) -> bool:
    """Whether a film with these attributes lies in a planted hole. view is a ViewPosition."""
    facts = {"view": view_of(view), "sex": sex, "age_band": age_band(age), "race": race.lower()}
    return all(name in findings if name in FINDINGS else facts[name] == value for name, value in hole.items())


def sample_population(n_films: int, seed: int = 0) -> list[Row]:
    """n_films films of patients with 1–4 studies of 1–2 films; nothing is rendered.

    A longer population extends a shorter one of the same seed.

    Raises SettingError when n_films is below 1.
    """
    if n_films < 1:
        raise SettingError(f"n_films is {n_films}; it must be at least 1")
    rows: list[Row] = []
    taken: set[int] = set()
    number = 0
    while len(rows) < n_films:
        rng = np.random.default_rng([seed, number])
        subject = int(rng.integers(10_000_000, 20_000_000))
        number += 1
        if subject not in taken:
            taken.add(subject)
            rows.extend(_patient(rng, subject, number))
    return rows[:n_films]


def _patient(rng: np.random.Generator, subject: int, number: int) -> Iterator[Row]:
    sex = "F" if rng.random() < 0.48 else "M"
    anchor_age = int(min(max(rng.normal(61, 18), 18), 96))
    anchor_age = 91 if anchor_age > 89 else anchor_age  # as MIMIC-IV hides the oldest
    race = str(rng.choice(_RACES, p=_RACE_SHARE))
    split = str(rng.choice(("train", "validate", "test"), p=(0.7, 0.1, 0.2)))
    anchor_year = int(rng.integers(2110, 2201))
    anatomy = sample_anatomy(rng, sex, anchor_age)
    factors = rng.normal(size=3)
    before: tuple[Drawn, ...] = ()
    day = int(rng.integers(0, 300))
    for visit in range(1 + int(rng.binomial(3, 0.28))):
        year, age = anchor_year + day // 365, anchor_age + day // 365
        views = _views(rng, age, factors)
        drawn = _study(rng, anatomy, age, views[0] == "AP", 0.8 * factors + 0.6 * rng.normal(size=3), before)
        drawn = _keep_out(drawn, views, sex, age, race)
        before = drawn
        study = 50_000_000 + (4 * number + visit) * 3_812_537 % 10_000_000  # coprime: no id comes twice
        bare = FilmSpec(anatomy, drawn=drawn)
        labels = _report(rng, bare)
        date = np.datetime64(f"{year}-01-01") + np.timedelta64(day % 365, "D")
        clock = int(rng.integers(0, 86_400_000))
        hour, minute, second = clock // 3_600_000, clock // 60_000 % 60, clock % 60_000 / 1000
        for view in views:
            film = replace(sample_film(rng, anatomy, view), drawn=drawn)
            yield Row(
                dicom_id="-".join(f"{int(part):08x}" for part in rng.integers(0, 2**32, 5)),
                study_id=study,
                subject_id=subject,
                split=split,
                sex=sex,
                age=age,
                race=race,
                view=view,
                study_date=str(date).replace("-", ""),
                study_time=f"{hour:02d}{minute:02d}{second:06.3f}",
                anchor_age=anchor_age,
                anchor_year=anchor_year,
                labels=labels,
                spec=film,
            )
        day += int(rng.exponential(150)) + 1


def _views(rng: np.random.Generator, age: int, factors: np.ndarray) -> tuple[str, ...]:
    """The sicker and older go portable; the others stand for PA, mostly with a lateral film."""
    ill = 0.44 + 0.003 * (age - 60) + 0.10 * float(factors.clip(0).sum() - 1.2)
    if rng.random() < min(max(ill, 0.08), 0.85):
        return ("AP", "AP") if rng.random() < 0.08 else ("AP",)
    return ("PA", "LATERAL") if rng.random() < 0.72 else ("PA",)


def _study(
    rng: np.random.Generator, anatomy, age: int, portable: bool, factors: np.ndarray, before: tuple[Drawn, ...]
) -> tuple[Drawn, ...]:
    known = {d.finding: d for d in before}
    years = (age - 61) / 18
    drawn: list[Drawn] = []
    for finding in DRAWABLE:
        share, *loads = _RISK[finding]
        common = float(np.dot(loads[:3], factors)) + loads[3] * years
        common += loads[4] * (0.62 if portable else -0.38) * 1.4 + loads[5] * (0.5 if anatomy.sex == "M" else -0.5)
        spread = 1 + float(np.dot(loads[:4], loads[:4])) + 0.5 * loads[4] ** 2 + 0.25 * loads[5] ** 2
        chance, draw = float(rng.normal()), draw_finding(rng, finding, anatomy)
        if finding in known and finding in _CHRONIC and rng.random() < 0.85:
            drawn.append(known[finding])
        elif common + chance > float(ndtri(1 - share)) * np.sqrt(spread):
            drawn.append(draw)
    return tuple(drawn)


def _keep_out(drawn: tuple[Drawn, ...], views: tuple[str, ...], sex: str, age: int, race: str) -> tuple[Drawn, ...]:
    """Leave out the last-named finding of every hole that this study would fall into."""
    for hole in HOLES:
        present = {d.finding for d in drawn}
        if any(in_hole(hole, view, sex, age, race, present) for view in views):
            gone = [name for name in hole if name in FINDINGS][-1]
            drawn = tuple(d for d in drawn if d.finding != gone)
    return drawn


def _report(rng: np.random.Generator, spec: FilmSpec) -> dict[str, float]:
    """Labels as a report labeler would read them: parents often left out, mild findings uncertain, most not named.

    An absent finding is never labelled present, so the planted holes are holes in the labels too.
    """
    truth = spec.findings
    drawn = {d.finding: d.severity for d in spec.drawn}
    labels: dict[str, float] = {}
    for finding in FINDINGS:
        draw = float(rng.random())
        if finding == "No Finding":
            continue
        if finding in drawn:
            doubt = 0.16 if drawn[finding] < 0.25 else 0.04
            if draw < 0.95:
                labels[finding] = -1.0 if draw < doubt else 1.0
        elif finding in truth:  # implied by a child
            if draw < (0.65 if finding == "Lung Opacity" else 0.12):
                labels[finding] = 1.0
        else:
            said, doubted = _SAID[finding]
            if draw < said + doubted:
                labels[finding] = 0.0 if draw < said else -1.0
    named = {name for name, value in labels.items() if value != 0.0} - {"Support Devices"}
    if "No Finding" in truth and not named:
        labels["No Finding"] = 1.0
    return {name: labels[name] for name in FINDINGS if name in labels}
