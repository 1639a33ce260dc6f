"""What an editor is trained on: films, outlines, clinical feature vectors, and where on the film each finding lies.

A token must say what the region of interest (ROI) shows, not what the whole film shows: labels of the whole film with
ROIs anywhere hardly teach a token anything. `local_labels` therefore turns a film's labels into those of one ROI:
present, absent or unknown. It needs the place of every present finding. On the phantom that is known to the pixel; on
real films it is the region where the finding could be, narrowed to where the judge looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from ..errors import DataError, WorkspaceError
from ..progress import Progress, part_of, silent
from ..schema import ABSENT, COLUMN_OF, EDITABLE, FINDINGS, HIERARCHY, NOT_MENTIONED, PRESENT
from ..segmenters import outlines
from ..workspace import Workspace
from .roi import FOCAL, REGIONS, random_roi, roi_for

#: Side at which outlines are found before they are shrunk to the editor's size, pixels.
SEGMENT_SIZE = 128
#: Findings that change the outlines themselves; the outlines are never shown inside their ROI.
SHAPE_CHANGING = ("Atelectasis", "Cardiomegaly", "Enlarged Cardiomediastinum", "Pleural Effusion", "Pneumothorax")
#: Findings that the editor learns late, and how much more often the phantom draws them for it.
HARD = {"Lung Lesion": 4.0, "Atelectasis": 3.0, "Pneumothorax": 1.5, "Pneumonia": 1.5}
NO_FINDING = FINDINGS.index("No Finding")
DISEASES = [n for n, f in enumerate(FINDINGS) if f not in ("No Finding", "Support Devices")]


@dataclass(frozen=True)
class EditorData:
    """Films to train an editor on; one row a film in every field.

    images: uint8 (N, S, S). masks: bool (N, 3, S, S), left lung, right lung, heart. vectors: int8 (N, 14).
    places: uint8 (N, 14, S·S/8), packed bits: where a present finding lies or may lie (`place_of` unpacks).
    dicom_id: (N,) str, empty where films have none.
    """

    images: np.ndarray
    masks: np.ndarray
    vectors: np.ndarray
    places: np.ndarray
    view: np.ndarray
    sex: np.ndarray
    age: np.ndarray
    subject_id: np.ndarray
    dicom_id: np.ndarray = field(default_factory=lambda: np.zeros(0, str))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Side of the films, pixels."""
        return self.images.shape[1]

    def place_of(self, row: int) -> np.ndarray:
        """bool (14, S, S) of one film."""
        return np.unpackbits(self.places[row], axis=-1).reshape(len(FINDINGS), self.size, self.size).astype(bool)

    def save(self, path: Any) -> None:
        """One .npz file."""
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def read(cls, path: Any) -> EditorData:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{f.name: file[f.name] for f in fields(cls) if f.name in file})


def pack(places: np.ndarray) -> np.ndarray:
    """bool (14, S, S) → uint8 (14, S·S/8)."""
    return np.packbits(places.reshape(len(places), -1), axis=-1)


def local_labels(vector: np.ndarray, places: np.ndarray, roi: np.ndarray) -> np.ndarray:
    """The labels of what one ROI shows.

    Args:
        vector: (14,) int8 codes of the film.
        places: (14, H, W) bool, where each present finding lies or may lie.
        roi: (H, W) bool.

    Returns: (14,) int8. A finding that the film has is present when half of its place lies in the ROI or fills a third
    of it, absent when (nearly) none of it does, and not mentioned in between; "No Finding" follows from the others.
    """
    labels = np.where((vector == PRESENT) | (vector == ABSENT), vector, NOT_MENTIONED).astype(np.int8)
    area = int(roi.sum())
    for n in np.flatnonzero(vector == PRESENT):
        if n == NO_FINDING:
            continue
        whole, inside = int(places[n].sum()), int((places[n] & roi).sum())
        if whole and (inside >= 0.5 * whole or inside >= area / 3):
            labels[n] = PRESENT
        elif whole and inside <= 0.02 * min(whole, area):
            labels[n] = ABSENT
        else:
            labels[n] = NOT_MENTIONED
    diseases = labels[DISEASES]
    if (diseases == PRESENT).any():
        labels[NO_FINDING] = ABSENT
    elif (diseases == ABSENT).all():
        labels[NO_FINDING] = PRESENT
    return labels


