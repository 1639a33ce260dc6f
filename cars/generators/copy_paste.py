"""Baseline: the ROI of another patient's film that shows what is wanted, blended in.

The donor is shifted and stretched so that its lungs' bounding box covers the source's, then its ROI is blended in by
solving Poisson's equation (Pérez et al. 2003, "Poisson Image Editing", ACM Transactions on Graphics 22): the donor's
gradients inside, the source's own pixels at the edge. In a workspace the donors are its train films of other patients;
without one they are phantom persons drawn afresh. The training set then holds parts of other patients' films: this is
for comparison, not for release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..schema import ABSENT, COLUMN_OF, EDITABLE, FINDINGS, PRESENT
from . import GENERATORS, EditRequest, EditResult, check

#: Donors that are looked at for one edit, and how many of those whose finding lies in the ROI are drawn from.
CANDIDATES, DRAWN_FROM = 12, 4
#: Persons of the phantom that no data set and no benchmark of CARS uses.
PHANTOM_SEED = 424_200
SEGMENT_SIZE = 128


@dataclass(frozen=True)
class Donor:
    """A film to copy from. image: uint8 (S, S). masks: bool (3, S, S). place: bool (S, S), where its findings lie, or
    None where that is not known."""

    image: np.ndarray
    masks: np.ndarray
    place: np.ndarray | None = None


@GENERATORS.register("copy-paste")
class CopyPaste:
    """Poisson blending of a donor's ROI. folder: the workspace whose train films are the donors; None: the phantom."""

    size = 64
    findings = EDITABLE
    licence = "that of the donors' films"
    uses = "workspace"
    modes: Sequence[str] = ("inpaint",)
    baseline = True
    deterministic = False
    revision = "poisson-1"

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = folder
        self.device = "cpu"
        self._phantom: dict[tuple[str, ...], list[Donor]] = {}
        self._films: Any = None
        self._segmenter: Any = None

    def load(self, device: str = "auto") -> CopyPaste:
        """There are no weights. Raises: WorkspaceError when the folder is no workspace."""
        if self.folder is not None:
            from ..segmenters import SEGMENTERS
            from ..workspace import Workspace

            self._films = Workspace.open(self.folder).query("synth/source_films")
            self._segmenter = SEGMENTERS.get("cars")().load(device)
        return self

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        """The edits, in the order asked for.

        Raises: DataError when no other patient has a film that shows what is wanted.
        """
        check(requests, self.size)
        results = []
        for request in requests:
            rng = np.random.default_rng([request.seed, 3])
            donors = self._of_phantom(request) if self.folder is None else self._of_workspace(request, rng)
            aligned = [onto(donor, request.masks) for donor in donors]
            shown = [1.0 if d.place is None else (d.place & request.roi).sum() / max(1, d.place.sum()) for d in aligned]
            best = np.argsort(-np.array(shown), kind="stable")[:DRAWN_FROM]
            chosen = aligned[int(rng.choice(best))]
            edited = blended(request.image, chosen.image, request.roi)
            results.append(EditResult(edited, 0.0))
        return results

    def _of_phantom(self, request: EditRequest) -> list[Donor]:
        """Phantom persons with just those editable findings that the target vector calls present."""
        from ..phantom import draw_finding, render, sample_anatomy, sample_film, with_finding

        wanted = tuple(f for f in EDITABLE if request.vector_to[FINDINGS.index(f)] == PRESENT)
        if wanted not in self._phantom:
            donors = []
            for number in range(CANDIDATES):
                rng = np.random.default_rng([PHANTOM_SEED, number])
                anatomy = sample_anatomy(rng, str(rng.choice(["F", "M"])), int(rng.integers(18, 92)))
                spec = sample_film(rng, anatomy, str(rng.choice(["PA", "AP"])))
                for finding in wanted:
                    drawn = draw_finding(rng, finding, anatomy, severity=float(rng.uniform(0.4, 1.0)))
                    spec = with_finding(spec, drawn)
                film = render(spec, self.size)
                place = np.logical_or.reduce([film.finding_masks[f] for f in wanted]) if wanted else None
                donors.append(Donor(film.image, film.masks, place))
            self._phantom[wanted] = donors
        return self._phantom[wanted]

    def _of_workspace(self, request: EditRequest, rng: np.random.Generator) -> list[Donor]:
        """A train film of another patient that has what the target vector calls present and lacks what it calls absent.

        Labels of what the source does not have count only for the findings that the edit changes.
        """
        from ..imaging import decode, square

        films = self._films[self._films["subject_id"] != request.subject_id]
        for n, finding in enumerate(FINDINGS):
            if finding not in EDITABLE:
                continue
            code, changed = request.vector_to[n], request.vector_to[n] != request.vector_from[n]
            if code == PRESENT:
                films = films[films[COLUMN_OF[finding]] == PRESENT]
            elif code == ABSENT and changed:
                films = films[films[COLUMN_OF[finding]] != PRESENT]
        for row in rng.permutation(len(films))[:CANDIDATES]:
            film = decode(films["path"].iloc[row])
            found = self._segmenter.masks(square(film, SEGMENT_SIZE)[None])
            if found.trusted[0]:
                step = SEGMENT_SIZE // self.size
                return [Donor(square(film, self.size), found.masks[0][:, ::step, ::step])]
        raise DataError(
            f"No other patient's film can be copied from ({len(films)} have the findings wanted).",
            "Choose another generator; copy-paste needs train films that show the finding.",
        )


