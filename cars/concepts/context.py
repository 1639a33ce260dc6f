"""What the words around a phrase make of it: there, not there, uncertain, or only asked about.

After ConText (Harkema, Dowling, Thornblade & Chapman, "ConText: an algorithm for determining negation, experiencer, and
temporal status from clinical reports", Journal of Biomedical Informatics 2009) and NegEx (Chapman et al., "A simple
algorithm for identifying negated findings and diseases in discharge summaries", 2001). A trigger reaches from its own
place to the end of the sentence, or to a word that ends its reach. Beyond them, radiology's lists need these rules:

- "no pneumothorax, small effusion": an item that begins with a word of size or course ends a negation, unless an "or"
  follows, since "no new consolidation, large effusion, or pneumothorax" denies all three.
- "no effusion, heart is enlarged": an item with a verb of its own does so, too.
- "X has resolved, Y cannot be excluded": backward, a comma or an "and" after a verb ends the reach, except in a list
  with "or" or "and" behind its last comma.
- a doubt reaches over a comma only in a list with "or": "may be atelectasis, pneumonia, or aspiration".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .lexicon import Hit, Token

PRESENT, ABSENT, UNCERTAIN = "present", "absent", "uncertain"
_DIRECTED = (
    "negated_before", "negated_after", "uncertain_before", "uncertain_after", "hypothetical_before",
    "hypothetical_after", "historical_before",
)  # fmt: skip
_ONE_OF = (*_DIRECTED, "not_triggers", "ends")
_VERBS = frozenset({"is", "are", "has", "have", "was", "were", "appear", "remain", "persist", "seem", "demonstrate"})
_OR = frozenset({"or", "nor", "versus", "vs"})
_AND = frozenset({"and", "plus"})


@dataclass(frozen=True)
class Mention:
    """A concept in a sentence: its value, tokens [first, last), and which rule decided, for the evidence."""

    concept: str
    value: str
    first: int
    last: int
    rule: str


def mentions_of(tokens: Sequence[Token], hits: Iterable[Hit]) -> list[Mention]:
    """The concepts of one sentence, from the phrases found in it; only asked-about and past ones are left out."""
    hits = list(hits)
    named = _longest([h for h in hits if h.label[0]], per_concept=True)
    if not named:
        return []
    words = _Words(tokens, named, [h for h in hits if not h.label[0]])
    found = []
    for hit in named:
        if hit.label[1] != "ignored":
            value, rule = words.judge(hit)
            if value:
                found.append(Mention(hit.label[0], value, hit.first, hit.last, rule))
    return found


def _longest(hits: list[Hit], per_concept: bool) -> list[Hit]:
    """Of overlapping phrases the longer one, then the earlier; with `per_concept` only those of one concept compete."""
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda h: (-(h.length - len(h.gap)), h.first)):
        rivals = [k for k in kept if not per_concept or k.label[0] == hit.label[0]]
        twins = [k for k in rivals if (k.first, k.last) == (hit.first, hit.last)]
        clash = any(k.first < hit.last and hit.first < k.last for k in rivals if k not in twins)
        if not clash and (not per_concept or not twins):
            kept.append(hit)
    return sorted(kept, key=lambda h: (h.first, h.last))


class _Words:
    """The triggers of one sentence and how far each reaches."""

    def __init__(self, tokens: Sequence[Token], named: list[Hit], others: list[Hit]) -> None:
        self.tokens = tokens
        inside = [(h.first, h.last, set(h.gap)) for h in named]

        def own_word(hit: Hit) -> bool:
            """Whether a trigger is part of what a phrase says, as the "no" of "no lung markings" is."""
            return any(
                first <= hit.first and hit.last <= last and not set(range(hit.first, hit.last)) <= gap
                for first, last, gap in inside
            )

        free = [h for h in others if not own_word(h)]
        self.triggers = _longest([h for h in free if h.label[1] in _ONE_OF], per_concept=False)
        self.ends = [h for h in self.triggers if h.label[1] == "ends"]
        self.still = any(h.label[1] == "still_there" for h in free)
        self.named = named
        closing = {n for h in self.ends for n in range(h.first, h.last)}
        self.verbs = [n for n, t in enumerate(tokens) if t.stem in _VERBS and n not in closing]
        self.joints = [n for n, t in enumerate(tokens) if t.comma or t.stem in _AND]
        new_items = {h.first for h in others if h.label[1] == "new_item"}
        self.new_items = {n for n in new_items if n and (tokens[n].comma or tokens[n - 1].stem in _AND)}
        both = {(h.first, h.last, h.label[1].split("_")[0]) for h in self.triggers if h.label[1].endswith("_after")}
        self.reach = {h: self._reach(h, (h.first, h.last, h.label[1].split("_")[0]) in both)
                      for h in self.triggers if h.label[1] in _DIRECTED}  # fmt: skip

    # How far -------------------------------------------------------------------------------------------------------

    def _reach(self, trigger: Hit, twofold: bool) -> tuple[int, int]:
        """The tokens [from, to) that a trigger covers."""
        kind, direction = trigger.label[1].split("_")
        if direction == "before":
            end = self._forward(trigger, kind)
            if twofold:  # "resolved effusion", but "effusion resolved"
                end = min([end, *(n for n in self.joints if n > trigger.last - 1)])
                if not any(trigger.last <= h.first < end for h in self.named):
                    return trigger.last, trigger.last
            return trigger.last, end
        forward = min([len(self.tokens), *(n for n in self.joints if n > trigger.last - 1)])
        if twofold and any(trigger.last <= h.first < forward for h in self.named):
            return trigger.first, trigger.first
        return self._backward(trigger), trigger.first

    def _forward(self, trigger: Hit, kind: str) -> int:
        tokens, start = self.tokens, trigger.last
        end = min([len(tokens), *(h.first for h in self.ends if h.first >= start)])
        if kind == "historical":
            return min([end, *(n for n in range(start + 1, end) if tokens[n].comma)])
        for joint in (n for n in self.joints if start < n < end):
            rest = tokens[joint:end]
            listed = any(t.stem in _OR for t in rest)
            first = joint if tokens[joint].stem not in _AND else joint + 1
            if kind == "uncertain" and tokens[joint].comma and not listed:
                return joint
            if kind == "negated" and first in self.new_items and not listed:
                return joint
            if kind == "negated" and any(
                h.first == first and h.label[1] in ("uncertain_before", "negated_before") for h in self.triggers
            ):
                return joint
            following = min([end, *(n for n in self.joints if n > first)])
            if rest[0].stem not in _OR and any(first <= n < following for n in self.verbs):
                return joint
        return end

    def _backward(self, trigger: Hit) -> int:
        tokens = self.tokens
        closing = [h for h in self.triggers if h.label[1] == "ends" or h.label[1].endswith("_after")]
        limit = max([0, *(h.last for h in closing if h.last <= trigger.first)])
        opened = any(h.last == limit and tokens[h.first].stem == "there" for h in self.ends)
        start = limit
        joints = [n for n in self.joints if limit < n < trigger.first]
        for joint in joints:
            tail = {t.stem for t in tokens[joint : trigger.first]}
            if tokens[joint].comma:
                if not tail & (_OR | _AND):
                    start = joint
            elif opened or any(limit <= n < joint for n in self.verbs):
                start = joint + 1
        return start

    # What follows ---------------------------------------------------------------------------------------------------

    def covers(self, trigger: Hit, hit: Hit) -> bool:
        """Whether a trigger reaches a phrase, or stands in a gap of it."""
        if trigger.first >= hit.first and trigger.last <= hit.last:
            return set(range(trigger.first, trigger.last)) <= set(hit.gap)
        first, last = self.reach[trigger]
        return first <= hit.first < last

    def judge(self, hit: Hit) -> tuple[str | None, str]:
        """(value, rule); the value is None for what is only asked about or past."""
        over = {trigger.label[1] for trigger in self.reach if self.covers(trigger, hit)}
        kind = hit.label[1]
        if over & {"hypothetical_before", "hypothetical_after"}:
            return None, "hypothetical"
        if kind == "absent":
            return ABSENT, "phrase"
        if "negated_after" in over:
            return ABSENT, "negated"
        if "uncertain_after" in over:
            return UNCERTAIN, "uncertain"
        if "negated_before" in over:
            return ABSENT, "negated"
        if "historical_before" in over and not self.still:
            return None, "historical"
        if kind == "uncertain":
            return UNCERTAIN, "phrase"
        if "uncertain_before" in over:
            return UNCERTAIN, "uncertain"
        return PRESENT, "named"
