"""One patient's thorax as numbers.

Lengths are centimetres in the patient's frame: x grows towards the patient's left (which is the image's right on a
frontal film), y grows downwards, and the origin is the middle of the field. Nothing here depends on the view, the
exposure or a finding, so two films with the same `Anatomy` show the same person.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

import numpy as np

from cars.errors import SettingError


@dataclass(frozen=True)
class Anatomy:
    """All continuous parameters of one patient. Lengths in cm, angles in radians, shares in [0, 1]."""

    sex: str  # "F" or "M"
    age: int  # years
    habitus: float  # 0 slim … 1 obese
    thorax_width: float  # inner width at the widest rib level, 24–32
    lung_height: float  # apex to right dome at full inspiration, 19–25
    lung_depth: float  # front to back inside the ribs, 11–16
    wall: float  # soft tissue in front of plus behind the lungs, 5–13
    breast: float  # thickness of one breast, 0–5
    breast_y: float  # height of its centre
    ctr: float  # cardiothoracic ratio without disease, PA, 0.375–0.455
    heart_tilt: float  # long axis below the horizontal
    heart_depth: float  # chord of the heart along the beam, 8–11
    mediastinum: float  # half width of the upper mediastinum, 2.2–3.2
    knob: float  # radius of the aortic knob, 1.4–2.4
    unfolding: float  # 0 straight aorta … 1 unfolded
    calcification: float  # 0 none … 1 rim of the knob calcified
    bone: float  # bone mineral relative to a young adult, 0.6–1.1
    rib_drop: float  # how far a rib descends from spine to front, 6–9
    rib_pitch: float  # spacing of the posterior ribs, 1.85–2.35
    rib_width: float  # height of a rib, 0.9–1.3
    clavicle_rise: float  # lateral end above the medial end, 0.5–3
    scoliosis: float  # sideways bend of the spine, −1.2–1.2
    kyphosis: float  # forward bend seen on the lateral film, 0–1
    dome_gap: float  # right dome above the left dome, 0.2–1.8
    dome_curve: float  # fall of a dome from its top to the costophrenic angle, 3–5
    hilum: float  # relative calibre of the pulmonary vessels, 0.8–1.25
    gas: float  # gas in the stomach's fundus, 0–1
    vessel_seed: int  # seeds the branching of the pulmonary vessels

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict | str) -> Anatomy:
        record = json.loads(record) if isinstance(record, str) else record
        return cls(**{f.name: record[f.name] for f in fields(cls)})


def sample_anatomy(rng: np.random.Generator, sex: str, age: int) -> Anatomy:
    """A plausible patient of this sex ("F" or "M") and age in years (18–91).

    Women get a narrower thorax and breast shadows; age lowers bone density and lung height, unfolds and calcifies
    the aorta and bends the spine.
    """
    if sex not in ("F", "M"):
        raise SettingError(f"sex is {sex!r}; it must be 'F' or 'M'")
    if not 0 <= age <= 120:
        raise SettingError(f"age is {age!r}; it must lie between 0 and 120 years")
    woman = sex == "F"
    old = float(np.clip((age - 45) / 45, 0, 1))

    def normal(mean: float, sd: float, low: float, high: float) -> float:
        return round(min(max(float(rng.normal(mean, sd)), low), high), 4)

    habitus = normal(0.42 + 0.08 * (0.2 < old < 0.8), 0.22, 0.0, 1.0)
    return Anatomy(
        sex=sex,
        age=int(age),
        habitus=habitus,
        thorax_width=normal(26.2 if woman else 29.0, 1.1, 23.5, 31.5),
        lung_height=normal((21.0 if woman else 22.8) - 0.9 * old, 1.0, 18.5, 25.5),
        lung_depth=normal((12.0 if woman else 13.6) + 0.8 * old, 0.7, 10.5, 16.0),
        wall=normal((5.6 if woman else 6.4) + 5.2 * habitus, 0.5, 4.8, 13.0),
        breast=normal(1.6 + 2.8 * habitus, 0.6, 0.8, 5.0) if woman else 0.0,
        breast_y=normal(4.6 + 1.6 * old, 0.8, 3.0, 8.0),
        ctr=normal(0.420 + 0.015 * old + 0.015 * habitus, 0.018, 0.375, 0.455),
        heart_tilt=normal(0.62 - 0.25 * habitus, 0.08, 0.3, 0.9),
        heart_depth=normal(9.0, 0.5, 7.8, 10.6),
        mediastinum=normal(2.45 + 0.3 * old + 0.2 * habitus, 0.16, 2.1, 3.2),
        knob=normal(1.55 + 0.5 * old, 0.13, 1.3, 2.4),
        unfolding=normal(0.1 + 0.7 * old, 0.15, 0.0, 1.0),
        calcification=normal(-0.2 + 1.0 * old, 0.25, 0.0, 1.0),
        bone=normal(1.0 - (0.30 if woman else 0.18) * old, 0.06, 0.58, 1.12),
        rib_drop=normal(7.4 + 0.5 * old, 0.5, 6.0, 9.2),
        rib_pitch=normal(2.02 if woman else 2.15, 0.07, 1.8, 2.4),
        rib_width=normal(1.0 if woman else 1.15, 0.07, 0.85, 1.35),
        clavicle_rise=normal(1.8, 0.6, 0.4, 3.2),
        scoliosis=normal(0.0, 0.25 + 0.3 * old, -1.2, 1.2),
        kyphosis=normal(0.2 + 0.5 * old, 0.15, 0.0, 1.0),
        dome_gap=normal(1.0, 0.35, 0.1, 1.9),
        dome_curve=normal(4.0 - 0.5 * old, 0.4, 2.8, 5.2),
        hilum=normal(1.0, 0.09, 0.78, 1.25),
        gas=normal(0.5, 0.3, 0.0, 1.0),
        vessel_seed=int(rng.integers(2**31)),
    )
