"""One report, read: the value of each concept and the places that say so."""

from __future__ import annotations

from dataclasses import dataclass

from .. import schema
from .context import ABSENT, PRESENT, UNCERTAIN, mentions_of
from .lexicon import Lexicon, tokens_of
from .sections import sections_of, sentences_of

#: Characters of a report that are read; the longest known reports have a tenth of this.
MOST_CHARACTERS = 100_000
#: Words of a sentence that are read together. A longer one is no sentence, and is cut.
MOST_WORDS = 200
#: Strongest first: what counts when a section says several things of one concept.
ORDER = (PRESENT, UNCERTAIN, ABSENT)
UNREMARKABLE = "unremarkable"


@dataclass(frozen=True)
class Evidence:
    """A mention: text[start:end] names the concept in the sentence text[sentence_start:sentence_end] of the report."""

    concept: str
    value: str
    section: str
    start: int
    end: int
    sentence_start: int
    sentence_end: int
    rule: str


@dataclass(frozen=True)
class Reading:
    """values: each concept that is mentioned → present, absent or uncertain. evidence: every mention, in order.
    cut: whether the report was longer than what is read."""

    values: dict[str, str]
    evidence: tuple[Evidence, ...]
    cut: bool = False


def read_report(text: str, words: Lexicon) -> Reading:
    """Read one report. A text without any phrase gives no value; nothing raises, whatever the text holds."""
    cut = len(text) > MOST_CHARACTERS
    text = text[:MOST_CHARACTERS]
    found: list[Evidence] = []
    for section in sections_of(text, words.headings):
        if section.kind == "ignored":
            continue
        for start, end in sentences_of(text, section):
            every = tokens_of(text, start, end)
            for n in range(0, len(every), MOST_WORDS):
                tokens = every[n : n + MOST_WORDS]
                for m in mentions_of(tokens, words.tree.hits(tokens)):
                    place = tokens[m.first].start, tokens[m.last - 1].end
                    found.append(Evidence(m.concept, m.value, section.kind, *place, start, end, m.rule))
    return Reading(values_of(found), tuple(found), cut)


def values_of(evidence: list[Evidence]) -> dict[str, str]:
    """One value a concept: the strongest within a section; the impression's before the findings', but an impression's
    "absent" does not undo a "present" of the findings ("no large effusion" under a small one)."""
    values: dict[str, str] = {}
    for concept in dict.fromkeys(e.concept for e in evidence):
        said = {s: {e.value for e in evidence if (e.concept, e.section) == (concept, s)}
                for s in ("findings", "impression")}  # fmt: skip
        above, below = (next((v for v in ORDER if v in said[s]), None) for s in ("impression", "findings"))
        values[concept] = below if above is None or (above == ABSENT and below == PRESENT) else above  # type: ignore[assignment]
    disease = any(v in (PRESENT, UNCERTAIN) for c, v in values.items() if c in DISEASES)
    if disease and values.get(UNREMARKABLE) == PRESENT:
        values[UNREMARKABLE] = ABSENT
    return values


#: Concepts that a normal chest cannot have; a workspace's own concepts (tubes, say) are not among them.
DISEASES = tuple(name for name in schema.CONCEPTS if name != UNREMARKABLE)
