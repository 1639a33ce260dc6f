"""Coverage: which clinical attribute combinations does a data set lack, and how much of that is to be expected?

`gaps` is the verb. The pages also use the other functions below. docs/science-coverage.md says what each figure means.
"""

from .browse import films_of_pattern, gap_table, nearest_source_films
from .compare import before_after
from .rank import score_parts
from .search import gaps
from .settings import GapsSettings
from .tally import CoOccurrence, cooccurrence, counts
from .tway import tway, unseen_in_train

__all__ = [
    "CoOccurrence",
    "GapsSettings",
    "before_after",
    "cooccurrence",
    "counts",
    "films_of_pattern",
    "gap_table",
    "gaps",
    "nearest_source_films",
    "score_parts",
    "tway",
    "unseen_in_train",
]
