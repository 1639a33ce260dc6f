"""What a run of train-generator shows while it goes: losses.csv, flips.csv, losses.png and samples.png in its folder.

The validation loss of a diffusion network does not tell whether its tokens are obeyed. So the same few films are edited
again and again, and the judge says how many of the edits take: its flips, beside those of their shams. The films are of
train patients, as all films are that the editor will edit; n is small and stands beside every share.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..generators import EditRequest, composite
from ..imaging import Placement
from ..schema import ABSENT, FINDINGS, PRESENT
from ..workspace import Workspace, atomic_write, write_text
from .curves import INK, ORANGE, PAPER, draw_curves
from .data import SHAPE_CHANGING, EditorData, fitted
from .editing import local_vectors
from .roi import feather, roi_for

#: Findings of the fixed set, and how many films each has of either direction.
SAMPLED = ("Pneumothorax", "Pleural Effusion", "Cardiomegaly", "Edema", "Lung Lesion")
FILMS = 4
#: Sampling steps and soft edge of the fixed set's edits.
STEPS, FEATHER = 10, 0.02
#: Side of a picture in samples.png, pixels.
PICTURE = 128
FLIPS = ("step", "direction", "n", "flips", "sham_flips")


@dataclass(frozen=True)
class Sample:
    """One edit of the fixed set. film: uint8 (B, B), B = max(S, 128). request: at the editor's size S."""

    finding: str
    direction: str
    film: np.ndarray
    request: EditRequest


def fixed_set(
    data: EditorData, films: Any, size: int, judge: Any, seed: int = 0, most: int | None = None
) -> list[Sample]:
    """Insertions and deletions that the judge could see: films on which it agrees with the label before the edit.

    Args:
        films: rows → uint8 (n, B, B), the films at max(size, 128) pixels.
        most: films a finding and direction; None takes FILMS.
    """
    outlined = np.flatnonzero(np.all(data.masks.any(axis=(2, 3)), axis=1))
    order, most = np.random.default_rng(seed).permutation(outlined), most or FILMS
    samples = []
    for finding in SAMPLED:
        column = FINDINGS.index(finding)
        if not judge.trained[column]:
            continue
        for direction, label in (("insert", ABSENT), ("delete", PRESENT)):
            rows = order[data.vectors[order, column] == label][: 4 * most]
            if not len(rows):
                continue
            there = films(rows)
            present = judge.probabilities(there)[:, column] >= judge.thresholds[column]
            for n in np.flatnonzero(present == (label == PRESENT))[:most]:
                asked = _request(data, int(rows[n]), there[n], size, finding, direction, seed)
                samples.append(Sample(finding, direction, there[n], asked))
    return samples


def _request(
    data: EditorData, row: int, film: np.ndarray, size: int, finding: str, direction: str, seed: int
) -> EditRequest:
    labels = dict(zip(FINDINGS, (int(v) for v in data.vectors[row])))
    before, after = local_vectors(labels, {finding: direction})
    roi = fitted(roi_for(finding, direction, data.masks[row], np.random.default_rng([seed, row])), size)
    return EditRequest(
        fitted(film, size), roi, fitted(data.masks[row], size), before, after, str(data.view[row]),
        str(data.sex[row]), float(data.age[row]), seed, "inpaint", steps=STEPS, hide_masks=finding in SHAPE_CHANGING,
    )  # fmt: skip


