"""Films as pages show them: small JPEGs, captions in words, and an edit beside its source, difference and ROI."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from . import schema
from .errors import DataError
from .imaging import decode
from .workspace import Workspace

#: Longer side of a thumbnail in pixels.
SIDE = 256
#: A change of this many grey levels or more gets the full colour, so that a faint edit does not look strong.
LEAST_SCALE = 24.0
#: No change: pale, but not the white of a page.
SAME = 236.0
BRIGHTER, DARKER = np.array([213, 94, 0], np.float32), np.array([0, 114, 178], np.float32)


@dataclass(frozen=True)
class EditPictures:
    """JPEG bytes of one edit. `largest`: the strongest change in grey levels (0 to 255). `share`: of changed pixels."""

    source: bytes
    edited: bytes
    difference: bytes
    roi: bytes
    largest: int
    share: float


def jpeg(image: np.ndarray, side: int = SIDE, quality: int = 85) -> bytes:
    """A uint8 image (H, W) or (H, W, 3) as JPEG, its longer side at most `side`."""
    picture = Image.fromarray(image)
    picture.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=2.0)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def thumbnail(path: Path | str, side: int = SIDE) -> bytes:
    """A film's file as a small JPEG. Raises: FilmError when it cannot be decoded."""
    return jpeg(decode(path, at_least=side), side)


@cache
def no_film(side: int = SIDE) -> bytes:
    """A pale square with a line through it, JPEG: it stands for a film whose file is not there."""
    picture = Image.new("L", (side, side), 232)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, side - 1, side - 1), outline=200, width=2)
    pen.line((0, side, side, 0), fill=212, width=2)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def edit_pictures(source: Path | str, edited: Path | str, roi: Path | str, side: int = SIDE) -> EditPictures:
    """An edit's four pictures.

    The difference is edited − source: orange where brighter, blue where darker, full colour at the strongest change.
    The ROI is drawn as a line on the edited film. Raises: FilmError; DataError when the sizes disagree.
    """
    before, after = decode(source), decode(edited)
    with Image.open(roi) as opened:
        region = np.asarray(opened.convert("L")) > 0
    if not before.shape == after.shape == region.shape:
        raise DataError(
            f"The edit {Path(edited).name} has size {after.shape}, its source {before.shape}, its ROI {region.shape}.",
            "The source file has changed since; run `cars synth` again.",
        )
    change = after.astype(np.int16) - before
    largest = int(np.abs(change).max())
    line = outlined(after, region, max(after.shape) / side)
    return EditPictures(
        source=jpeg(before, side), edited=jpeg(after, side), difference=jpeg(coloured(change), side),
        roi=jpeg(line, side), largest=largest, share=float((change != 0).mean()),
    )  # fmt: skip


def coloured(change: np.ndarray) -> np.ndarray:
    """A change in grey levels (H, W) → (H, W, 3) uint8: pale grey is none, orange brighter, blue darker."""
    strength = np.clip(np.abs(change) / max(LEAST_SCALE, float(np.abs(change).max(initial=0))), 0, 1)[..., None]
    target = np.where((change > 0)[..., None], BRIGHTER, DARKER)
    return (SAME + strength * (target - SAME) + 0.5).astype(np.uint8)


def outlined(image: np.ndarray, region: np.ndarray, width: float = 1.0) -> np.ndarray:
    """A film (H, W) with the border of a region (H, W) bool drawn in orange, about `width` pixels wide."""
    radius = max(1, round(width))
    padded = np.pad(region, radius)
    height, columns = region.shape
    inner = region.copy()
    for down, right in ((0, radius), (2 * radius, radius), (radius, 0), (radius, 2 * radius)):
        inner &= padded[down : down + height, right : right + columns]
    result = np.repeat(image[..., None], 3, axis=2)
    result[region & ~inner] = (230, 159, 0)
    return result


def limits(low: float, high: float) -> str:
    """What a gate allows, in a few signs: "≥ 0.59", "≤ 0.02", "0.1 to 0.9"; "" when it only records."""
    below, above = np.isfinite(low), np.isfinite(high)
    if below and above:
        return f"{low:.3g} to {high:.3g}"
    return f"≥ {low:.3g}" if below else f"≤ {high:.3g}" if above else ""


def deciding(gates: pd.DataFrame) -> list[tuple[str, bool | None, str]]:
    """(gate, whether it passed, the number that decides) for each gate of one edit, in the order of the rows.

    gates: gate, measure, value, low, high, passed (null where nothing was decided; a gate of such rows only is None).
    The deciding number is the one nearest to its limit, or furthest beyond it; measures without a limit decide
    nothing, nor does the source film's probability unless it fails.
    """
    found = []
    for gate in dict.fromkeys(gates["gate"]):
        rows = gates[gates["gate"] == gate].to_dict("records")
        decided = [bool(r["passed"]) for r in rows if not pd.isna(r["passed"])]
        edited = [r for r in rows if r["passed"] is False or not str(r["measure"]).endswith(" before")] or rows
        measured = [r for r in edited if not np.isnan(r["value"])] or edited
        row = min(measured, key=lambda r: min(r["value"] - r["low"], r["high"] - r["value"]))
        number = "" if np.isnan(row["value"]) else f" {row['value']:.2f}"
        limit = limits(row["low"], row["high"])
        text = f"{row['measure']}{number}" + (f" ({limit})" if limit else "")
        found.append((str(gate), all(decided) if decided else None, text))
    return found


def cards(workspace: Workspace, ids: list[str]) -> pd.DataFrame:
    """dicom_id, path (absolute; None where there is no film), caption, origin of films, real or synthetic, in the order
    of `ids`; ids that are not there are left out."""
    with workspace.connect() as connection:
        found = workspace.query("browse/films", connection, ids=ids)
        if workspace.has("edits"):
            edits = workspace.query("browse/edits", connection, ids=ids)
            edits["path"] = [str(workspace.path / path) for path in edits["path"]]
            found = pd.concat([found, edits], ignore_index=True) if len(edits) else found
    found["path"] = [path if isinstance(path, str) and path else None for path in found["path"]]
    found["caption"] = [caption(row) for row in found.to_dict("records")]
    order = {dicom_id: n for n, dicom_id in enumerate(ids)}
    found = found.sort_values("dicom_id", key=lambda column: column.map(order), ignore_index=True)
    return found[["dicom_id", "path", "caption", "origin"]]


def caption(row: Mapping[Any, Any]) -> str:
    """A film in a few words: "synthetic · PA · F · 63 · train · Edema, Pleural Effusion"."""
    findings = [finding for finding, column in schema.COLUMN_OF.items() if row[column] == schema.PRESENT]
    age = row["age"]
    years = f"{age:.0f}" if age is not None and age == age else ""
    words = [row["view"], row["sex"], years, row["split"], ", ".join(findings) or "no finding labelled"]
    if row["origin"] == "synthetic":
        words.insert(0, "synthetic")
    return " · ".join(str(word) for word in words if word and word != "unknown")
