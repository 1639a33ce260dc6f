"""The phrases of phrases.toml: the little language that they are written in, and the tree that finds them in a text.

Text and phrases are compared word by word. A word is lower case and without a plural ending, so one phrase matches its
plural, its capitals, and its spelling with or without a hyphen. All phrases hang in one tree, so a text is walked once
however many there are.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from .. import schema
from ..errors import SettingError
from ..provenance import digest

SHIPPED = Path(__file__).parent / "phrases.toml"
GAP = "..."
#: How many words a gap may skip.
LONGEST_GAP = 5
SECTIONS = ("findings", "impression", "ignored")
TRIGGERS = (
    "negated_before", "negated_after", "uncertain_before", "uncertain_after", "hypothetical_before",
    "hypothetical_after", "historical_before", "still_there", "not_triggers", "ends", "new_item",
)  # fmt: skip
KINDS = ("present", "absent", "uncertain", "ignored")
WORD = re.compile(r"[^\W_]+(?:['’/][^\W_]+)*|\?")
_LEXEME = re.compile(r"\.\.\.|[()|\[\]]|[^\s()|\[\]-]+")


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A word in lower case, without a plural ending: "Opacities" → "opacity", "masses" → "mass", "sulcus" stays."""
    word = word.lower().replace("’", "'")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


@dataclass(frozen=True)
class Token:
    """A word of a text: its stem, its place in characters, and whether a comma or bracket stands before it."""

    stem: str
    start: int
    end: int
    comma: bool


def tokens_of(text: str, start: int, end: int) -> list[Token]:
    """The words of text[start:end], with places in `text`."""
    found: list[Token] = []
    last = start
    for match in WORD.finditer(text, start, end):
        between = text[last : match.start()]
        found.append(Token(stem(match.group()), *match.span(), bool(found) and any(c in between for c in ",()")))
        last = match.end()
    return found


@dataclass(frozen=True)
class Hit:
    """A phrase found: `label` says whose it is; tokens [first, last) of the sentence; `gap`: what a gap skipped."""

    label: tuple[str, str]
    first: int
    last: int
    gap: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        return self.last - self.first


@dataclass(eq=False)
class Node:
    """A place in the phrases. words, starts: what may come next (words, beginnings of words); gap: where a gap ends."""

    words: dict[str, list[Node]] = field(default_factory=dict)
    starts: dict[str, list[Node]] = field(default_factory=dict)
    gap: list[Node] = field(default_factory=list)
    labels: list[tuple[str, str]] = field(default_factory=list)


def _step(here: list[Node], edge: Callable[[Node], list[Node]]) -> list[Node]:
    """One new place behind all of `here`."""
    to = Node()
    for node in here:
        edge(node).append(to)
    return [to]


class Tree:
    """Every phrase, found in one walk."""

    def __init__(self) -> None:
        self.root = Node()

    def add(self, phrase: str, label: tuple[str, str]) -> None:
        """Hang a phrase up.

        Raises: SettingError that quotes a phrase with unbalanced brackets, or that starts or ends without a word.
        """
        lexemes = _LEXEME.findall(phrase)
        ends, at = self._grow(lexemes, 0, [self.root], phrase)
        if at != len(lexemes):
            raise SettingError(f"The phrase {phrase!r} has a bracket too many.", "Write (a|b) and [c].")
        if self.root in ends or not lexemes or GAP in (lexemes[0], lexemes[-1]):
            raise SettingError(f"The phrase {phrase!r} needs a word at its start and its end.", "See phrases.toml.")
        for end in ends:
            if label not in end.labels:
                end.labels.append(label)

    def _grow(self, lexemes: list[str], at: int, starts: list[Node], phrase: str) -> tuple[list[Node], int]:
        """Add the lexemes up to a closing bracket or the end behind `starts`: (the places where they end, where)."""
        every: list[Node] = []
        here = starts
        while at < len(lexemes) and lexemes[at] not in ")]":
            lexeme = lexemes[at]
            at += 1
            if lexeme == "|":
                every, here = every + here, starts
            elif lexeme in "([":
                inner, at = self._grow(lexemes, at, here, phrase)
                if at >= len(lexemes) or lexemes[at] != {"(": ")", "[": "]"}[lexeme]:
                    raise SettingError(f"The phrase {phrase!r} lacks a bracket.", "Write (a|b) and [c].")
                at += 1
                here = list(dict.fromkeys(inner + here if lexeme == "[" else inner))
            elif lexeme == GAP:
                here = _step(here, lambda node: node.gap)
            elif lexeme.endswith("*") and len(lexeme) > 1:
                begin = lexeme[:-1].lower()
                here = _step(here, lambda node, begin=begin: node.starts.setdefault(begin, []))
            else:
                for word in (stem(w) for w in WORD.findall(lexeme)):
                    here = _step(here, lambda node, word=word: node.words.setdefault(word, []))
        return list(dict.fromkeys(every + here)), at

    def hits(self, tokens: Sequence[Token]) -> list[Hit]:
        """Every phrase in a sentence; of one label and one start only the longest, with the fewest words skipped."""
        found: list[Hit] = []
        root = self.root
        starts = tuple(root.starts)
        for first, token in enumerate(tokens):
            if token.stem in root.words or token.stem.startswith(starts):
                best: dict[tuple[str, str], Hit] = {}
                for hit in self._walk(root, tokens, first, first, ()):
                    other = best.get(hit.label)
                    if other is None or (hit.length, -len(hit.gap)) > (other.length, -len(other.gap)):
                        best[hit.label] = hit
                found += best.values()
        return found

    def _walk(self, node: Node, tokens: Sequence[Token], first: int, at: int, gap: tuple[int, ...]) -> Iterator[Hit]:
        for label in node.labels:
            yield Hit(label, first, at, gap)
        if at >= len(tokens) or (at > first and tokens[at].comma):
            return
        word = tokens[at].stem
        for below in node.words.get(word, ()):
            yield from self._walk(below, tokens, first, at + 1, gap)
        for start, nodes in node.starts.items():
            if word.startswith(start):
                for below in nodes:
                    yield from self._walk(below, tokens, first, at + 1, gap)
        for below in node.gap:
            for skipped in range(LONGEST_GAP + 1):
                if at + skipped >= len(tokens) or (skipped and tokens[at + skipped].comma):
                    break
                yield from self._walk(below, tokens, first, at + skipped, (*gap, *range(at, at + skipped)))


