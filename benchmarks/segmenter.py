"""How well does a segmenter outline lungs and hearts whose truth is known?

    phantom       unseen phantom persons, PA and AP, two thirds with one to three findings, as they are rendered
    drawn shapes  unseen phantom persons bent to those drawn lung masks that no training saw (a fifth of what
                  torchxrayvision carries, see cars/phantom/drawn_lungs.py), in an appearance made by other means than
                  the training's: local histogram equalisation, photon noise, blur, JPEG, vignette, tubes and text
    CTR           of PA phantom films without findings: the outlines' ratio against that of the phantom's own outlines,
                  and against the number that the heart was drawn by
    not frontal   lateral, turned and inverted films and noise: the share that is trusted, where 0 is right

Dice of both lungs together, of each organ, and the share trusted, with 95% intervals over films by bootstrap.

    python benchmarks/segmenter.py [--json] [--films 100] [--segmenter cars] [--weights FOLDER]

There are no real films with drawn outlines among these figures: CARS has none.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cars import phantom
from cars.errors import MissingDependency
from cars.phantom.drawn_lungs import bend, drawn_shapes
from cars.phantom.thorax import frontal
from cars.segmenters import LEFT_LUNG, ORGANS, RIGHT_LUNG, SEGMENTERS, Masks, dice, pa_ctr

SIZE = 256


def persons(n: int, seed: int, view: str | None = None) -> list[phantom.FilmSpec]:
    """n recipes of frontal films; a third without findings, the rest with one to three."""
    rng = np.random.default_rng([seed, zlib.crc32(b"segmenter")])
    specs = []
    for k in range(n):
        anatomy = phantom.sample_anatomy(rng, "FM"[k % 2], int(rng.integers(18, 92)))
        spec = phantom.sample_film(rng, anatomy, view or ("PA" if rng.random() < 0.6 else "AP"))
        for finding in rng.permutation(phantom.DRAWABLE)[: k % 3 and int(rng.integers(1, 4))]:
            spec = phantom.with_finding(spec, phantom.draw_finding(rng, str(finding), anatomy))
        specs.append(spec)
    return specs


def plain(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Phantom films as they are: uint8 (n, S, S), bool (n, 3, S, S)."""
    films = [phantom.render(spec, SIZE, masks=False) for spec in persons(n, seed)]
    return np.stack([film.image for film in films]), np.stack([film.masks for film in films])


def bent(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Films of the held-out drawn shapes in an appearance that the training does not make."""
    shapes = drawn_shapes(held=True)
    rng = np.random.default_rng(seed)
    images, masks = [], []
    for spec in persons(2 * n, seed + 1):
        film = phantom.render(spec, SIZE, masks=False)
        made = bend(film.image, film.masks, spec, shapes[int(rng.integers(len(shapes)))])
        if made is not None and len(images) < n:
            images.append(otherwise(made[0], rng))
            masks.append(made[1])
    return np.stack(images), np.stack(masks)


def otherwise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another appearance of a film, uint8 (S, S)."""
    from skimage.exposure import equalize_adapthist

    x = image / 255
    if rng.random() < 0.5:
        x = equalize_adapthist(x, kernel_size=int(rng.integers(24, 96)), clip_limit=float(rng.uniform(0.005, 0.05)))
    y, across = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    centre = rng.uniform(-0.5, 0.5, 2)
    x = x * (1 - rng.uniform(0, 0.45) * ((y - centre[0]) ** 2 + (across - centre[1]) ** 2) / 2)
    low, high = np.sort(rng.uniform(0, 1, 2)) * (0.35, 0.4) + (0, 0.6)
    x = low + (high - low) * x
    photons = 10 ** rng.uniform(1.6, 3.5)
    x = rng.poisson(np.clip(x, 0, 1) * photons) / photons
    x = ndimage.gaussian_filter(x, rng.uniform(0, 1.6))
    canvas = Image.fromarray(np.clip(np.rint(x * 255), 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(0, 4))):  # wires and tubes
        points = np.cumsum(np.concatenate([rng.uniform(0, SIZE, (1, 2)), rng.normal(0, 40, (4, 2))]), axis=0)
        pen.line([tuple(p) for p in points], fill=int(rng.integers(170, 256)), width=int(rng.integers(1, 4)))
    for _ in range(int(rng.integers(0, 3))):  # stickers
        place = tuple(int(v) for v in rng.uniform(0, SIZE - 40, 2))
        pen.text(place, "PORTABLE"[: int(rng.integers(1, 9))], fill=255)
    if rng.random() < 0.3:  # a square casing with rounded corners
        left, top = rng.uniform(40, SIZE - 70, 2)
        pen.rounded_rectangle((left, top, left + 30, top + 24), 7, fill=int(rng.integers(190, 256)))
    stream = io.BytesIO()
    canvas.save(stream, "JPEG", quality=int(rng.integers(25, 90)))
    return np.asarray(Image.open(stream))


def strange(n: int, seed: int) -> np.ndarray:
    """Films that are no upright frontal chest, uint8 (n, S, S): lateral, upside down, on its side, inverted, noise."""
    rng = np.random.default_rng(seed)
    images = []
    for k, spec in enumerate(persons(n, seed + 2)):
        film = phantom.render(spec, SIZE, masks=False).image
        if k % 5 == 0:
            film = phantom.render(phantom.sample_film(rng, spec.anatomy, "LATERAL"), SIZE, masks=False).image
        elif k % 5 == 4:
            noise = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), rng.choice([0, 3, 12, 30]))
            film = np.clip(128 + 50 * noise / noise.std(), 0, 255).astype(np.uint8)
        images.append((film, film[::-1], np.rot90(film), 255 - film, film)[k % 5])
    return np.stack(images)


