"""In which order to look at gaps: a score between 0 and 1 whose parts are kept, so that weights can change at once.

    deficit   how far below τ: (τ − count) / τ
    rarity    how surely rarer than expected: 1 − EB95, 0 where EB95 ≥ 1; unknown where there is no expectation
    test      whether the test films ask for it: t / (t + 10) for t matching test films
    error     how wrong a trained model is on those test films; unknown before there is a run, and without a test film
    reach     whether it can be filled: (films one edit away + half of those two edits away) / deficit, at most 1

The score is the weighted mean of the parts that are known: the weight of an unknown part falls to the others. The
upper bound EB95 and not the ratio itself, so that a gap of few expected cases does not lead the list by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..config import resolve, setting
from ..workspace import Workspace

#: This many matching test films make half of the test part.
HALF_TEST_FILMS = 10
#: A film two edits away counts as half of one that is one edit away.
TWO_EDITS = 0.5


@dataclass(frozen=True)
class RankSettings:
    """How much each part counts in the order of the gaps; only the proportions matter."""

    deficit: float = setting(30.0, "Weight of what is missing to τ, as a share of it.", minimum=0, maximum=100)
    rarity: float = setting(25.0, "Weight of being surely rarer than expected (1 − EB95).", minimum=0, maximum=100)
    test: float = setting(15.0, "Weight of the test films that match.", minimum=0, maximum=100)
    error: float = setting(15.0, "Weight of a trained model's error on those test films.", minimum=0, maximum=100)
    reach: float = setting(15.0, "Weight of train films one or two finding edits away.", minimum=0, maximum=100)


PARTS: tuple[str, ...] = tuple(RankSettings.__dataclass_fields__)
#: Part → a few words for a list or a figure.
PART_WORDS = {
    "deficit": "patients short of τ",
    "rarity": "rarer than expected",
    "test": "test films affected",
    "error": "model error there",
    "reach": "within reach of edits",
}


def weights_of(workspace: Workspace) -> RankSettings:
    """The weights of workspace.toml `[rank]` and of the environment, else the defaults. Raises: SettingError."""
    return resolve(RankSettings, "rank", None, workspace.file_settings)


def score_parts(gaps: pd.DataFrame, error: np.ndarray | None = None) -> pd.DataFrame:
    """The parts of each gap's score, each in [0, 1] or NaN where it is not known; columns as PARTS, index as given.

    gaps: rows of the table `gaps`. error: (gaps,) float in [0, 1], see `model_error`; None: there is no run.
    """
    deficit = gaps["deficit"].astype(float)
    films = gaps["reachable"] + TWO_EDITS * gaps.get("reachable_two", 0)
    parts = {
        "deficit": (deficit / gaps["threshold"]).clip(0, 1),
        "rarity": (1 - gaps["high"]).clip(0, 1),
        "test": gaps["test_films"] / (gaps["test_films"] + HALF_TEST_FILMS),
        # at chance (0.5) or worse the part is full
        "error": np.nan if error is None else np.clip(2 * np.asarray(error), 0, 1),
        "reach": (films / deficit.clip(lower=1)).clip(0, 1),
    }
    return pd.DataFrame(parts, index=gaps.index)[list(PARTS)].astype(float)


def shares(parts: pd.DataFrame, weights: RankSettings) -> pd.DataFrame:
    """What each part adds to the score: (gaps, parts), NaN for an unknown part; a row's others add up to its score.

    All 0 where no known part has a weight.
    """
    weight = np.array([getattr(weights, name) for name in PARTS])
    values = parts[list(PARTS)].to_numpy()
    known = ~np.isnan(values)
    total = (known * weight).sum(axis=1, keepdims=True)
    share = np.divide(values * weight, total, out=np.where(known, 0.0, np.nan), where=total > 0)
    return pd.DataFrame(share, columns=list(PARTS), index=parts.index)


def scores(parts: pd.DataFrame, weights: RankSettings) -> np.ndarray:
    """(gaps,) float in [0, 1]."""
    return np.nansum(shares(parts, weights).to_numpy(), axis=1)


def ranked(gaps: pd.DataFrame, weights: RankSettings | None = None, parts: pd.DataFrame | None = None) -> pd.DataFrame:
    """The gaps with `score` and `rank` (from 1), best first; impossible ones last, ties by level, then by pattern.

    parts: of `score_parts`, aligned with the gaps; by default those of the table alone. Counts nothing anew, so 100,000
    gaps are in order within a blink.
    """
    # differences of rounding must not decide over ties
    score = np.round(scores(score_parts(gaps) if parts is None else parts, weights or RankSettings()), 12)
    impossible = (gaps["verdict"] == "impossible").to_numpy()
    order = np.lexsort((gaps["pattern"].to_numpy(dtype=str), gaps["level"], -score, impossible))
    return gaps.assign(score=score).iloc[order].reset_index(drop=True).assign(rank=np.arange(1, len(gaps) + 1))


def plausible(gaps: pd.DataFrame) -> pd.DataFrame:
    """`low` and `high`: how many units a like data set would plausibly have of each pattern; NaN without expectation.

    EB05 × expected and EB95 × expected: the 5% and 95% points of the gamma-Poisson posterior of the mean count behind
    the gap. In between, with 90% probability under the fitted prior, lies what data of this size, collected in the same
    way, would have on average; it says nothing of other data sets.
    """
    return pd.DataFrame({"low": gaps["low"] * gaps["expected"], "high": gaps["high"] * gaps["expected"]})
