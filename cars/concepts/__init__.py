"""The verb `concepts`: clinical concepts read from the reports, ready to be used as attributes.

phrases.toml is the one file to read first: concepts, their phrases, and the words that deny or doubt them.
docs/concepts.md says what the values mean and how often they are right.
"""

from .lexicon import Concept, Lexicon, lexicon
from .reading import Evidence, Reading, read_report
from .run import ConceptsSettings, concepts, evidence_of, lexicon_of

__all__ = [
    "Concept",
    "ConceptsSettings",
    "Evidence",
    "Lexicon",
    "Reading",
    "concepts",
    "evidence_of",
    "lexicon",
    "lexicon_of",
    "read_report",
]
