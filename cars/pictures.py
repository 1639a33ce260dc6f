"""Films as pages show them: small JPEGs, captions in words, and an edit with difference, ROI and outlines."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from . import schema
from .errors import DataError
from .imaging import Placement, decode
from .workspace import Workspace

#: Longer side of a thumbnail in pixels.
SIDE = 256
#: A change of this many grey levels or more gets the full colour, so that a faint edit does not look strong.
LEAST_SCALE = 24.0
BRIGHTER, DARKER = np.array([213, 94, 0], np.float32), np.array([0, 114, 178], np.float32)


#: Lines over a film: the region of interest, lungs, heart.
REGION, LUNGS, HEART = (240, 228, 66), (86, 180, 233), (204, 121, 167)


@dataclass(frozen=True)
class Layers:
    """One edit as pictures that lie on each other, all `columns` × `rows` pixels large.

    source, edited: JPEG. difference, region: PNG, transparent where there is nothing to see. outlines_before,
    outlines_after: PNG of the lungs' and heart's borders, or None. largest: the strongest change in grey levels
    (0 to 255). share: of changed pixels. film_rows, film_columns: the film's own size.
    """

    source: bytes
    edited: bytes
    difference: bytes
    region: bytes
    rows: int
    columns: int
    film_rows: int
    film_columns: int
    largest: int
    share: float
    outlines_before: bytes | None = None
    outlines_after: bytes | None = None


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


def read_edit(source: Path | str, edited: Path | str, roi: Path | str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The stored films of an edit: source and edit uint8 (H, W), ROI bool (H, W).

    Raises: FilmError for a file that cannot be read, DataError when the sizes disagree.
    """
    before, after = decode(source), decode(edited)
    with Image.open(roi) as opened:
        region = np.asarray(opened.convert("L")) > 0
    if not before.shape == after.shape == region.shape:
        raise DataError(
            f"The edit {Path(edited).name} has size {after.shape}, its source {before.shape}, its ROI {region.shape}.",
            "The source file has changed since; run `cars synth` again.",
        )
    return before, after, region


def layers(
    source: np.ndarray, edited: np.ndarray, region: np.ndarray, side: int | None = 1024,
    outlines: tuple[np.ndarray, np.ndarray] | None = None,
) -> Layers:  # fmt: skip
    """An edit's pictures, to be laid on each other.

    Args:
        source, edited: uint8 (H, W). region: bool (H, W).
        side: their longer side in pixels is at most this; None: the film's own size. A film is never enlarged.
        outlines: bool (3, S, S) of source and edit on the padded square: left lung, right lung, heart.
    """
    change = edited.astype(np.int16) - source
    height, width = source.shape
    scale = min(1.0, side / max(height, width)) if side else 1.0
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    # a line of two pixels in the picture, whatever the film's size
    thick = 2 / scale
    lines = [_png(outline_layer(masks, height, width, thick), rows, columns) for masks in outlines or ()]
    before, after = lines or (None, None)
    longer = max(rows, columns)
    return Layers(
        source=jpeg(source, longer, 92), edited=jpeg(edited, longer, 92),
        difference=_png(difference_layer(change), rows, columns),
        region=_png(lined([(region, REGION)], thick), rows, columns), rows=rows, columns=columns,
        film_rows=height, film_columns=width, largest=int(np.abs(change).max(initial=0)),
        share=float((change != 0).mean()), outlines_before=before, outlines_after=after,
    )  # fmt: skip


def difference_layer(change: np.ndarray) -> np.ndarray:
    """A change in grey levels (H, W) → (H, W, 4) uint8: orange brighter, blue darker, the more opaque the stronger."""
    strength = np.clip(np.abs(change) / max(LEAST_SCALE, float(np.abs(change).max(initial=0))), 0, 1)
    colour = np.where((change > 0)[..., None], BRIGHTER, DARKER)
    return np.concatenate([colour, 255 * strength[..., None]], axis=2).round().astype(np.uint8)


def outline_layer(masks: np.ndarray, height: int, width: int, thick: float = 1.0) -> np.ndarray:
    """Outlines on the padded square, bool (3, S, S), as lines on a film of this size: (height, width, 4) uint8."""
    place = Placement(height, width, masks.shape[1])
    left, right, heart = (place.to_original(mask) for mask in masks)
    return lined([(left, LUNGS), (right, LUNGS), (heart, HEART)], thick)


def lined(regions: Sequence[tuple[np.ndarray, tuple[int, int, int]]], thick: float = 1.0) -> np.ndarray:
    """The inner borders of regions, bool (H, W), in their colours, about `thick` pixels wide; (H, W, 4) uint8."""
    radius = max(1, round(thick))
    drawn = np.zeros((*regions[0][0].shape, 4), np.uint8)
    for region, colour in regions:
        padded = np.pad(region, radius)
        height, columns = region.shape
        inner = region.copy()
        for down, right in ((0, radius), (2 * radius, radius), (radius, 0), (radius, 2 * radius)):
            inner &= padded[down : down + height, right : right + columns]
        drawn[region & ~inner] = (*colour, 255)
    return drawn


def _png(image: np.ndarray, rows: int, columns: int) -> bytes:
    """(H, W, 4) uint8 as PNG of this size; averaged with premultiplied alpha, so that colours do not bleed."""
    picture = Image.fromarray(image)
    if picture.size != (columns, rows):
        picture = picture.convert("RGBa").resize((columns, rows), Image.Resampling.BOX).convert("RGBA")
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=3)
    return stream.getvalue()


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


def numbers(gates: pd.DataFrame) -> pd.DataFrame:
    """All measures of one edit's gates for people: gate, measure, value, allowed, result, in the order of the rows.

    gates: as `deciding` takes them. result: "✓ passed", "✗ failed", or "– not asked" where nothing was decided; value
    is NaN where nothing was measured.
    """
    results = ["– not asked" if pd.isna(p) else "✓ passed" if p else "✗ failed" for p in gates["passed"]]
    allowed = [limits(low, high) or "any" for low, high in zip(gates["low"], gates["high"], strict=True)]
    found = gates[["gate", "measure", "value"]].reset_index(drop=True)
    return found.assign(allowed=allowed, result=results)


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
