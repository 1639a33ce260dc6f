"""Sets of edited films against sets of real ones, and whether their ROIs stand in training films."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cars.backbones import BACKBONES
from cars.filmcache import film_cache
from cars.generators import composite
from cars.imaging import Placement, decode, square
from cars.schema import COLUMN_OF, FINDINGS, FRONTAL, PRESENT
from cars.synth.data import SEGMENT_SIZE, fitted
from cars.synth.roi import feather, roi_for
from cars.vectors import Patches, drawn, frechet, kernel_distance, prdc
from cars.workspace import Workspace

#: The packaged ImageNet encoder; no network of CARS was trained with it frozen like this.
ENCODER = "efficientnet_lite0"
NEIGHBOURS = 5
#: Pieces are searched for at this size, that of the editor, in films high-passed by a Gaussian of so many pixels. Of
#: 1, 1.5 and 2 pixels, and of bands of 1 to 6, one pixel showed most planted copies (10 films, four findings).
SIZE, SIGMA = 64, 1.0
#: Held-out real films whose pieces are searched for, of each finding; the limit for a copy is this quantile of theirs.
HELD_OUT, LIMIT = 40, 0.95
#: Pixels that a piece must have.
LEAST = 25


def matches(films: pd.DataFrame, made: list[Any], seed: int) -> list[tuple[str, str]]:
    """Two real films for each edit: dicom_ids, none twice, of patients that are no source.

    They truly have the finding that was inserted, or lack the one that was deleted, have the source's view, and of
    those the other labels that come nearest to the source's (fewest differences, ties by seed). An edit for which two
    are not left gets ("", "").
    """
    sources = {m.source.subject_id for m in made}
    pool = films[films["on_disk"] & films["view"].isin(FRONTAL) & ~films["subject_id"].isin(sources)]
    pool = pool.sample(frac=1, random_state=seed)
    present = pool[list(COLUMN_OF.values())].to_numpy() == PRESENT
    view, ids = pool["view"].to_numpy(str), pool["dicom_id"].to_numpy(str)
    free = np.ones(len(pool), bool)
    result: list[tuple[str, str]] = [("", "")] * len(made)
    # the rarest first, so that a film with two findings serves the one that has few
    order = sorted(range(len(made)), key=lambda n: present[:, FINDINGS.index(made[n].finding)].sum())
    for n in order:
        m, column = made[n], FINDINGS.index(made[n].finding)
        fits = free & (view == m.source.view) & (present[:, column] == (m.direction == "insert"))
        own = np.array([m.source.labels[f] == PRESENT for f in FINDINGS])
        others = np.arange(len(FINDINGS)) != column
        # an inserted finding ends "No Finding", a deleted one need not bring it
        others[FINDINGS.index("No Finding")] = False
        away = (present[:, others] != own[others]).sum(axis=1)
        rows = np.flatnonzero(fits)
        if len(rows) >= 2:
            chosen = rows[np.argsort(away[rows], kind="stable")[:2]]
            free[chosen] = False
            result[n] = (ids[chosen[0]], ids[chosen[1]])
    return result


def set_figures(films: pd.DataFrame, made: dict[str, list[Any]], seed: int) -> tuple[list[dict[str, Any]], str]:
    """FID, KID and PRDC of sources, shams, edits and other real films against real films, by direction.

    Returns: rows {"generator", "direction", "films", "n", "fid", "kid" (each {"value", "low", "high", "size",
    "draws"}), "prdc"}, and the encoder's label. All distances of one direction are over subsets of one size, half of
    the smallest set.
    """
    encoder = BACKBONES.get(ENCODER)().load("cpu")
    path = films.set_index("dicom_id")["path"]

    def embed(images: list[np.ndarray]) -> np.ndarray:
        squares = np.stack([square(image, encoder.size) for image in images])
        return np.concatenate([encoder.embed(squares[k : k + 32]) for k in range(0, len(squares), 32)])

    rows = []
    first = next(iter(made))
    for direction in ("insert", "delete"):
        asked = [m for m in made[first] if m.direction == direction and m.outcome.error is None]
        pairs = matches(films, asked, seed)
        kept = [n for n, pair in enumerate(pairs) if pair[0]]
        if len(kept) <= NEIGHBOURS + 1:
            continue
        reference, other = (embed([decode(path[pairs[n][k]]) for n in kept]) for k in (0, 1))
        groups = [("–", "other real films", other)]
        groups += [("–", "unedited sources", embed([asked[n].source.film for n in kept]))]
        for name, all_made in made.items():
            own = [m for m in all_made if m.direction == direction and m.outcome.error is None]
            edits = embed([own[n].outcome.edited for n in kept])
            groups += [(name, "shams", embed([own[n].outcome.sham for n in kept])), (name, "edits", edits)]
            through = np.array([own[n].outcome.passed for n in kept])
            if through.sum() > max(NEIGHBOURS, len(kept) // 2):
                groups.append((name, "edits through all gates", edits[through]))
        size = min(len(vectors) for *_, vectors in groups) // 2
        for name, what, vectors in groups:
            # one seed, so that sets of one length are drawn alike and their distances compare
            fid, kid = (drawn(reference, vectors, f, size, seed=seed) for f in (frechet, kernel_distance))
            rows.append(
                {"generator": name, "direction": direction, "films": what, "n": len(vectors), "fid": vars(fid),
                 "kid": vars(kid), "prdc": prdc(reference, vectors, NEIGHBOURS)}
            )  # fmt: skip
    return rows, f"{encoder.label}, k = {NEIGHBOURS}"


def memorised(workspace: Workspace, segmenter: Any, made: dict[str, list[Any]], seed: int) -> list[dict[str, Any]]:
    """Whether the ROI of an insertion stands in a training film of another patient (`cars.vectors.Patches`).

    Of each piece the best correlation over all training films and all places. Pieces: the ROIs of held-out real films
    (validate and test patients), those of the sources before the edit and of the edits, and planted copies, where the
    ROI is that of a training film, carried to the film's size as edits are. The soft edge of the ROI is left out. The
    limit is, for each finding, the LIMIT quantile of the held-out films. How many planted copies lie above it says how
    much the check can see.

    Returns: rows {"generator", "pieces", "n", "median", "high" (95% quantile), "largest", "above", "by_finding":
    finding → [above, n]}.
    """
    films = workspace.read("films")
    films = films[films["on_disk"] & films["view"].isin(FRONTAL)]
    training = workspace.query("synth/source_films")
    cache = film_cache(workspace, SIZE, training["dicom_id"].tolist(), workers=1)
    training = training.set_index("dicom_id").loc[cache.ids]
    images = cache.images(cache.ids)
    search = Patches(images, training["subject_id"].to_numpy(str), SIGMA)
    held = films[films["split"].isin(["validate", "test"])].sample(frac=1, random_state=seed)
    first = [m for m in next(iter(made.values())) if m.direction == "insert"]
    limits: dict[str, float] = {}
    values: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for finding in dict.fromkeys(m.finding for m in first):
        found = _held_out(search, held, segmenter, finding, seed)
        limits[finding] = float(np.quantile(found, LIMIT))
        values.setdefault(("–", "held-out real films"), []).extend((finding, v) for v in found)
    rng = np.random.default_rng(seed)
    for name, all_made in made.items():
        for m in (m for m in all_made if m.direction == "insert" and m.outcome.error is None):
            where, place = _small(m.outcome.roi)
            subject = m.source.subject_id
            pieces = [(name, "edits", m.outcome.edited)]
            if all_made is next(iter(made.values())):
                other = np.flatnonzero(search.groups != subject)
                donor = images[rng.choice(other)].astype(np.float32)
                small = square(m.source.film, SIZE)
                weights = feather(m.outcome.roi, 0.02 * place.side)
                pieces += [
                    ("–", "unedited sources", m.source.film),
                    ("–", "planted copies", composite(m.source.film, small, donor, weights, place)),
                ]
            for who, what, film in pieces:
                best = search.nearest(sharpened(film, m.source.film, place), where, subject)[0]
                values.setdefault((who, what), []).append((m.finding, best))
    return [_row(key, found, limits) for key, found in values.items()]


def _held_out(search: Patches, held: pd.DataFrame, segmenter: Any, finding: str, seed: int) -> list[float]:
    """The best correlations of HELD_OUT pieces of held-out films, where the finding would be inserted in each."""
    found: list[float] = []
    for n, path in enumerate(held["path"]):
        if len(found) == HELD_OUT:
            break
        film = decode(path)
        outlined = segmenter.masks(square(film, segmenter.size)[None])
        if not outlined.trusted[0]:
            continue
        masks = fitted(outlined.masks[0], SEGMENT_SIZE)
        roi = roi_for(finding, "insert", masks, np.random.default_rng([seed, n]))
        where = _core(fitted(roi, SIZE))
        found.append(search.nearest(square(film, SIZE), where)[0])
    return found


def _small(roi: np.ndarray) -> tuple[np.ndarray, Placement]:
    place = Placement(*roi.shape, SIZE)
    return _core(place.to_square(roi)), place


def _core(where: np.ndarray) -> np.ndarray:
    """The ROI without its outermost pixels; with them, or grown, where too few would be left for a correlation."""
    from scipy import ndimage

    core = ndimage.binary_erosion(where)
    core = core if core.sum() >= LEAST else where
    while core.sum() < LEAST:
        core = ndimage.binary_dilation(core)
    return core


def sharpened(film: np.ndarray, source: np.ndarray, place: Placement) -> np.ndarray:
    """float32 (SIZE, SIZE): an edited film at the editor's size, its change as sharp as the editor made it.

    A change is blurred on its way to the film's own size and back; three rounds of Van Cittert's iteration undo most of
    that. film, source: uint8 (H, W).
    """
    small = square(source, SIZE).astype(np.float32)
    seen = square(film, SIZE) - small
    change = seen
    for _ in range(3):
        change = change + seen - place.to_square(place.to_original(change))
    return small + change


def _row(key: tuple[str, str], found: list[tuple[str, float]], limits: dict[str, float]) -> dict[str, Any]:
    known = [(finding, v) for finding, v in found if not np.isnan(v)]
    values = np.array([v for _, v in known] or [np.nan])
    by_finding = {
        finding: [sum(v > limits[finding] for f, v in known if f == finding), sum(f == finding for f, _ in known)]
        for finding in limits
    }
    return {
        "generator": key[0], "pieces": key[1], "n": len(known), "median": float(np.median(values)),
        "high": float(np.quantile(values, 0.95)), "largest": float(values.max()),
        "above": int(sum(above for above, _ in by_finding.values())), "by_finding": by_finding,
    }  # fmt: skip
