"""What a phantom film shows, as data: the patient, the exposure and the findings drawn on it.

A `FilmSpec` is the whole recipe of a film. `without_finding` takes a finding out of it and leaves patient, exposure and
noise alone, so rendering both gives a film and its true counterfactual.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace

import numpy as np

from cars.errors import SettingError
from cars.phantom.anatomy import Anatomy
from cars.schema import FINDINGS, HIERARCHY

VIEWS = ("PA", "AP", "LATERAL")
SIDES = ("left", "right", "both", "middle")

#: Finding → the parent label that it implies.
PARENTS = {child: parent for parent, children in HIERARCHY.items() for child in children}
DRAWABLE = tuple(name for name in FINDINGS if name != "No Finding")


@dataclass(frozen=True)
class Drawn:
    """One finding at a known place.

    u, v, z place it: u from the mediastinum (0) to the chest wall (1), v from the apex (0) to the diaphragm (1),
    z from front (0) to back (1). extent is in cm where the finding has a size, else a share of the lung.
    """

    finding: str  # one of the drawable CheXpert findings
    side: str  # "left", "right", "both" or "middle", of the patient
    severity: float  # 0 barely visible … 1 gross
    u: float = 0.5
    v: float = 0.5
    z: float = 0.5
    extent: float = 1.0
    aspect: float = 1.0  # height over width
    angle: float = 0.0  # radians, counter-clockwise on the film
    kind: str = ""  # a variety, for example "et tube+central line" or "plate"
    seed: int = 0

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict) -> Drawn:
        return cls(**record)


@dataclass(frozen=True)
class FilmSpec:
    """The recipe of one film. Equal specs render to equal films."""

    anatomy: Anatomy
    view: str = "PA"
    exposure: float = 0.0  # −1 light … 1 dark, 0 as metered
    contrast: float = 1.0  # slope of the film response, 0.8–1.25
    noise: float = 1.0  # quantum noise relative to a good film, 0–3
    noise_seed: int = 0
    texture_seed: int = 0
    rotation: float = 0.0  # sideways shift of the front against the back, cm, −1.5–1.5
    tilt: float = 0.0  # in-plane rotation of the patient, radians, −0.08–0.08
    inspiration: float = 1.0  # 0 poor … 1 full
    shift_x: float = 0.0  # patient against the detector, cm
    shift_y: float = 0.0
    field_cm: float = 40.0  # side of the square detector
    marker: str = "L"  # lead letter, "" for none
    drawn: tuple[Drawn, ...] = field(default_factory=tuple)

    @property
    def findings(self) -> frozenset[str]:
        """CheXpert names present, implied parents included, or {"No Finding"}; Support Devices may accompany that."""
        present = {d.finding for d in self.drawn}
        present |= {PARENTS[name] for name in present if name in PARENTS}
        if not present - {"Support Devices"}:
            present.add("No Finding")
        return frozenset(present)

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict | str) -> FilmSpec:
        record = dict(json.loads(record) if isinstance(record, str) else record)
        record["anatomy"] = Anatomy.from_json(record["anatomy"])
        record["drawn"] = tuple(Drawn.from_json(d) for d in record.get("drawn", ()))
        return cls(**{f.name: record[f.name] for f in fields(cls) if f.name in record})


def check(spec: FilmSpec) -> None:
    """Raise SettingError where the view, a finding or a side is not one the phantom knows."""
    if spec.view not in VIEWS:
        raise SettingError(f"view is {spec.view!r}; it must be one of {', '.join(VIEWS)}")
    for drawn in spec.drawn:
        if drawn.finding not in FINDINGS or drawn.finding == "No Finding":
            raise SettingError(f"cannot draw {drawn.finding!r}; drawable are {', '.join(DRAWABLE)}")
        if drawn.side not in SIDES:
            raise SettingError(f"side is {drawn.side!r}; it must be one of {', '.join(SIDES)}")


def with_finding(spec: FilmSpec, drawn: Drawn) -> FilmSpec:
    """The same film with one finding more; one of the same name is replaced."""
    return replace(spec, drawn=(*(d for d in spec.drawn if d.finding != drawn.finding), drawn))


def without_finding(spec: FilmSpec, finding: str) -> FilmSpec:
    """The same film without a finding: the true counterfactual. Children of a parent label go with it.

    Taking out "Lung Opacity" takes out every opacity, since each implies it; likewise "Enlarged Cardiomediastinum".
    """
    gone = {finding} | {child for child, parent in PARENTS.items() if parent == finding}
    return replace(spec, drawn=tuple(d for d in spec.drawn if d.finding not in gone))


def sample_film(rng: np.random.Generator, anatomy: Anatomy, view: str) -> FilmSpec:
    """A plausible exposure of this patient, without findings. AP films are portable.

    Portable films are worse placed, taken in shallower breath and noisier.
    """
    if view not in VIEWS:
        raise SettingError(f"view is {view!r}; it must be one of {', '.join(VIEWS)}")
    bedside = view == "AP"
    wide = 0.88 if view == "LATERAL" else 1.0

    def normal(mean: float, sd: float, low: float, high: float) -> float:
        return round(min(max(float(rng.normal(mean, sd)), low), high), 4)

    return FilmSpec(
        anatomy=anatomy,
        view=view,
        exposure=normal(0.0, 0.38 if bedside else 0.22, -1, 1),
        contrast=normal(0.97 if bedside else 1.03, 0.07, 0.8, 1.25),
        noise=normal(1.5 if bedside else 0.9, 0.3, 0.4, 3.0),
        noise_seed=int(rng.integers(2**31)),
        texture_seed=int(rng.integers(2**31)),
        rotation=normal(0.0, 0.55 if bedside else 0.25, -1.5, 1.5),
        tilt=normal(0.0, 0.03 if bedside else 0.012, -0.08, 0.08),
        inspiration=normal(0.40 if bedside else 0.85, 0.17 if bedside else 0.12, 0.0, 1.0),
        shift_x=normal(0.0, 0.9 if bedside else 0.4, -2.2, 2.2),
        shift_y=normal(0.0, 0.9 if bedside else 0.5, -2.0, 2.0),
        field_cm=normal(wide * (38.5 + 4.0 * anatomy.habitus - 1.5 * (anatomy.sex == "F")), 0.8, 31.0, 44.0),
        marker=str(rng.choice(["L", "L", "R", ""])) if view != "LATERAL" else str(rng.choice(["L", "L", ""])),
    )
