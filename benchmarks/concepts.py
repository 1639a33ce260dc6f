"""Reading reports: our rules against negspacy's NegEx on the cases of tests/concepts/cases.toml, and reports a second.

    python benchmarks/concepts.py [--json]

negspacy is no dependency of CARS; where it is not installed (pip install negspacy==1.1.0, in an environment of its
own), only our figures are printed. It is given our mentions (the same phrases, the same sections), so only the words
around them are judged differently: one of its components denies by its own `en_clinical` terms, a second doubts by our
terms, since negspacy brings none for doubt.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from cars.concepts.lexicon import SHIPPED, Lexicon, lexicon, tokens_of
from cars.concepts.reading import Evidence, read_report, values_of
from cars.concepts.sections import sections_of, sentences_of

ROOT = Path(__file__).resolve().parents[1]
CASES = ROOT / "tests" / "concepts" / "cases.toml"
REPORTS = 2_000
Reader = Callable[[str], dict[str, str]]


def agreement(cases: list[dict], read: Reader) -> tuple[int, int, Counter]:
    """(values right, values there are or were given, (gold, given) → how many)."""
    counts: Counter = Counter()
    for case in cases:
        got = read(case["text"])
        for concept in set(got) | set(case["gold"]):
            counts[case["gold"].get(concept), got.get(concept)] += 1
    return sum(n for (a, b), n in counts.items() if a == b), counts.total(), counts


def negspacy_reader(words: Lexicon) -> Reader | None:
    """The same mentions judged by two of negspacy's components; None where it is not installed."""
    try:
        import spacy
        from negspacy.negation import Negex  # noqa: F401  (registers the component)
    except ImportError:
        return None
    context = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))["context"]
    plain = {
        name: [p for p in phrases if not set(p) & set("()[]*|") and "..." not in p] for name, phrases in context.items()
    }
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("negex", name="denied", config={"span_keys": ["named"], "extension_name": "denied"})
    doubt = {
        "pseudo_negations": plain["not_triggers"],
        "preceding_negations": [*plain["uncertain_before"], "may represent", "may reflect", "cannot exclude"],
        "following_negations": [
            *plain["uncertain_after"], "cannot be excluded", "is possible", "is suspected", "may be present",
        ],
        "termination": plain["ends"],
    }  # fmt: skip
    config = {"span_keys": ["named"], "extension_name": "doubted", "neg_termset": doubt}
    nlp.add_pipe("negex", name="doubted", config=config)

    def read(text: str) -> dict[str, str]:
        found = []
        for section in sections_of(text, words.headings):
            if section.kind == "ignored":
                continue
            for start, end in sentences_of(text, section):
                tokens = tokens_of(text, start, end)
                hits = [h for h in words.tree.hits(tokens) if h.label[0] and h.label[1] != "ignored"]
                doc = nlp.make_doc(text[start:end])
                kept, spans = [], []
                for h in hits:
                    first, last = tokens[h.first].start - start, tokens[h.last - 1].end - start
                    span = doc.char_span(first, last, alignment_mode="expand")
                    kept.append(h)
                    spans.append(span)
                doc.spans["named"] = spans
                for _, pipe in nlp.pipeline:
                    doc = pipe(doc)
                for h, span in zip(kept, doc.spans["named"], strict=True):
                    value = {"absent": "absent", "uncertain": "uncertain"}.get(h.label[1], "present")
                    if value == "present":
                        value = "absent" if span._.denied else "uncertain" if span._.doubted else "present"
                    found.append(Evidence(h.label[0], value, section.kind, start, end, start, end, ""))
        return values_of(found)

    return read


def reports(cases: list[dict]) -> list[str]:
    """Made-up reports of the length that chest reports have, from the sentences of the cases."""
    choose = random.Random(0)
    texts = [c["text"] for c in cases if ":" not in c["text"]]
    return [
        "INDICATION: Cough, rule out pneumonia.\n\nCOMPARISON: None.\n\nFINDINGS: " + " ".join(choose.sample(texts, 10))
        + "\n\nIMPRESSION: " + " ".join(choose.sample(texts, 3))
        for _ in range(REPORTS)
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    parts = tomllib.loads(CASES.read_text(encoding="utf-8"))
    words = lexicon()

    def ours(text: str) -> dict[str, str]:
        return read_report(text, words).values

    theirs = negspacy_reader(words)
    rows = []
    for part, cases in parts.items():
        right, total, _ = agreement(cases, ours)
        other = agreement(cases, theirs) if theirs else None
        rows.append(
            {"what": f"{part}: right values of {total}", "ours": right, "reference": other and other[0],
             "ratio": other and round(right / other[0], 2), "unit": "values"}
        )  # fmt: skip
    made = reports([c for cases in parts.values() for c in cases])
    rates = {}
    for name, read in (("ours", ours), ("reference", theirs)):
        if read:
            start = time.process_time()
            for text in made[: REPORTS if name == "ours" else 200]:
                read(text)
            rates[name] = (REPORTS if name == "ours" else 200) / (time.process_time() - start)
    size = sum(map(len, made)) / len(made)
    rows.append(
        {"what": f"reports of {size:.0f} characters, one process", "ours": round(rates["ours"]),
         "reference": round(rates["reference"]) if theirs else None,
         "ratio": round(rates["ours"] / rates["reference"], 1) if theirs else None, "unit": "reports per CPU second"}
    )  # fmt: skip
    if arguments.json:
        print(json.dumps({"name": "concepts", "rows": rows}))
    else:
        for row in rows:
            print("{what:55} ours {ours:>6}  negspacy {reference!s:>6}  ratio {ratio!s:>6}  {unit}".format(**row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
