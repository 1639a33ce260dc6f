"""Gate: an independent judge, no backbone under test, sees each change."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan

from ..schema import FINDINGS
from . import Evidence, Gate, Measure, gate, step_below


@gate("judge", order=10, help="An independent classifier sees the change.")
@dataclass(frozen=True)
class JudgeGate(Gate):
    """Each changed finding lies on the old side of its threshold before the edit and on the new side after it.

    A finding that the judge was not trained on fails: nobody vouches for it.
    """

    def measures(self, evidence: Evidence) -> list[Measure]:
        rows = []
        for finding, direction in evidence.changes.items():
            k = FINDINGS.index(finding)
            threshold = float(evidence.thresholds[k])
            if isnan(threshold):
                rows.append(Measure(self.name, f"{finding}: not judged", nan, nan, nan, False))
                continue
            # the threshold itself counts as present, so "absent" ends one step below it
            absent, present = {"high": step_below(threshold)}, {"low": threshold}
            old, new = (absent, present) if direction == "insert" else (present, absent)
            rows.append(self.within(f"{finding}: probability before", evidence.before[k], **old))
            rows.append(self.within(f"{finding}: probability after", evidence.after[k], **new))
        return rows
