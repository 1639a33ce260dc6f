"""Gate: no finding that the edit does not concern changes sides."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from ..config import setting
from . import Evidence, Gate, Measure, collateral, gate, unconcerned


@gate("untouched", order=50, help="The judge sees no other finding come or go.")
@dataclass(frozen=True)
class UntouchedGate(Gate):
    """The findings that the edit does not concern and that go from surely absent to surely present, or back.

    The judge is sure where 95% of the validation films with a finding lie above, or 95% of those without it below; so
    a finding that it can hardly see decides little. `benchmarks/untouched.py` shows how often the true counterfactual
    would fail. Where the judge knows no other finding the row says "not checked".
    """

    others: int = setting(0, "Most other findings that may change sides.", minimum=0)
    movement: float | None = setting(
        None, "Greatest change of another finding's probability; empty: only reported.", minimum=0, maximum=1
    )

    def measures(self, evidence: Evidence) -> list[Measure]:
        others = unconcerned(evidence.changes, evidence.thresholds)
        if not others.any():
            return [self.not_checked("other findings that change sides")]
        changed = collateral(evidence.before, evidence.after, evidence.sure, evidence.changes)
        moved = float(np.abs(evidence.after - evidence.before)[others].max())
        most = inf if self.movement is None else self.movement
        return [
            self.within("other findings that change sides", changed, high=float(self.others)),
            self.within("greatest movement of another finding", moved, high=most),
        ]
