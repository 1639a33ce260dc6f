"""The settings of `export`; cheap to import."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import setting


@dataclass(frozen=True)
class ExportSettings:
    """What goes into the zip."""

    out: str | None = setting(None, "Where to write the zip; a name from its content in exports/ where none is given.")
    films: str = setting(
        "all",
        "Which films: all (real ones on disk, and accepted edits), synthetic (accepted edits), none (tables only).",
        choices=("all", "synthetic", "none"),
    )
    lossless: bool = setting(True, "Add each synthetic film as PNG, pixel for pixel, with its region of interest.")
    suppress_below: int = setting(0, "In counts.csv, write non-zero counts below this as '<n'.", minimum=0)
    max_gib: float = setting(20.0, "Refuse to copy more film files than this, in GiB.", minimum=0.0)
