"""Settings: one frozen dataclass per verb, each field stated once with its sentence.

A field made by `setting` carries its help, bounds and choices; `resolve` layers
default < workspace.toml < environment CARS_<VERB>_<FIELD> < file named by `config` < flag, checks each value once and
quotes a wrong one.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, field
from typing import Any, TypeVar

from .errors import SettingError

S = TypeVar("S")


def setting(
    default: Any = MISSING,
    help: str = "",
    *,
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    argument: bool = False,
) -> Any:
    """A dataclass field with its sentence. `argument=True` makes it positional on the command line."""
    metadata = {"help": help, "choices": choices, "minimum": minimum, "maximum": maximum, "argument": argument}
    return field(default=default, metadata=metadata)


def field_type(cls: type, name: str) -> tuple[type, bool]:
    """The plain type of a field and whether None is allowed: `int | None` → (int, True)."""
    hint = typing.get_type_hints(cls)[name]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        return inner[0], True
    return hint, False


def convert(cls: type, name: str, value: Any) -> Any:
    """One value, as text from the environment or as a Python object, checked against its field.

    Raises: SettingError that quotes the value and says what is allowed.
    """
    info = {f.name: f for f in dataclasses.fields(cls)}[name]
    kind, optional = field_type(cls, name)
    if value is None or (optional and value == ""):
        if optional:
            return None
        raise SettingError(f"{name} needs a value.")
    try:
        if kind is bool:
            if isinstance(value, str):
                if value.lower() not in {"1", "0", "true", "false", "yes", "no"}:
                    raise ValueError
                value = value.lower() in {"1", "true", "yes"}
            value = bool(value)
        elif kind in (int, float, str):
            if kind is int and isinstance(value, float) and not value.is_integer():
                raise ValueError
            value = kind(value)
    except (TypeError, ValueError):
        raise SettingError(f"{name} = {value!r} is not a valid {kind.__name__}.") from None
    choices, low, high = (info.metadata.get(k) for k in ("choices", "minimum", "maximum"))
    if choices and value not in choices:
        raise SettingError(f"{name} = {value!r} is not allowed.", f"Choose one of: {', '.join(choices)}.")
    if low is not None and value < low:
        raise SettingError(f"{name} = {value!r} is too small.", f"It must be at least {low:g}.")
    if high is not None and value > high:
        raise SettingError(f"{name} = {value!r} is too large.", f"It must be at most {high:g}.")
    return value


def resolve(
    cls: type[S],
    verb: str,
    flags: Mapping[str, Any] | None = None,
    file: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> S:
    """The settings of a verb from all layers.

    Args:
        flags: field → value given by the caller; None values count as not given. Where the verb has a setting `config`
            and it is given, the file's values stand just below the flags.
        file: the whole parsed workspace.toml; the table [verb] is used.
        environment: defaults to os.environ.
    """
    env = os.environ if environment is None else environment
    table = dict((file or {}).get(verb, {}))
    for name in getattr(cls, "FILE_TABLES", ()):  # what a verb reads from workspace.toml by itself
        table.pop(name, None)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    named = (flags or {}).get("config") if "config" in names else None
    config = read_config(named, verb) if named else {}
    unknown = sorted((set(table) | set(config) | set(flags or {})) - set(names))
    if unknown:
        raise SettingError(f"{verb} has no setting {unknown[0]!r}.", f"Its settings are: {', '.join(names)}.")
    values: dict[str, Any] = {}
    for name in names:
        prefix = f"CARS_{verb}_{name}".upper().replace("-", "_")
        for layer, key in ((flags or {}, name), (config, name), (env, prefix), (table, name)):
            if layer.get(key) is not None:
                values[name] = convert(cls, name, layer[key])
                break
    try:
        return cls(**values)
    except TypeError as error:
        raise SettingError(f"{verb}: {error}") from None


def read_config(path: str | os.PathLike[str], verb: str) -> dict[str, Any]:
    """The settings in a TOML file: its table [verb] where it has one, else its top level. A list is joined by commas.

    Raises: SettingError when there is no such file, or it is not TOML.
    """
    try:
        with open(path, "rb") as stream:
            content = tomllib.load(stream)
    except OSError as error:
        raise SettingError(f"config = {str(path)!r} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"config = {str(path)!r} is not TOML: {error}.") from None
    table = content.get(verb, content)
    return {k: ",".join(map(str, v)) if isinstance(v, list) else v for k, v in table.items()}


def as_dict(settings: Any) -> dict[str, Any]:
    """The settings as a plain dict, for provenance and for the job's record."""
    return dataclasses.asdict(settings)
