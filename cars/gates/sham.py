"""Gate: the same edit with nothing asked for must not convince the judge."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan

from ..schema import FINDINGS
from . import Evidence, Gate, Measure, gate, step_below


@gate("sham", order=40, help="The same edit without the finding must not convince the judge.")
@dataclass(frozen=True)
class ShamGate(Gate):
    """An insertion's sham (same ROI, seed and guidance, unchanged vector) stays below the finding's threshold.

    A deletion's is only reported, since healthy lung is what any inpainting tends to draw. An insertion without a sham
    fails.
    """

    def measures(self, evidence: Evidence) -> list[Measure]:
        rows = []
        for finding, direction in evidence.changes.items():
            k = FINDINGS.index(finding)
            value = nan if evidence.sham is None else float(evidence.sham[k])
            high = step_below(float(evidence.thresholds[k])) if direction == "insert" else inf
            rows.append(self.within(f"{finding}: probability of the sham", value, high=high))
        return rows
