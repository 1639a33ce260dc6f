"""The phantom: films computed from a parametric thorax, in MIMIC-CXR-JPG's layout and read by the same code.

SOURCE says how many to make, for example "n=1500,seed=0,size=256" (what is left out takes these values; they are
written into the workspace), or is a folder that `cars.phantom.tree.write_tree` wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError, SettingError
from ..progress import Progress, part_of, silent
from ..workspace import Workspace
from . import DATASETS, Batch
from .mimic_cxr_jpg import MimicCxrJpg

DEFAULTS = {"n": 1500, "seed": 0, "size": 256}


def parse(source: str) -> dict[str, int]:
    """ "n=600,seed=3" → {"n": 600, "seed": 3, "size": 256}. Raises: SettingError that quotes the part at fault."""
    values = dict(DEFAULTS)
    for part in filter(None, (piece.strip() for piece in source.split(","))):
        name, _, text = part.partition("=")
        if name.strip() not in DEFAULTS or not text.strip().isdecimal():
            raise SettingError(f"{part!r} is no setting of the phantom.", "Write for example n=1500,seed=0,size=256.")
        values[name.strip()] = int(text)
    return values


def _is_recipe(source: str) -> bool:
    """Whether SOURCE says what to make; otherwise it is a folder."""
    return not source or source.split("=")[0].strip() in DEFAULTS


def tree_of(source: str, workspace: Workspace) -> Path:
    """Where the films of SOURCE lie or will lie. Raises: SettingError, DataError (a folder that is no phantom tree)."""
    if _is_recipe(source):
        return workspace.path / "source" / "phantom-n{n}-seed{seed}-size{size}".format(**parse(source))
    root = Path(source).expanduser().absolute()
    if not (root / "phantom.json").exists():
        raise DataError(
            f"{root} holds no phantom tree: there is no phantom.json.",
            "Write n=1500,seed=0,size=256 to make one, or use the adapter of the data set that lies there.",
        )
    return root


@DATASETS.register("phantom")
class Phantom(MimicCxrJpg):
    """CARS phantom: rendered radiographs of made-up persons, with labels that carry report-like noise.

    Licence: that of CARS. Access: computed on this machine, no download. Citation: CARS. No person is shown, and
    nothing made from it is patient-derived.
    """

    licence = "As CARS itself."
    terms = "Computed from a parametric thorax: no patient is behind any film, date or label. Not for clinical use."
    citation = "CARS phantom (cars.phantom of this software)."
    patient_derived = False
    options = ("limit", "workers", "reports")
    name = "phantom"

    def files(self, source: str, workspace: Workspace, **options: Any) -> list[Path]:
        root = tree_of(source, workspace)
        return [*super().files(str(root), workspace), root / "phantom.json", root / "truth.jsonl.gz"]

    def read(self, source: str, workspace: Workspace, progress: Progress = silent, **options: Any) -> Iterator[Batch]:
        """See Adapter.read. Options: limit; reports; workers, that draw films. Drawing goes on where it was stopped."""
        root = tree_of(source, workspace)
        drawing, reading = part_of(progress, 0.0, 0.95), part_of(progress, 0.95, 1.0)
        if _is_recipe(source):
            from ..engines.local import default_workers
            from ..phantom.tree import write_tree

            values = parse(source)
            workers = options.get("workers") or default_workers()
            write_tree(root, values["n"], values["seed"], values["size"], workers=workers, progress=drawing)
        rest = {name: options.get(name) for name in ("limit", "reports")}
        yield from super().read(str(root), workspace, reading, **rest)
