"""Small networks, and where the weights that come with CARS lie. The networks import torch; this module does not."""

from __future__ import annotations

from pathlib import Path

from ..errors import MissingDependency


def packaged(name: str) -> Path:
    """The folder of packaged weights: data/weights/<name> in a checkout, cars/packaged/<name> in a wheel.

    Raises: MissingDependency when neither is there.
    """
    here = Path(__file__).resolve()
    for root in (here.parents[2] / "data" / "weights", here.parents[1] / "packaged"):
        if (root / name / "config.json").is_file():
            return root / name
    raise MissingDependency(
        f"The packaged weights {name!r} are not there.", "Check out data/weights again, or reinstall CARS."
    )