def edited(generator: Any, samples: Sequence[Sample], at_once: int = 16) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The films of the fixed set after their edits, and after their shams: uint8 (B, B) each."""
    requests = [s.request for s in samples] + [s.request.sham() for s in samples]
    results = [r for k in range(0, len(requests), at_once) for r in generator.edit(requests[k : k + at_once])]
    films = []
    for sample, result in zip([*samples, *samples], results):
        side = len(sample.film)
        place = Placement(side, side, generator.size)
        weights = feather(fitted(sample.request.roi, side), FEATHER * side)
        films.append(composite(sample.film, sample.request.image, result.edited, weights, place))
    return films[: len(samples)], films[len(samples) :]


def flips(
    samples: Sequence[Sample], films: Sequence[np.ndarray], shams: Sequence[np.ndarray], judge: Any
) -> dict[str, Any]:
    """Direction → n, and the shares of edits and of shams after which the judge sees the change; none where n = 0."""
    if not samples:
        return {}
    seen = [judge.probabilities(np.stack(list(group))) for group in (films, shams)]
    told: dict[str, Any] = {}
    for direction in ("insert", "delete"):
        rows = [n for n, s in enumerate(samples) if s.direction == direction]
        if rows:
            columns = [FINDINGS.index(samples[n].finding) for n in rows]
            took = [np.mean((p[rows, columns] >= judge.thresholds[columns]) == (direction == "insert")) for p in seen]
            told[direction] = {"n": len(rows), "flips": float(took[0]), "sham_flips": float(took[1])}
    return told


class Watch:
    """Called with the trainer at each checkpoint: losses.csv and losses.png; every few minutes the fixed set as well.

    folder: the run's. minutes: between two rounds of the fixed set. Rounds of before a stop are read from flips.csv.
    """

    def __init__(self, folder: Path, samples: Sequence[Sample], size: int, judge: Any, minutes: float = 5.0) -> None:
        self.folder, self.samples, self.size, self.judge = folder, samples, size, judge
        self.pause = 60 * minutes
        self.last = -np.inf
        self.rounds = read_rows(folder / "flips.csv")

    def __call__(self, trainer: Any) -> None:
        lines = "".join(f"{step},{loss:.6f}\n" for step, loss in trainer.losses)
        write_text(self.folder / "losses.csv", "step,loss\n" + lines)
        if self.samples and time.monotonic() - self.last >= self.pause:
            self._round(trainer)
            self.last = time.monotonic()
        save_picture(self.folder / "losses.png", draw_curves(trainer.losses, self.rounds))

    def finish(self, trainer: Any) -> dict[str, Any]:
        """A last round, unless this step has had one. Returns: direction → n, flips, sham_flips."""
        if not any(row["step"] == trainer.step for row in self.rounds):
            self.last = -np.inf
        self(trainer)
        last = [row for row in self.rounds if row["step"] == trainer.step]
        return {row["direction"]: {name: row[name] for name in FLIPS[2:]} for row in last}

    def _round(self, trainer: Any) -> None:
        from ..generators.cars_unet import CarsGenerator

        generator = CarsGenerator()
        generator.net, generator.size, generator.device = trainer.ema, self.size, trainer.device
        films, shams = edited(generator, self.samples)
        told = flips(self.samples, films, shams, self.judge)
        self.rounds = [r for r in self.rounds if r["step"] < trainer.step]
        self.rounds += [{"step": trainer.step, "direction": d, **row} for d, row in told.items()]
        rows = "".join(",".join(str(row[name]) for name in FLIPS) + "\n" for row in self.rounds)
        write_text(self.folder / "flips.csv", ",".join(FLIPS) + "\n" + rows)
        save_picture(self.folder / "samples.png", sample_grid(self.samples, films, trainer.step))


def run_pictures(workspace: Workspace, key: str | None = None) -> list[Path]:
    """losses.png and samples.png, if there: of a finished editor, or without a key of the run in progress."""
    root = workspace.path / "models" / "generator"
    running = sorted(root.glob("*.training"), key=lambda folder: folder.stat().st_mtime)
    folders = [root / key] if key else running[-1:]
    names = ("losses.png", "samples.png")
    return [folder / name for folder in folders for name in names if (folder / name).is_file()]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """flips.csv as a list of rows; [] without the file."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as stream:
        kinds = {"direction": str, "step": int, "n": int}
        return [{k: kinds.get(k, float)(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def save_picture(path: Path, picture: Image.Image) -> None:
    """Write a PNG atomically."""
    packed = io.BytesIO()
    picture.save(packed, "PNG")
    with atomic_write(path) as stream:
        stream.write(packed.getvalue())


def sample_grid(samples: Sequence[Sample], films: Sequence[np.ndarray], step: int) -> Image.Image:
    """One row a finding: source, source with the ROI tinted, and the insertion; beside it the same of a deletion."""
    findings = list(dict.fromkeys(s.finding for s in samples))
    left, top = 120, 34
    picture = Image.new("RGB", (left + 6 * PICTURE + 10, top + len(findings) * PICTURE), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((4, 4), f"step {step:,}", fill=INK)
    for k, words in enumerate(("source", "ROI", "inserted", "source", "ROI", "deleted")):
        pen.text((left + k * PICTURE + (10 if k > 2 else 0) + 4, 18), words, fill=INK)
    for row, finding in enumerate(findings):
        pen.text((4, top + row * PICTURE + PICTURE // 2), finding, fill=INK)
        for direction, offset in (("insert", 0), ("delete", 3 * PICTURE + 10)):
            n = next((n for n, s in enumerate(samples) if (s.finding, s.direction) == (finding, direction)), None)
            if n is None:
                pen.text((left + offset + 4, top + row * PICTURE + PICTURE // 2), "no film for it", fill=INK)
                continue
            source = np.repeat(samples[n].film[..., None], 3, axis=-1)
            roi = fitted(samples[n].request.roi, len(source))
            tinted = np.where(roi[..., None], 0.6 * source + 0.4 * np.array(ORANGE), source).astype(np.uint8)
            after = np.repeat(films[n][..., None], 3, axis=-1)
            for k, shown in enumerate((source, tinted, after)):
                tile = Image.fromarray(shown).resize((PICTURE, PICTURE), Image.Resampling.BILINEAR)
                picture.paste(tile, (left + offset + k * PICTURE, top + row * PICTURE))
    return picture
