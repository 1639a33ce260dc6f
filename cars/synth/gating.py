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
from ..segmenters import looking
from ..workspace import Workspace


@dataclass(frozen=True)
class Edited:
    """An edit to be gated. Films are uint8 (H, W) at the source's own size, after paste-back.

    changes: finding → "insert" or "delete". roi: (H, W) bool. sham: the film of the sham edit, or None when there is
    none. drift: mean absolute change outside the ROI before paste-back, in grey levels; NaN when unknown.
    subject_id: whose film it is; another patient's films must not be copied.
    """

    source: np.ndarray
    edited: np.ndarray
    roi: np.ndarray
    changes: dict[str, str]
    sham: np.ndarray | None = None
    drift: float = nan
    subject_id: str = ""


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
) -> list[list[Measure]]:
    """All gates of many edits, with one call each of judge, segmenter and encoder.

    judge: `Judge` or an object with .size, .thresholds and .probabilities. segmenter: a loaded plug-in of SEGMENTERS.
    gates: by default all, with their defaults. neighbours: `Neighbours`, or None when near copies are not looked for.
    Returns: for each edit its rows, in the order of the gates.
    """
    if not edits:
        return []
    gates = gates_of(environment={}) if gates is None else gates
    segmenter = looking(segmenter)
    shams = [edit.sham for edit in edits if edit.sham is not None]
    films = [edit.source for edit in edits] + [edit.edited for edit in edits] + shams
    probabilities = judge.probabilities(np.stack([square(film, judge.size) for film in films]))
    seen = np.stack([square(film, segmenter.size) for film in films[: 2 * len(edits)]])
    masks = segmenter.masks(seen).masks
    likeness, strangers = np.full(len(edits), nan), nan
    if neighbours is not None:
        likeness = neighbours.likeness([edit.edited for edit in edits], [edit.subject_id for edit in edits])
        strangers = neighbours.strangers
    n, next_sham = len(edits), 2 * len(edits)
    result = []
    for k, edit in enumerate(edits):
        sham = None
        if edit.sham is not None:
            sham, next_sham = probabilities[next_sham], next_sham + 1
        evidence = Evidence(
            edit.changes, edit.source, edit.edited, edit.roi, probabilities[k], probabilities[n + k],
            np.asarray(judge.thresholds), masks[k], masks[n + k],
            square(edit.roi.astype(np.uint8) * 255, segmenter.size) > 0, sham, edit.drift, float(likeness[k]),
            strangers,
        )  # fmt: skip
        result.append(ask(gates, evidence))
    return result
