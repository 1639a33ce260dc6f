"""Coverage: which clinical attribute combinations does a data set lack, and how much of that is to be expected?

`gaps` is the verb. The pages also use the other functions below. docs/science-coverage.md says what each figure means.
"""

from . import filters
from .browse import films_of_pattern, gap_table, nearest_source_films
from .cards import GapCard, gap_card, markdown
from .codes import FilmCodes, film_codes
from .compare import before_after
from .error import ModelError, model_error
from .gained import coverage_gains, gained_sentence
from .gap_list import GapList, Narrowing
from .rank import PART_WORDS, PARTS, RankSettings, plausible, ranked, score_parts, shares, weights_of
from .search import gaps
from .settings import GapsSettings
from .tally import cooccurrence, counts
from .tway import tway, unseen_in_train
from .views import CoOccurrence, combinations_of, finding_counts, pair_table, pairs_of, prevalence

__all__ = [
    "PARTS",
    "PART_WORDS",
    "CoOccurrence",
    "FilmCodes",
    "GapCard",
    "GapList",
    "GapsSettings",
    "ModelError",
    "Narrowing",
    "RankSettings",
    "before_after",
    "combinations_of",
    "cooccurrence",
    "counts",
    "coverage_gains",
    "film_codes",
    "films_of_pattern",
    "filters",
    "finding_counts",
    "gained_sentence",
    "gap_card",
    "gap_table",
    "gaps",
    "markdown",
    "model_error",
    "nearest_source_films",
    "pair_table",
    "pairs_of",
    "plausible",
    "prevalence",
    "ranked",
    "score_parts",
    "shares",
    "tway",
    "unseen_in_train",
    "weights_of",
]