def ratios(segmenter: Any, n: int, seed: int) -> np.ndarray:
    """Of each trusted PA film without findings: the outlines' ratio, that of the phantom's own outlines, and the number
    that its heart was drawn by. (≤ n, 3)."""
    specs = [s for s in persons(4 * n, seed + 3, "PA") if not s.drawn][:n]
    films = [phantom.render(spec, SIZE, masks=False) for spec in specs]
    found = segmenter.masks(np.stack([film.image for film in films]))
    rows = []
    for k, film in enumerate(films):
        measured, _ = pa_ctr(found.masks[k], "PA", found.confidence[k])
        drawn, _ = pa_ctr(film.masks, "PA")
        if measured is not None:
            rows.append((measured, drawn, frontal(specs[k], 64).shape["ctr"]))
    return np.array(rows, dtype=float)


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Mean and its 95% bootstrap interval over films."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(2000, len(values)))].mean(axis=1)
    return float(values.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def overlaps(found: Masks, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Dice of each film: both lungs together, then each organ."""
    both = [
        dice(a[LEFT_LUNG] | a[RIGHT_LUNG], b[LEFT_LUNG] | b[RIGHT_LUNG])
        for a, b in zip(found.masks, truth, strict=True)
    ]
    each = {
        name: np.array([dice(a[k], b[k]) for a, b in zip(found.masks, truth, strict=True)])
        for k, name in enumerate(ORGANS)
    }
    return {"lungs": np.array(both), **each}


def measure(segmenter: Any, n: int, seed: int) -> list[dict[str, Any]]:
    """All rows. `reference` holds what is asked for where something is."""
    rows: list[dict[str, Any]] = []

    def add(what: str, values: np.ndarray, unit: str, reference: float | None = None) -> None:
        mean, low, high = interval(values)
        rows.append({
            "what": what, "ours": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "n": len(values),
            "reference": reference, "ratio": round(mean / reference, 3) if reference else None, "unit": unit,
        })  # fmt: skip

    for name, films in (("phantom", plain), ("drawn shapes", bent)):
        images, truth = films(n, seed)
        found = segmenter.masks(images)
        for organ, values in overlaps(found, truth).items():
            add(f"{name}: {organ}", values, "Dice", 0.9 if organ == "lungs" else None)
        lungs = overlaps(found, truth)["lungs"]
        add(f"{name}: lungs, worst tenth", np.sort(lungs)[: max(1, n // 10)], "Dice")
        add(f"{name}: trusted", found.trusted.astype(float), "share")
        # of outlines that are wrong, the share that is rightly not trusted
        if (lungs < 0.85).any():
            add(f"{name}: trusted among lungs below 0.85", found.trusted[lungs < 0.85].astype(float), "share")
    measured, drawn, known = ratios(segmenter, n, seed).T
    for name, truth in (("phantom's outlines", drawn), ("number drawn by", known)):
        add(f"CTR − {name}", measured - truth, "ratio")
        add(f"|CTR − {name}|", np.abs(measured - truth), "ratio")
    add("not frontal: trusted", segmenter.masks(strange(n, seed)).trusted.astype(float), "share")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--films", type=int, default=100, help="films of each kind")
    parser.add_argument("--segmenter", default="cars")
    parser.add_argument("--weights", type=Path, help="a folder (cars) or file (xrv_pspnet) in place of the usual one")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    kind = SEGMENTERS.get(options.segmenter)
    try:
        segmenter = (kind(options.weights) if options.weights else kind()).load("cpu")
    except MissingDependency as error:
        sys.exit(f"{error.message} {error.hint}")
    rows = measure(segmenter, options.films, options.seed)
    if options.json:
        print(
            json.dumps(
                {"name": "segmenter", "segmenter": options.segmenter, "revision": segmenter.revision, "rows": rows}
            )
        )
        return
    print(f"segmenter {options.segmenter}, weights {segmenter.revision}")
    for row in rows:
        spread = f"[{row['low']:.3f}, {row['high']:.3f}]"
        print(f"{row['what']:44s} {row['ours']:7.3f} {spread}  n = {row['n']:3d}  {row['unit']}")


if __name__ == "__main__":
    main()