def training_roi(data: EditorData, row: int, places: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """A region to train on: the whole film 15% of the time, an editable finding's region 50%, ellipses 35%.

    Half of the findings' regions are of findings that the film has; of these half follow the finding's own place, so
    that a region as small as an insertion's can show it.

    Returns: bool (S, S), and whether the outlines must be hidden inside it.
    """
    masks, draw = data.masks[row], rng.random()
    if draw < 0.15:
        return np.ones(masks.shape[1:], bool), bool(rng.random() < 0.5)
    if draw < 0.65 and masks.any(axis=(1, 2)).all():
        present = [f for f in EDITABLE if data.vectors[row, FINDINGS.index(f)] == PRESENT]
        mine = bool(present) and rng.random() < 0.5
        finding = str(rng.choice(present if mine else list(EDITABLE)))
        place = places[FINDINGS.index(finding)]
        if mine and place.any() and rng.random() < 0.5:
            roi = ndimage.binary_dilation(place, iterations=int(rng.integers(1, 5)))
        else:
            roi = roi_for(finding, ("delete" if rng.random() < 0.6 else "insert") if mine else "insert", masks, rng)
        return roi, finding in SHAPE_CHANGING or bool(rng.random() < 0.5)
    return random_roi(masks, rng, aware=0.0), bool(rng.random() < 0.5)


def phantom_data(
    n: int, size: int, seed: int, findings_per_film: float = 1.6, progress: Progress = silent
) -> EditorData:
    """Films rendered straight from the phantom: a fifth normal, editable findings often (see HARD), the others seldom.

    No film of it is in any workspace: persons are drawn afresh from the seed.
    """
    from ..phantom import DRAWABLE, draw_finding, render, sample_anatomy, sample_film, with_finding

    rows: dict[str, list[Any]] = {f.name: [] for f in fields(EditorData)}
    often = np.array([HARD.get(f, 1.0) if f in EDITABLE else 0.3 for f in DRAWABLE])
    for number in range(n):
        if number % 50 == 0:
            progress(number, n, "rendering phantom films")
        rng = np.random.default_rng([seed, number])
        sex, age = str(rng.choice(["F", "M"])), int(rng.integers(18, 92))
        anatomy = sample_anatomy(rng, sex, age)
        view = str(rng.choice(["PA", "AP"]))
        spec = sample_film(rng, anatomy, view)
        count = 0 if rng.random() < 0.2 else 1 + int(rng.poisson(findings_per_film - 1))
        for finding in rng.choice(DRAWABLE, size=min(count, 5), replace=False, p=often / often.sum()):
            spec = with_finding(spec, draw_finding(rng, str(finding), anatomy))
        film = render(spec, size)
        places = np.zeros((len(FINDINGS), size, size), bool)
        for finding, mask in film.finding_masks.items():
            for name in (finding, *(parent for parent, children in HIERARCHY.items() if finding in children)):
                places[FINDINGS.index(name)] |= mask
        for name, value in (
            ("images", film.image),
            ("masks", film.masks),
            ("vectors", [int(f in spec.findings) for f in FINDINGS]),
            ("places", pack(places)),
            ("view", view),
            ("sex", sex),
            ("age", float(age)),
            ("subject_id", f"phantom-{seed}-{number}"),
            ("dicom_id", f"phantom-{seed}-{number}"),
        ):
            rows[name].append(value)
    progress(n, n, "rendering phantom films")
    kinds = {"vectors": np.int8}
    return EditorData(**{name: np.array(values, kinds.get(name)) for name, values in rows.items()})


def shrink(squares: np.ndarray, size: int) -> np.ndarray:
    """(…, H, H) uint8, bool or float → (…, size, size), the same kind, by averaging blocks; size must divide H."""
    factor = squares.shape[-1] // size
    if factor * size != squares.shape[-1]:
        raise DataError(
            f"{squares.shape[-1]} pixels cannot be shrunk to {size}.", f"Choose a size that divides {SEGMENT_SIZE}."
        )
    # axes: …, row block, row in block, column block, column in block
    blocks = squares.reshape(*squares.shape[:-2], size, factor, size, factor).mean(axis=(-3, -1), dtype=np.float32)
    if squares.dtype == bool:
        return blocks >= 0.5
    return np.rint(blocks).astype(np.uint8) if squares.dtype == np.uint8 else blocks


def fitted(squares: np.ndarray, size: int) -> np.ndarray:
    """(…, H, H) uint8, bool or float → (…, size, size), the same kind: averaged blocks to shrink, bilinear to enlarge.

    A mask is cut at one half.
    """
    height = squares.shape[-1]
    if size <= height:
        return shrink(squares, size)
    planes = np.asarray(squares, np.float32).reshape(-1, height, height)
    grown = [np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BILINEAR)) for p in planes]
    result = np.stack(grown).reshape(*squares.shape[:-2], size, size)
    if squares.dtype == bool:
        return result >= 0.5
    return np.rint(result).astype(np.uint8) if squares.dtype == np.uint8 else result


def refuse_other_splits(workspace: Workspace, subjects: Sequence[str]) -> None:
    """Raise DataError when a patient whose films are to be trained on or edited has a film outside the train split."""
    held = set(workspace.query("synth/held_out_patients")["subject_id"])
    wrong = sorted(held.intersection(subjects))
    if wrong:
        raise DataError(
            f"{len(wrong)} of the patients to be used have films in validate or test.",
            "Split the data set by patient; CARS neither trains on nor edits films of held-out patients.",
        )


