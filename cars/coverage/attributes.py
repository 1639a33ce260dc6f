"""Which attributes and values patterns are made of: the items of the search.

An *item* is one (attribute, value). Values that say nothing form no item: sex, age, view or race "unknown", view
"other", and findings or concepts that were not mentioned. So a gap never reads "too few patients of unknown sex".
A concept read from reports is the attribute "concept:NAME", so that "concept:consolidation" is never the finding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .. import schema
from ..errors import SettingError

DEMOGRAPHICS: tuple[str, ...] = ("sex", "age_band", "view", "race")
#: Attributes that an edit can never change.
FIXED: tuple[str, ...] = DEMOGRAPHICS
#: Values that are searched for even when no film has them. Races are those the data set names.
DOMAINS: dict[str, tuple[str, ...]] = {
    "sex": ("F", "M"),
    "age_band": tuple(schema.AGE_BANDS),
    "view": ("PA", "AP", "lateral"),
}


@dataclass(frozen=True)
class Attribute:
    """One attribute: its name in patterns, its column in the film frame, and the values that form items, in order."""

    name: str
    column: str
    values: tuple[str, ...]

    @property
    def is_finding(self) -> bool:
        return self.name in schema.COLUMN_OF

    @property
    def is_concept(self) -> bool:
        return self.name.startswith(schema.CONCEPT)

    @property
    def is_coded(self) -> bool:
        """Whether the column holds codes (present, absent, …) and not words."""
        return self.is_finding or self.is_concept

    def code(self, value: str) -> str | int:
        """What the column stores for a value: "present" → 1 for a finding or concept, the word itself otherwise."""
        return schema.FINDING_CODES[value] if self.is_coded else value


def is_concept(name: str) -> bool:
    """Whether a name has the form of a concept's attribute; whether there is such a concept, the workspace knows."""
    return name.startswith(schema.CONCEPT) and bool(schema.CONCEPT_NAME.fullmatch(name.removeprefix(schema.CONCEPT)))


def is_coded(name: str) -> bool:
    """Whether an attribute's values are those of findings: present, absent, uncertain, not mentioned."""
    return name in schema.COLUMN_OF or name.startswith(schema.CONCEPT)


def column_of(name: str) -> str:
    """The column of an attribute in a frame of films."""
    return schema.concept_column(name) if name.startswith(schema.CONCEPT) else schema.COLUMN_OF.get(name, name)


def attribute_names(text: str | Iterable[str], concepts: Iterable[str] = schema.CONCEPTS) -> tuple[str, ...]:
    """Attribute names from "sex,view,findings" or a list: each once, in order, findings under their CheXpert name.

    Args:
        concepts: what "concepts" stands for. A single "concept:NAME" is checked where the films are read, since a
            workspace may have concepts of its own.

    Raises: SettingError that quotes an unknown name and lists the right ones.
    """
    parts = text.split(",") if isinstance(text, str) else list(text)
    names: list[str] = []
    for part in (p.strip() for p in parts):
        if part == "findings":
            names += schema.FINDINGS
        elif part == "concepts":
            names += [schema.CONCEPT + name for name in concepts]
        elif part in DEMOGRAPHICS or is_concept(part):
            names.append(part)
        elif schema.column(part) in schema.FINDING_OF and part:
            names.append(schema.FINDING_OF[schema.column(part)])
        elif part:
            raise SettingError(
                f"There is no attribute {part!r}.",
                f"Use {', '.join(DEMOGRAPHICS)}, findings (all 14), concepts (all that reports gave), concept:NAME "
                f"(one, as concept:effusion), or one of: {', '.join(schema.FINDINGS)}.",
            )
    if not names:
        raise SettingError("No attribute is named.", f"Name some of: {', '.join(DEMOGRAPHICS)}, findings.")
    return tuple(dict.fromkeys(names))


def attributes_of(names: Iterable[str], values: str = "present", races: Iterable[str] = ()) -> tuple[Attribute, ...]:
    """The attributes with their domains.

    Args:
        names: as `attribute_names` gives them.
        values: "present": a finding or concept forms one item; "present+absent", "present+uncertain": two; all: three.
        races: the race groups that the data set names.
    """
    finding_values = ("present", "absent", "uncertain") if values == "all" else tuple(values.split("+"))
    groups = tuple(sorted({r for r in races if r and r != "unknown"}))
    result = []
    for name in names:
        if name in schema.COLUMN_OF:
            result.append(Attribute(name, schema.COLUMN_OF[name], finding_values))
        elif name.startswith(schema.CONCEPT):
            result.append(Attribute(name, schema.concept_column(name), finding_values))
        else:
            result.append(Attribute(name, name, groups if name == "race" else DOMAINS[name]))
    return tuple(result)


def check_pattern(pattern: dict[str, str]) -> dict[str, str]:
    """A pattern with finding names made canonical and its keys sorted.

    Raises: SettingError that quotes an unknown attribute or value.
    """
    result = {}
    for key, value in pattern.items():
        (name,) = attribute_names([key]) if key not in ("findings", "concepts") else ("",)
        if is_coded(name):
            allowed: tuple[str, ...] = tuple(schema.FINDING_CODES)
        else:
            allowed = DOMAINS.get(name, ())
        if not name or (allowed and value not in allowed):
            raise SettingError(f"{key} = {value!r} is no condition.", f"Values: {', '.join(allowed) or 'one finding'}.")
        result[name] = str(value)
    return dict(sorted(result.items()))
