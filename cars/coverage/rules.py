"""Combinations that cannot be, read from rules.toml beside this file and from workspace.toml `[coverage.rules]`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .. import schema
from ..errors import SettingError
from ..workspace import Workspace
from .attributes import DOMAINS, attribute_names

#: attribute → the values that meet the condition
Conditions = dict[str, frozenset[str]]


@dataclass(frozen=True)
class Rule:
    """A pattern is forbidden when it meets every condition of `every` and, if there are any, one of `one_of`."""

    name: str
    why: str
    every: Conditions
    one_of: Conditions

    def forbids(self, pattern: Mapping[str, str]) -> bool:
        """Whether a film of this pattern cannot be."""
        if not all(pattern.get(name) in values for name, values in self.every.items()):
            return False
        return not self.one_of or any(pattern.get(name) in values for name, values in self.one_of.items())


def read_rules(table: Mapping[str, Any]) -> dict[str, Rule | None]:
    """Rules from a parsed TOML table, by name; None for a rule that is switched off.

    Raises: SettingError that names the rule and quotes what is wrong in it.
    """
    rules: dict[str, Rule | None] = {}
    for name, body in table.items():
        if not isinstance(body, Mapping):
            raise SettingError(f"The rule {name!r} is {body!r}.", f"Write it as a table: [coverage.rules.{name}].")
        if body.get("off"):
            rules[name] = None
            continue
        unknown = sorted(set(body) - {"why", "all", "any"})
        if unknown:
            raise SettingError(f"The rule {name!r} has {unknown[0]!r}.", "A rule has: why, all, any, off.")
        every, one_of = (_conditions(name, body.get(key, {})) for key in ("all", "any"))
        if not every and not one_of:
            raise SettingError(f"The rule {name!r} has no condition.", "Give it `all`, `any`, or both.")
        rules[name] = Rule(name, str(body.get("why", "")), every, one_of)
    return rules


def _conditions(rule: str, table: Any) -> Conditions:
    if not isinstance(table, Mapping):
        raise SettingError(f"The rule {rule!r} has {table!r}.", 'Write conditions as { view = "lateral" }.')
    conditions = {}
    for key, value in table.items():
        try:
            names = attribute_names([key])
        except SettingError as error:
            raise SettingError(f"The rule {rule!r}: {error.message}", error.hint) from None
        values = frozenset([value] if isinstance(value, str) else value)
        for name in names:
            allowed = set(DOMAINS.get(name, ())) or (set(schema.FINDING_CODES) if name != "race" else values)
            wrong = sorted(values - allowed)
            if wrong:
                raise SettingError(
                    f"The rule {rule!r}: {name} = {wrong[0]!r}.", f"Its values are: {', '.join(sorted(allowed))}."
                )
            conditions[name] = values
    return conditions


@lru_cache(maxsize=1)
def shipped_rules() -> dict[str, Rule | None]:
    """The rules of rules.toml."""
    return read_rules(tomllib.loads((Path(__file__).parent / "rules.toml").read_text(encoding="utf-8")))


def rules_of(workspace: Workspace) -> tuple[Rule, ...]:
    """The shipped rules and the workspace's own; one of the workspace's replaces a shipped one of the same name."""
    own = workspace.file_settings.get("coverage", {}).get("rules", {})
    merged = {**shipped_rules(), **read_rules(own)}
    return tuple(rule for rule in merged.values() if rule is not None)


def why_impossible(pattern: Mapping[str, str], rules: tuple[Rule, ...]) -> str | None:
    """Why a film of this pattern cannot be, or None when it can."""
    for rule in rules:
        if rule.forbids(pattern):
            return rule.why or f"Forbidden by the rule {rule.name}."
    return None
