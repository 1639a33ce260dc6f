"""Gate: outside the region of interest (ROI) the film is the source's own, to the pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from . import Evidence, Gate, Measure, gate


@gate("outside", order=30, help="Nothing changes outside the region of interest.")
@dataclass(frozen=True)
class OutsideGate(Gate):
    """The greatest difference outside the ROI in grey levels is 0; the drift before paste-back is reported."""

    def measures(self, evidence: Evidence) -> list[Measure]:
        source, edited, roi = evidence.source, evidence.edited, evidence.roi
        if not source.shape == edited.shape == roi.shape:
            raise DataError(
                f"Source {source.shape}, edit {edited.shape} and ROI {roi.shape} differ in size.",
                "Paste the edit back into the original film first.",
            )
        difference = np.abs(source.astype(np.int16) - edited.astype(np.int16))[~roi]
        greatest = float(difference.max()) if difference.size else 0.0
        return [
            self.within("greatest change outside the ROI", greatest, high=0.0),
            self.within("drift before paste-back", evidence.drift),
        ]
