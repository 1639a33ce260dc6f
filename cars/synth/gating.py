"""From many edits to the rows of the table `gates`: what the judge, the segmenter and the films' index say of each.

The gates themselves are plug-ins, one file each in cars/gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from .. import index
from ..config import as_dict
from ..errors import WorkspaceError
from ..gates import Evidence, Gate, Measure, ask, gates_of
from ..imaging import square
from ..provenance import digest
from ..segmenters import looking, outlines
from ..workspace import Workspace
from .pipeline import Fitting

#: Films that judge, segmenter and encoder see at once where the device has room.
FILMS_AT_ONCE = 64


@dataclass(frozen=True)
class Edited:
    """An edit to be gated. Films are uint8 (H, W) at the source's own size, after paste-back.

    changes: finding → "insert" or "delete". roi: (H, W) bool. sham: the film of the sham edit, or None when there is
    none. drift: mean absolute change outside the ROI before paste-back, in grey levels; NaN when unknown.
    subject_id: whose film it is; another patient's films must not be copied.
    masks: (3, S, S) bool, the source's outlines at the segmenter's size; seen, seen_sham, seen_before: (14,), the
    judge's probabilities of edit, sham and source. Where they are None, `run_gates` finds out.
    """

    source: np.ndarray
    edited: np.ndarray
    roi: np.ndarray
    changes: dict[str, str]
    sham: np.ndarray | None = None
    drift: float = nan
    subject_id: str = ""
    masks: np.ndarray | None = None
    seen: np.ndarray | None = None
    seen_sham: np.ndarray | None = None
    seen_before: np.ndarray | None = None


class Neighbours:
    """The films of a workspace as its current encoder sees them. Raises what `index.encoder` raises."""

    def __init__(self, workspace: Workspace, device: str = "auto") -> None:
        self.workspace = workspace
        self.encoder = index.encoder(workspace, device)
        self.revision = str(index.info(workspace)["key"])
        #: The similarity that real films of different patients hardly ever reach.
        self.strangers = index.likeness_of_strangers(workspace)

    def likeness(self, films: Sequence[np.ndarray], subject_ids: Sequence[str]) -> np.ndarray:
        """(N,) float: similarity of each uint8 (H, W) film to the nearest film of another patient; NaN if none."""
        vectors = self.encoder.embed(np.stack([square(film, self.encoder.size) for film in films]))
        found = index.near_copies(self.workspace, vectors, subject_ids, self.strangers)
        return found["similarity"].to_numpy(float)


def workspace_neighbours(workspace: Workspace, device: str = "auto") -> Neighbours | None:
    """The workspace's films to compare edits with; None where none has been embedded yet."""
    try:
        index.current(workspace)
    except WorkspaceError:
        return None
    return Neighbours(workspace, device)


def revision_of(gates: Sequence[Gate], neighbours: Neighbours | None) -> str:
    """A hash of everything besides judge and segmenter that the gates' verdict depends on."""
    settings = {gate.name: as_dict(gate) for gate in gates}
    return digest(settings, getattr(neighbours, "revision", None), length=12)


def run_gates(
    edits: Sequence[Edited],
    judge: Any,
    segmenter: Any,
    gates: Sequence[Gate] | None = None,
    neighbours: Any = None,
    fitting: Fitting | None = None,
) -> list[list[Measure]]:
    """All gates of many edits; judge, segmenter and encoder see as many films at once as fit the device.

    judge: `Judge` or an object with .size, .thresholds, .sure and .probabilities. segmenter: a loaded plug-in.
    gates: by default all, with their defaults. neighbours: `Neighbours`, or None when near copies are not looked for.
    fitting: which batches fit, where that is known already.
    Returns: for each edit its rows, in the order of the gates.
    """
    if not edits:
        return []
    gates = gates_of(environment={}) if gates is None else gates
    segmenter, fitting = looking(segmenter), fitting or Fitting()
    before, after, shams = _seen(edits, judge, fitting)
    masks_before, masks_after = _outlined(edits, segmenter, fitting)
    likeness, strangers = [nan] * len(edits), nan
    if neighbours is not None:
        likeness = fitting.each(
            "vectors of films",
            lambda part: list(neighbours.likeness([e.edited for e in part], [e.subject_id for e in part])),
            edits, FILMS_AT_ONCE,
        )  # fmt: skip
        strangers = neighbours.strangers
    result = []
    for k, edit in enumerate(edits):
        evidence = Evidence(
            edit.changes, edit.source, edit.edited, edit.roi, before[k], after[k], np.asarray(judge.thresholds),
            np.asarray(judge.sure), masks_before[k], masks_after[k],
            square(edit.roi.astype(np.uint8) * 255, segmenter.size) > 0, shams[k], edit.drift, float(likeness[k]),
            strangers,
        )  # fmt: skip
        result.append(ask(gates, evidence))
    return result


def probabilities(judge: Any, films: Sequence[np.ndarray], fitting: Fitting) -> list[np.ndarray]:
    """What a judge says of films of any size: (14,) each."""
    squares = [square(film, judge.size) for film in films]
    return fitting.each("the judge", lambda part: list(judge.probabilities(np.stack(part))), squares, FILMS_AT_ONCE)


def outlined(
    segmenter: Any, squares: Sequence[np.ndarray], ids: Sequence[str], fitting: Fitting
) -> list[tuple[np.ndarray, str]]:
    """(masks, why they are not trusted or "") of each square film; ids: their dicom_id, "" where unknown."""

    def found(part: Sequence[tuple[np.ndarray, str]]) -> list[tuple[np.ndarray, str]]:
        seen = outlines(segmenter, np.stack([film for film, _ in part]), [name for _, name in part])
        return [(masks, seen.why_not(n)) for n, masks in enumerate(seen.masks)]

    return fitting.each("the segmenter", found, list(zip(squares, ids)), FILMS_AT_ONCE)


def _seen(
    edits: Sequence[Edited], judge: Any, fitting: Fitting
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray | None]]:
    """The judge's probabilities of sources, edits and shams (None where there is no sham)."""
    names = ("seen_before", "seen", "seen_sham")
    known = {(k, name): getattr(edit, name) for k, edit in enumerate(edits) for name in names}
    films = {(k, "seen_before"): edit.source for k, edit in enumerate(edits) if edit.seen_before is None}
    films |= {(k, "seen"): edit.edited for k, edit in enumerate(edits) if edit.seen is None}
    films |= {
        (k, "seen_sham"): edit.sham for k, edit in enumerate(edits) if edit.seen_sham is None and edit.sham is not None
    }
    known |= dict(zip(films, probabilities(judge, list(films.values()), fitting)))
    before, after, shams = ([known[k, name] for k in range(len(edits))] for name in names)
    return before, after, shams


def _outlined(edits: Sequence[Edited], segmenter: Any, fitting: Fitting) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The outlines of sources and edits."""
    unknown = [k for k, edit in enumerate(edits) if edit.masks is None]
    films = [edits[k].source for k in unknown] + [edit.edited for edit in edits]
    squares = [square(film, segmenter.size) for film in films]
    masks = [m for m, _ in outlined(segmenter, squares, [""] * len(squares), fitting)]
    before = {k: edit.masks for k, edit in enumerate(edits)} | dict(zip(unknown, masks))
    return [before[k] for k in range(len(edits))], masks[len(unknown) :]
