"""Coverage in feature space: test films, and each gap's, against train films as the encoder sees them.

`space` is the verb. docs/feature-space.md says what each figure means.
"""

from .settings import SpaceSettings
from .verb import space

__all__ = ["SpaceSettings", "space"]
