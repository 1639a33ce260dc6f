"""The embedded demo: a tree of synthetic phantom films that `cars.phantom.tree.write_tree` wrote.

It lies on disk as MIMIC-CXR-JPG does and is read by the same code; only its terms differ: no patient is behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..progress import Progress, silent
from ..workspace import Workspace
from . import DATASETS, Batch
from .mimic_cxr_jpg import MimicCxrJpg


@DATASETS.register("phantom")
class Phantom(MimicCxrJpg):
    """CARS phantom: radiographs computed from a parametric thorax, with labels that carry report-like noise.

    Licence and access: as CARS itself; no person is shown, and nothing is patient-derived.
    """

    licence = "As CARS itself."
    terms = "Synthetic: computed from a parametric thorax. No patient is behind any film, date or label."
    citation = "CARS phantom, cars.phantom of this software."
    patient_derived = False
    options = ("limit",)
    name = "phantom"

    def files(self, source: str, workspace: Workspace, **options: Any) -> list[Path]:
        root = _check(source)
        return [*super().files(source, workspace), root / "phantom.json", root / "truth.jsonl.gz"]

    def read(self, source: str, workspace: Workspace, progress: Progress = silent, **options: Any) -> Iterator[Batch]:
        """See Adapter.read. Options: limit."""
        _check(source)
        yield from super().read(source, workspace, progress, **options)


def _check(source: str) -> Path:
    root = Path(source)
    if not (root / "phantom.json").exists():
        raise DataError(
            f"{root} holds no phantom tree: there is no phantom.json.",
            "Write one with cars.phantom.tree.write_tree, or use the adapter of the data set that lies there.",
        )
    return root
