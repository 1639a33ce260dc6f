"""Coverage in feature space: test films, and each gap's, against train films as the encoder sees them.

`space` is the verb; the other functions are what the page shows. docs/feature-space.md says what each figure means.
"""

from .settings import SpaceSettings
from .verb import space
from .views import curves, film_frame, listed_gaps, measured, near_misses, sentences, shares

__all__ = [
    "SpaceSettings",
    "curves",
    "film_frame",
    "listed_gaps",
    "measured",
    "near_misses",
    "sentences",
    "shares",
    "space",
]
