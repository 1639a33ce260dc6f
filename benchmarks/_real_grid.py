"""Pictures of edits: one success and one failure of each finding, drawn by a seed from all there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cars.imaging import square
from cars.plots.base import ORANGE, SKY
from cars.workspace import atomic_write

TILE, LABEL, GAP = 128, 26, 6
PANELS = ("source, ROI", "edit", "sham", "difference")
#: A difference of so many grey levels is drawn black or white; none is mid-grey.
FULL = 64.0


def chosen(made: list[Any], passed: bool, seed: int) -> Any | None:
    """One of the edits that were made and passed (or failed) their gates, by seed; None where there is none."""
    fitting = [m for m in made if m.outcome.error is None and m.outcome.passed == passed]
    return fitting[int(np.random.default_rng([seed, passed]).integers(len(fitting)))] if fitting else None


def panels(m: Any) -> list[np.ndarray]:
    """Source with its ROI's outline, edit, sham and difference: uint8 (TILE, TILE, 3) each."""
    o = m.outcome
    change = o.edited.astype(np.float32) - m.source.film
    difference = np.clip(127.5 + change * (127.5 / FULL), 0, 255).astype(np.uint8)
    films = [square(f, TILE) for f in (m.source.film, o.edited, o.sham, difference)]
    coloured = [np.repeat(f[:, :, None], 3, axis=2) for f in films]
    roi = square(o.roi.astype(np.uint8) * 255, TILE) >= 128
    inner = roi & np.roll(roi, 1, 0) & np.roll(roi, -1, 0) & np.roll(roi, 1, 1) & np.roll(roi, -1, 1)
    coloured[0][roi & ~inner] = [int(ORANGE[k : k + 2], 16) for k in (1, 3, 5)]
    return coloured


def save_grid(path: Path, made: list[Any], seed: int) -> None:
    """A row a finding: on the left an edit that passed all gates, on the right one that did not and what it failed."""
    findings = list(dict.fromkeys(m.finding for m in made))
    width, height = 8 * TILE + GAP, len(findings) * (TILE + LABEL) + LABEL
    sheet = Image.new("RGB", (width, height), "black")
    pen = ImageDraw.Draw(sheet)
    for side, title in enumerate(("through all gates", "failed")):
        left = side * (4 * TILE + GAP)
        pen.text((left + 4, 6), f"{title}:  " + "  |  ".join(PANELS), fill=SKY, font_size=13)
        for n, finding in enumerate(findings):
            own = [m for m in made if m.finding == finding]
            m, top = chosen(own, side == 0, seed), LABEL + n * (TILE + LABEL)
            count = sum(m.outcome.error is None and m.outcome.passed == (side == 0) for m in own)
            total = sum(m.outcome.error is None for m in own)
            words = f"{own[0].direction} {finding}: {count} of {total}"
            if m is None:
                pen.text((left + 4, top + 6), words, fill="white", font_size=13)
                continue
            gates = sorted({g.gate for g in m.outcome.gates if g.passed is False})
            if gates:
                words += f"; this one: {', '.join(gates)}"
            pen.text((left + 4, top + 6), words, fill="white", font_size=13)
            for k, panel in enumerate(panels(m)):
                sheet.paste(Image.fromarray(panel), (left + k * TILE, top + LABEL))
    with atomic_write(path) as stream:
        sheet.save(stream, "PNG" if path.suffix.lower() == ".png" else "JPEG", quality=85)
