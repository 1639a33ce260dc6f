"""Gate: the edited film is no near copy of another patient's film."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from ..config import setting
from . import Evidence, Gate, Measure, gate, step_below


@gate("copy", order=60, help="The film is no near copy of another patient's, as this workspace's encoder sees it.")
@dataclass(frozen=True)
class CopyGate(Gate):
    """The edited film's cosine similarity to the nearest film of another patient stays below a limit.

    The limit follows from the data set: 99.9% of its films stay below it to their own nearest stranger
    (`index.likeness_of_strangers`). Where the films have no vectors the row says "not checked".
    """

    similarity: float | None = setting(
        None, "Similarity from which a film is a near copy; empty: what 0.1% of real films reach.",
        minimum=-1, maximum=1,
    )  # fmt: skip

    def measures(self, evidence: Evidence) -> list[Measure]:
        measure = "similarity to another patient's film"
        limit = evidence.strangers if self.similarity is None else self.similarity
        if isnan(evidence.likeness) or isnan(limit):
            return [self.not_checked(measure)]
        return [self.within(measure, evidence.likeness, high=step_below(limit))]