@dataclass(frozen=True)
class Concept:
    """One concept: `name` in words, `group`, related CheXpert `findings`, and `means`, what counts."""

    name: str
    group: str
    means: str
    findings: tuple[str, ...]

    @property
    def column(self) -> str:
        """Its column in the table `concepts`: "irregular hilum" → "concept_irregular_hilum"."""
        return schema.concept_column(self.name)


@dataclass(frozen=True)
class Lexicon:
    """All that a report is read with. tree: phrases labelled (concept, kind) or ("", trigger); headings likewise."""

    concepts: dict[str, Concept]
    tree: Tree
    headings: Tree
    key: str


def lexicon(own: Mapping[str, Any] | None = None) -> Lexicon:
    """The shipped phrases with a workspace's own, `[concepts.phrases]` of its workspace.toml.

    Raises: SettingError that names the concept and quotes what is wrong in it.
    """
    table = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
    phrases = {name: dict(body) for name, body in table["concepts"].items()}
    for name, body in (own or {}).items():
        phrases[name] = _merged(name, phrases.get(name), body)
    tree, headings = Tree(), Tree()
    for trigger in TRIGGERS:
        for phrase in table["context"][trigger]:
            tree.add(phrase, ("", trigger))
    for section in SECTIONS:
        for phrase in table["sections"][section]:
            headings.add(phrase, ("", section))
    concepts = {}
    for name, body in phrases.items():
        related = tuple(body.get("findings", ()))
        concepts[name] = Concept(name, body.get("group", name), body.get("means", ""), related)
        for kind in KINDS:
            for phrase in body.get(kind, ()):
                tree.add(phrase, (name, kind))
    return Lexicon(concepts, tree, headings, digest(table["context"], table["sections"], phrases))


def _merged(name: str, shipped: dict[str, Any] | None, own: Any) -> dict[str, Any]:
    where = f"[concepts.phrases.{name}]"
    if not schema.CONCEPT_NAME.fullmatch(name):
        raise SettingError(f"{name!r} is no name of a concept.", "Use words of small letters and digits.")
    if not isinstance(own, Mapping):
        raise SettingError(f"{where} is {own!r}.", "Write it as a table; see cars/concepts/phrases.toml.")
    known = ("group", "means", "findings", "replace", *KINDS)
    for key, value in own.items():
        if key not in known:
            raise SettingError(f"{where} has {key!r}.", f"A concept has: {', '.join(known)}.")
        if key in (*KINDS, "findings") and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
            raise SettingError(f"{where}: {key} = {value!r} is no list of texts.", 'Write ["one", "other"].')
    for finding in own.get("findings", ()):
        if finding not in schema.FINDINGS:
            raise SettingError(f"{where}: there is no finding {finding!r}.", f"Use: {', '.join(schema.FINDINGS)}.")
    if shipped is None and not own.get("present"):
        raise SettingError(f"{where} has no phrase.", 'Give it `present = ["…"]`.')
    base = {} if own.get("replace") else shipped or {}
    merged = {**{k: (shipped or {})[k] for k in ("group", "means", "findings") if k in (shipped or {})}}
    merged |= {k: own[k] for k in ("group", "means", "findings") if k in own}
    return merged | {kind: [*base.get(kind, ()), *own.get(kind, ())] for kind in KINDS}