def onto(donor: Donor, masks: np.ndarray) -> Donor:
    """The donor shifted and stretched so that the bounding box of its lungs is that of these masks, (3, S, S)."""
    from scipy import ndimage

    here, there = box(np.any(masks[:2], axis=0)), box(np.any(donor.masks[:2], axis=0))
    scale = (there[1] - there[0]) / (here[1] - here[0])
    offset = there[0] - scale * here[0]

    def carried(array: np.ndarray, order: int) -> np.ndarray:
        return ndimage.affine_transform(array, scale, offset, order=order, mode="nearest")

    place = None if donor.place is None else carried(donor.place.astype(np.float32), 1) > 0.5
    outlines = np.stack([carried(m.astype(np.float32), 1) > 0.5 for m in donor.masks])
    return Donor(np.rint(carried(donor.image.astype(np.float32), 1)).clip(0, 255).astype(np.uint8), outlines, place)


def box(mask: np.ndarray) -> np.ndarray:
    """The first and one past the last row and column of a mask: int (2, 2), [[y0, x0], [y1, x1]]; of all if empty."""
    if not mask.any():
        return np.array([[0, 0], mask.shape])
    found = np.argwhere(mask)
    return np.stack([found.min(0), found.max(0) + 1])


def blended(source: np.ndarray, donor: np.ndarray, roi: np.ndarray) -> np.ndarray:
    """Poisson blending: float32 (S, S) in [0, 255] with the donor's gradients in the ROI and the source around it.

    Solves, for each pixel p of the ROI, Σ over its neighbours q of f(p) − f(q) = Σ g(p) − g(q), with f the source's own
    value outside the ROI and g the donor. A ROI without an edge takes the donor as it is.
    """
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    height, width = roi.shape
    number = np.full(roi.shape, -1)
    number[roi] = np.arange(int(roi.sum()))
    f, g = source.astype(np.float64), donor.astype(np.float64)
    rows, columns, values = [], [], []
    # a touch of the donor itself, which decides where no edge does
    diagonal = np.full(int(roi.sum()), 1e-6)
    right = 1e-6 * g[roi]
    y, x = np.nonzero(roi)
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        p, qy, qx = np.flatnonzero(inside), (y + dy)[inside], (x + dx)[inside]
        diagonal[p] += 1
        right[p] += g[y[inside], x[inside]] - g[qy, qx]
        free = number[qy, qx] >= 0
        rows.append(p[free])
        columns.append(number[qy, qx][free])
        values.append(np.full(int(free.sum()), -1.0))
        right[p[~free]] += f[qy, qx][~free]
    n = len(diagonal)
    matrix = sparse.coo_matrix(
        (np.concatenate([*values, diagonal]),
         (np.concatenate([*rows, np.arange(n)]), np.concatenate([*columns, np.arange(n)]))), shape=(n, n),
    )  # fmt: skip
    result = f.astype(np.float32)
    result[roi] = np.clip(spsolve(matrix.tocsr(), right), 0, 255)
    return result
