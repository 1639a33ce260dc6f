"""The loss plot of a run, drawn without a browser: loss against steps, and below it the judge's flips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from PIL import Image, ImageDraw

#: Colours of cars/plots/base.py, which draws for the pages and lies a level higher.
BLUE, ORANGE, INK, GREY, PAPER = (0, 114, 178), (230, 159, 0), (31, 41, 51), (138, 143, 152), (255, 255, 255)
WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 760, 190, 70, 190, 30, 44


class Panel:
    """A plot area on a picture; `low`, `high` are the values at its edges, on a logarithmic axis where `log`."""

    def __init__(self, pen: Any, top: int, steps: int, low: float, high: float, log: bool = False) -> None:
        self.pen, self.top, self.steps, self.log = pen, top, max(steps, 1), log
        self.low, self.high = (math.log10(low), math.log10(high)) if log else (low, high)

    def at(self, step: float, value: float) -> tuple[float, float]:
        """Pixel of a step and a value."""
        value = math.log10(value) if self.log else value
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return LEFT + (WIDTH - LEFT - RIGHT) * step / self.steps, self.top + PANEL * (1 - share)

    def frame(self, title: str, ticks: Sequence[float]) -> None:
        """Title, grid lines with their values, and the steps below."""
        self.pen.text((LEFT, self.top - 16), title, fill=INK)
        for value in ticks:
            x, y = self.at(0, value)
            self.pen.line([(x, y), (WIDTH - RIGHT, y)], fill=(228, 231, 235))
            self.pen.text((4, y - 6), f"{value:.3g}", fill=INK)
        for k in range(5):
            step = self.steps * k / 4
            x = self.at(step, 10**self.low if self.log else self.low)[0]
            self.pen.text((x - 8, self.top + PANEL + 4), f"{step:,.0f}", fill=INK)
        self.pen.rectangle([LEFT, self.top, WIDTH - RIGHT, self.top + PANEL], outline=GREY)

    def curve(self, points: Sequence[tuple[float, float]], colour: tuple[int, int, int], dashed: bool = False) -> None:
        """A line through (step, value); dashed lines mark their points with hollow squares."""
        at = [self.at(step, value) for step, value in points]
        for k, (start, end) in enumerate(pairwise(at)):
            if not dashed or k % 2 == 0:
                self.pen.line([start, end], fill=colour, width=2)
        if len(at) < 60:
            for x, y in at:
                self.pen.rectangle([x - 2, y - 2, x + 2, y + 2], outline=colour, fill=PAPER if dashed else colour)


def draw_curves(losses: Sequence[tuple[int, float]], rounds: Sequence[dict[str, Any]]) -> Image.Image:
    """Loss on a logarithmic axis; below, for insertions and deletions, the judge's flips, and dashed their shams'.

    losses: (step, mean loss since the last). rounds: rows of flips.csv. Without any, the panel says so.
    """
    picture = Image.new("RGB", (WIDTH, TOP + 2 * PANEL + 2 * GAP), PAPER)
    pen = ImageDraw.Draw(picture)
    shown = [(step, loss) for step, loss in losses if loss > 0 and math.isfinite(loss)]
    steps = max([s for s, _ in shown] + [r["step"] for r in rounds], default=1)
    low, high = (min(v for _, v in shown), max(v for _, v in shown)) if shown else (0.01, 1.0)
    low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high) + 1e-9)
    panel = Panel(pen, TOP, steps, low, high, log=True)
    count = round(math.log10(high / low))
    panel.frame("loss, mean of the steps since the last point" if shown else "loss: nothing noted yet",
                [low * 10**k for k in range(count + 1)])  # fmt: skip
    panel.curve(shown, BLUE)
    panel = Panel(pen, TOP + PANEL + GAP, steps, 0.0, 1.0)
    panel.frame(
        "share of fixed edits that the judge sees" if rounds else "judge: no round yet", [0, 0.25, 0.5, 0.75, 1]
    )
    for k, (direction, colour) in enumerate((("insert", BLUE), ("delete", ORANGE))):
        rows = [r for r in rounds if r["direction"] == direction]
        for j, (name, words, dashed) in enumerate((("flips", "", False), ("sham_flips", ", sham", True))):
            panel.curve([(r["step"], r[name]) for r in rows], colour, dashed)
            if rows:
                y = panel.top + 8 + 18 * (2 * k + j)
                x = WIDTH - RIGHT + 10
                pen.rectangle([x, y + 3, x + 6, y + 9], outline=colour, fill=PAPER if dashed else colour)
                pen.text((x + 12, y), f"{direction}{words} (n = {rows[-1]['n']})", fill=INK)
    return picture
