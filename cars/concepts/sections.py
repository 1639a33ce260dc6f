"""A report cut into sections, and sections into sentences; places are characters of the whole report.

FINDINGS and IMPRESSION, under their usual other names, are read; history, indication, technique, comparison and the
like are not. Text without a heading, before the first one or in a paragraph after an ignored section, is read where the
report has no FINDINGS: many reports never name them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .lexicon import Tree, tokens_of

#: A heading: a few words with a colon at a line's start, words in capitals with a colon after a sentence, or a line of
#: nothing but capitals.
_HEADING = re.compile(
    r"^[ \t]*(?P<line>[A-Za-z][A-Za-z /&,()\-]{1,60}?)[ \t]*:"
    r"|(?<=[.?!\n])[ \t]*(?P<inline>[A-Z][A-Z /&()\-]{3,40})[ \t]*:"
    r"|^[ \t]*(?P<alone>[A-Z][A-Z /&()\-]{3,60})[ \t]*$",
    re.MULTILINE,
)
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_ABBREVIATIONS = r"(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bvs)(?<!\be\.g)(?<!\bi\.e)(?<!\bapprox)(?<!\bNo)"
_BOUNDARY = re.compile(
    rf"{_ABBREVIATIONS}[.!?]+(?=\s|$)|;|\n[ \t\r]*\n|\n[ \t]*(?=(?:\d{{1,2}}[.)]|[-*•])[ \t])|[.!?](?=[A-Z][a-z])"
)
#: A line that ends this early ends its sentence, when the next begins with a capital: lists without full stops.
SHORT_LINE = 50
_SHORT = re.compile(rf"(?:^|(?<=\n))[^\n]{{0,{SHORT_LINE}}}\n(?=[ \t]*[A-Z])")


@dataclass(frozen=True)
class Section:
    """kind: findings, impression or ignored; unlabelled text that is read counts as findings. text[start:end]."""

    kind: str
    start: int
    end: int


def sections_of(text: str, headings: Tree) -> list[Section]:
    """The sections of a report in order, without its headings and without empty ones."""
    marks = _marks(text, headings)
    raw: list[Section] = []
    if not marks or marks[0][1] > 0:
        raw.append(Section("unlabelled", 0, marks[0][1] if marks else len(text)))
    for n, (kind, _, body) in enumerate(marks):
        end = marks[n + 1][1] if n + 1 < len(marks) else len(text)
        if kind == "ignored":
            first = _first_paragraph(text, body, end)
            raw += [Section("ignored", body, first), Section("unlabelled", first, end)]
        else:
            raw.append(Section(kind, body, end))
    # a preamble such as "FINAL REPORT" is not worth reading, and what follows a history may still be history
    unlabelled = "ignored" if any(s.kind == "findings" for s in raw) else "findings"
    named = [Section(unlabelled if s.kind == "unlabelled" else s.kind, s.start, s.end) for s in raw]
    return [s for s in named if text[s.start : s.end].strip()]


def _marks(text: str, headings: Tree) -> list[tuple[str, int, int]]:
    """(kind, start, start of what is read) of each heading that the phrases know."""
    marks = []
    for match in _HEADING.finditer(text):
        name = next(g for g in ("line", "inline", "alone") if match[g] is not None)
        words = tokens_of(text, *match.span(name))
        kinds = [h.label[1] for h in headings.hits(words) if h.first == 0 and h.last == len(words)]
        if kinds:
            # "Lungs: clear" needs its heading to make sense
            marks.append((kinds[0], match.start(), match.start() if kinds[0] == "findings" else match.end()))
    return marks


def _first_paragraph(text: str, start: int, end: int) -> int:
    """Where the first paragraph with a word in it ends."""
    words = re.compile(r"\w").search(text, start, end)
    blank = _BLANK_LINE.search(text, words.start(), end) if words else None
    return blank.end() if blank else end


def sentences_of(text: str, section: Section) -> Iterator[tuple[int, int]]:
    """(start, end) of each sentence of a section. Line ends inside a sentence do not cut it."""
    cuts = {m.end() for m in _BOUNDARY.finditer(text, section.start, section.end)}
    cuts |= {m.end() for m in _SHORT.finditer(text, section.start, section.end)}
    last = section.start
    for cut in [*sorted(cuts), section.end]:
        piece = text[last:cut]
        if piece.strip():
            lead = len(piece) - len(piece.lstrip())
            yield last + lead, last + len(piece.rstrip())
        last = cut
