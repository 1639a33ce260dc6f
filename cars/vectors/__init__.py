"""Sets of feature vectors: nearest neighbours, how two sets cover each other, how far apart and how diverse they are.

Pure functions, arrays in, no workspace; coverage, synthesis and evaluation may all use them. `Vectors` is whatever
has `shape` (N, D), `len` and gives rows by slice or by an integer array: a NumPy array, or a view of arrays on disk.
Rows are read block by block as float32, so memory does not grow with N · D.
"""

from .fid import Drawn, drawn, frechet, kernel_distance
from .neighbours import Exact, Inverted, Vectors, knn
from .patches import Patches
from .prdc import Relation, expected_coverage, prdc, relate
from .vendi import spectrum, vendi, vendi_of

__all__ = [
    "Drawn",
    "Exact",
    "Inverted",
    "Patches",
    "Relation",
    "Vectors",
    "drawn",
    "expected_coverage",
    "frechet",
    "kernel_distance",
    "knn",
    "prdc",
    "relate",
    "spectrum",
    "vendi",
    "vendi_of",
]