def workspace_data(
    workspace: Workspace,
    size: int,
    segmenter: Any,
    judge: Any = None,
    max_films: int = 20_000,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[EditorData, dict[str, int]]:
    """The train split's frontal films on disk, at most `max_films`, whole patients drawn at random.

    Args:
        segmenter: loaded plug-in; films whose outlines it does not trust are left out and counted.
        judge: when given, its saliency narrows the places of findings that could be anywhere.

    Returns: the data, and {"films", "patients", "undecodable", "untrusted"}.
    Raises: WorkspaceError when no film is left; DataError when a patient crosses splits.
    """
    from ..filmcache import film_cache

    workspace.need("films", "ingest")
    films = workspace.query("synth/source_films")
    refuse_other_splits(workspace, films["subject_id"].unique().tolist())
    order = np.random.default_rng(seed).permutation(films["subject_id"].unique())
    films = films.set_index("subject_id", drop=False).loc[order].reset_index(drop=True).head(max_films)
    if films.empty:
        raise WorkspaceError(
            "No frontal film of the train split is on disk.", "Ingest a data set with its image files."
        )
    cache = film_cache(workspace, SEGMENT_SIZE, films["dicom_id"].tolist(), part_of(progress, 0, 0.5))
    films = films[films["dicom_id"].isin(set(cache.ids))].reset_index(drop=True)
    undecodable = len(cache.failed)
    vectors = films[list(COLUMN_OF.values())].to_numpy(np.int8, copy=True)
    # "No Finding" asserts the absence of every disease
    healthy = vectors[:, NO_FINDING] == PRESENT
    vectors[np.ix_(healthy, DISEASES)] = ABSENT
    kept: list[int] = []
    images, masks, places = [], [], []
    for start in range(0, len(films), 64):
        progress(500 + 500 * start // len(films), 1000, "outlining lungs and hearts")
        chunk = films.iloc[start : start + 64]
        ids = chunk["dicom_id"].tolist()
        squares = cache.images(ids)
        found = outlines(segmenter, squares, ids)
        saliency = _saliency(judge, squares, vectors[start : start + 64]) if judge is not None else {}
        for n in np.flatnonzero(found.trusted):
            row = start + int(n)
            rng = np.random.default_rng([seed, row])
            kept.append(row)
            images.append(shrink(squares[n], size))
            masks.append(shrink(found.masks[n], size))
            places.append(pack(_possible_places(vectors[row], masks[-1], saliency, int(n), rng)))
    progress(1000, 1000, "outlining lungs and hearts")
    counts = {
        "films": len(kept),
        "patients": int(films["subject_id"].iloc[kept].nunique()),
        "undecodable": undecodable,
        "untrusted": len(films) - len(kept),
    }
    if not kept:
        raise WorkspaceError(
            f"None of the {len(films)} films has outlines that the segmenter trusts.", "Choose another segmenter."
        )
    used = films.iloc[kept]
    return (
        EditorData(
            np.stack(images), np.stack(masks), vectors[kept], np.stack(places),
            used["view"].to_numpy(str), used["sex"].to_numpy(str), used["age"].to_numpy(float),
            used["subject_id"].to_numpy(str), used["dicom_id"].to_numpy(str),
        ),
        counts,
    )  # fmt: skip


def _saliency(judge: Any, squares: np.ndarray, vectors: np.ndarray) -> dict[tuple[str, int], np.ndarray]:
    """(finding, row) → float (H, W), where the judge sees the focal findings that the films have."""
    seen: dict[tuple[str, int], np.ndarray] = {}
    for finding in FOCAL:
        column = FINDINGS.index(finding)
        rows = np.flatnonzero(vectors[:, column] == PRESENT)
        if len(rows) and judge.trained[column]:
            seen |= {(finding, int(n)): map_ for n, map_ in zip(rows, judge.saliency(squares[rows], finding))}
    return seen


def _possible_places(
    vector: np.ndarray,
    masks: np.ndarray,
    saliency: dict[tuple[str, int], np.ndarray],
    row: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """bool (14, S, S): where a film's present findings could be, narrowed by saliency where there is some."""
    places = np.zeros((len(FINDINGS), *masks.shape[1:]), bool)
    if not masks.any(axis=(1, 2)).all():
        return places
    for n in np.flatnonzero(vector == PRESENT):
        if FINDINGS[n] in REGIONS:
            seen = saliency.get((FINDINGS[n], row))
            small = None if seen is None else shrink(seen, masks.shape[-1])
            places[n] = roi_for(FINDINGS[n], "delete", masks, rng, saliency=small)
    return places
