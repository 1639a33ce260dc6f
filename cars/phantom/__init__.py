"""A parametric thorax: radiographs whose true counterfactual is known.

Each film is rendered by X-ray attenuation from a handful of numbers (`FilmSpec`), and each of the CheXpert findings can
be drawn on otherwise the same anatomy, exposure and noise. It is the library's demo data set and its yardstick for
edits: `render(without_finding(spec, f))` is what an ideal deletion of f would give. No patient is behind it.
"""

from cars.phantom.anatomy import Anatomy, sample_anatomy
from cars.phantom.findings import draw_finding
from cars.phantom.render import Film, render
from cars.phantom.spec import DRAWABLE, Drawn, FilmSpec, sample_film, with_finding, without_finding

__all__ = [
    "DRAWABLE",
    "Anatomy",
    "Drawn",
    "Film",
    "FilmSpec",
    "draw_finding",
    "render",
    "sample_anatomy",
    "sample_film",
    "with_finding",
    "without_finding",
]
