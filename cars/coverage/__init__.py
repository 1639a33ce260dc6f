"""Coverage: which clinical attribute combinations does a data set lack, and how much of that is to be expected?

`gaps` is the verb. The pages also use counts, cooccurrence, gap_table, films_of_pattern, nearest_source_films and
before_after. See docs/science-coverage.md for what each figure means.
"""

from .search import gaps
from .settings import GapsSettings

__all__ = ["GapsSettings", "gaps"]
