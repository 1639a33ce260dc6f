"""Saved attribute sets: which attributes, which of their values, and which films, under a name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import SettingError
from ..workspace import Workspace
from . import filters
from .attributes import attribute_names
from .settings import VALUES, GapsSettings


@dataclass(frozen=True)
class AttributeSet:
    """attributes, values and where as `GapsSettings` has them."""

    name: str
    attributes: str
    values: str
    where: str


def save_set(workspace: Workspace, chosen: AttributeSet) -> None:
    """File a set; one of the same name is superseded.

    Raises: SettingError for a wrong name, attribute, choice of values or filter.
    """
    attribute_names(chosen.attributes)
    filters.parse(chosen.where)
    if chosen.values not in VALUES:
        raise SettingError(f"values = {chosen.values!r} is not allowed.", f"Choose one of: {', '.join(VALUES)}.")
    workspace.records.save_set(chosen.name, chosen.attributes, chosen.values, chosen.where)


def attribute_sets(workspace: Workspace) -> dict[str, AttributeSet]:
    """The saved sets by name."""
    table = workspace.records.attribute_sets()
    return {
        row["name"]: AttributeSet(row["name"], row["attributes"], row["values"], row["where"])
        for row in table.to_dict("records")
    }


def attribute_set(workspace: Workspace, name: str) -> AttributeSet:
    """One saved set. Raises: SettingError that lists the names there are."""
    found = attribute_sets(workspace)
    if name not in found:
        raise SettingError(
            f"There is no attribute set {name!r}.", f"There are: {', '.join(found) or 'none; save one first'}."
        )
    return found[name]


def remove_set(workspace: Workspace, name: str) -> None:
    """List a set no more; its record stays. Raises: SettingError for an unknown name."""
    old = attribute_set(workspace, name)
    workspace.records.save_set(old.name, old.attributes, old.values, old.where, retired=True)


def with_set(workspace: Workspace, settings: GapsSettings) -> GapsSettings:
    """The settings with what their attribute set says filled in, so that a record of them needs no set.

    Raises: SettingError for an unknown set.
    """
    if not settings.attribute_set:
        return settings
    chosen = attribute_set(workspace, settings.attribute_set)
    return replace(settings, attributes=chosen.attributes, values=chosen.values, where=chosen.where, attribute_set="")
