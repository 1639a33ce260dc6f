"""In which order to look at gaps: a score between 0 and 1 whose parts can be shown.

    deficit   how far below τ: (τ − count) / τ
    rarity    how surely rarer than expected: 1 − EB95, 0 where EB95 ≥ 1 or there is no expectation
    test      whether the test films ask for it: t / (t + 10) for t matching test films
    reach     whether it can be filled: share of the deficit that editable train films could fill, at most 1

The upper bound EB95 and not the ratio itself, so that a gap of few expected cases does not lead the list by chance.
"""

from __future__ import annotations

import pandas as pd

WEIGHTS = {"deficit": 0.3, "rarity": 0.3, "test": 0.2, "reach": 0.2}
#: This many matching test films make half of the test part.
HALF_TEST_FILMS = 10


def score_parts(gaps: pd.DataFrame) -> pd.DataFrame:
    """The four parts of each gap's score, each in [0, 1]; columns as in WEIGHTS, index as given."""
    deficit = gaps["deficit"].astype(float)
    return pd.DataFrame(
        {
            "deficit": (deficit / gaps["threshold"]).clip(0, 1),
            "rarity": (1 - gaps["high"]).clip(0, 1).fillna(0.0),
            "test": gaps["test_films"] / (gaps["test_films"] + HALF_TEST_FILMS),
            "reach": (gaps["reachable"] / deficit.clip(lower=1)).clip(0, 1),
        }
    )


def ranked(gaps: pd.DataFrame) -> pd.DataFrame:
    """The gaps with `score` and `rank` (from 1), best first; impossible ones last, ties by level, then by pattern."""
    parts = score_parts(gaps)
    score = sum(weight * parts[name] for name, weight in WEIGHTS.items())
    gaps = gaps.assign(score=score, impossible=gaps["verdict"] == "impossible")
    gaps = gaps.sort_values(
        ["impossible", "score", "level", "pattern"], ascending=[True, False, True, True], ignore_index=True
    )
    return gaps.drop(columns="impossible").assign(rank=range(1, len(gaps) + 1))
