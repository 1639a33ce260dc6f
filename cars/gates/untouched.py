"""Gate: the findings that the edit does not concern move little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..config import setting
from . import Evidence, Gate, Measure, gate, unconcerned


@gate("untouched", order=50, help="The other findings' probabilities move no more than a sham edit moves them.")
@dataclass(frozen=True)
class UntouchedGate(Gate):
    """The greatest change of the judge's probability among the findings that the edit does not concern.

    Findings that the judge was not trained on do not count; where none is left the row says "not checked". `movement`
    is what 95% of inpainted shams stay below on the phantom (`benchmarks/untouched.py`). It is not required by default,
    for under the packaged judge an eighth of the true counterfactuals would fail it.
    """

    required: bool = setting(False, "Whether an edit must pass; otherwise the numbers are only kept.")
    movement: float = setting(
        0.82, "Greatest change of probability of a finding that the edit does not concern.", minimum=0, maximum=1
    )

    def measures(self, evidence: Evidence) -> list[Measure]:
        others = unconcerned(evidence.changes, evidence.thresholds)
        if not others.any():
            return [self.not_checked("greatest movement of another finding")]
        moved = np.abs(evidence.after - evidence.before)[others]
        return [
            self.within("greatest movement of another finding", float(moved.max()), high=self.movement),
            self.within("mean movement of the other findings", float(moved.mean())),
        ]
