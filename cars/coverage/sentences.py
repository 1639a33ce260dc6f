"""A gap in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from .. import schema

PEOPLE = {"F": "women", "M": "men", "": "patients"}
CHILDREN = {"F": "girls", "M": "boys", "": "patients"}
#: value of a concept → what the report does with it
REPORT_WORDS = {"present": "names", "absent": "denies", "uncertain": "leaves open", "not mentioned": "does not mention"}
UNREMARKABLE_WORDS = {
    "present": "calls the chest unremarkable", "absent": "does not call the chest unremarkable",
    "uncertain": "leaves open whether the chest is unremarkable",
    "not mentioned": "does not say whether the chest is unremarkable",
}  # fmt: skip
PLURALS = {"patient": "patients", "study": "studies", "film": "films"}


def amount(count: int, unit: str) -> str:
    """ "1 patient", "4 studies", "no film"."""
    if count == 0:
        return f"no {unit}"
    return f"{count:,} {unit if count == 1 else PLURALS.get(unit, unit + 's')}"


def describe(pattern: Mapping[str, str]) -> str:
    """Whom a pattern means: "women aged 80 or over with pneumothorax on a PA film"."""
    sex, band = pattern.get("sex", ""), pattern.get("age_band", "")
    low, following = schema.AGE_BANDS.get(band, (0, 0))
    child = band == "0–17"
    words = (CHILDREN if child else PEOPLE)[sex]
    if child:
        words += " under 18"
    elif band == "80+":
        words += f" aged {low} or over"
    elif band:
        words += f" aged {low}–{following - 1}"
    if "race" in pattern:
        words += f" of race “{pattern['race']}”"
    by_value: dict[str, list[str]] = {"present": [], "uncertain": [], "absent": [], "not mentioned": []}
    for finding in schema.FINDINGS:
        if finding in pattern:
            by_value[pattern[finding]].append(_name(finding, pattern[finding]))
    parts = [
        text.format(_list(names))
        for text, names in (
            ("with {}", by_value["present"]),
            ("with uncertain {}", by_value["uncertain"]),
            ("with {} called absent", by_value["absent"]),
            ("with no word on {}", by_value["not mentioned"]),
        )
        if names
    ]
    if parts:
        words += " " + " and ".join(parts)
    if "view" in pattern:
        article = "an" if pattern["view"] == "AP" else "a"
        words += f" on {article} {pattern['view']} film"
    said = _said(pattern)
    return f"{words}{' ' if words in PEOPLE.values() else ', '}whose report {said}" if said else words


def _said(pattern: Mapping[str, str]) -> str:
    """What the report says: "names effusion and opacity, denies mass"."""
    parts = []
    for value, verb in REPORT_WORDS.items():
        said = [name for name, v in pattern.items() if name.startswith(schema.CONCEPT) and v == value]
        names = [name.removeprefix(schema.CONCEPT) for name in said]
        if names == ["unremarkable"]:
            parts.append(UNREMARKABLE_WORDS[value])
        elif names:
            parts.append(f"{verb} {_list(names)}")
    return ", ".join(parts)


def _name(finding: str, value: str) -> str:
    if finding == "No Finding":
        return "no finding" if value == "present" else "“No Finding”"
    return finding.lower()


def lowered(attribute: str) -> str:
    """An attribute as it stands within a sentence: "age band", "pleural effusion"."""
    if attribute.startswith(schema.CONCEPT):
        return f"report on {attribute.removeprefix(schema.CONCEPT)}"
    return attribute.replace("_", " ") if attribute not in schema.COLUMN_OF else attribute.lower()


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def sentence(
    pattern: Mapping[str, str], count: int, threshold: int, unit: str = "patient", expected: float | None = None
) -> str:
    """The whole sentence: "Fewer than 30 women aged 80 or over with edema on a PA film: 4 patients; 11 expected."

    expected: in the same unit, None or NaN where there is no expectation.
    """
    if not pattern:
        return f"Fewer than {threshold:,} {PLURALS[unit]} in all: {amount(count, unit)}."
    subject = describe(pattern) if unit == "patient" else f"{PLURALS[unit]} of {describe(pattern)}"
    text = f"Fewer than {threshold:,} {subject}: {amount(count, unit)}"
    if expected is not None and expected == expected:
        text += f"; {expected:,.0f} expected" if expected >= 0.95 else "; fewer than 1 expected"
    return text + "."
