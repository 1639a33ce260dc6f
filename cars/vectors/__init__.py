"""Sets of feature vectors: nearest neighbours, how two sets cover each other, and how diverse one is.

Pure functions, arrays in, no workspace; coverage, synthesis and evaluation may all use them. `Vectors` is whatever
has `shape` (N, D), `len` and gives rows by slice or by an integer array: a NumPy array, or a view of arrays on disk.
Rows are read block by block as float32, so memory does not grow with N · D.
"""

from .neighbours import Exact, Inverted, Vectors, knn
from .prdc import Relation, expected_coverage, prdc, relate
from .vendi import spectrum, vendi, vendi_of

__all__ = [
    "Exact",
    "Inverted",
    "Relation",
    "Vectors",
    "expected_coverage",
    "knn",
    "prdc",
    "relate",
    "spectrum",
    "vendi",
    "vendi_of",
]
