"""Which films a view or a search is about: conditions on attributes, as text that a URL or workspace.toml can hold.

    view:PA,AP; sex:F; Edema:present; concept:effusion:absent

Conditions on different attributes must all hold; the values of one attribute are alternatives. The empty text is every
film.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd

from .. import schema
from ..errors import SettingError
from .attributes import attribute_names, column_of, is_coded
from .concepts import check_concepts, concepts_in

#: What `text_of` leaves as it is in a value, beside letters and digits.
PLAIN = " /+–()'"
#: What a film may have where the words are fixed; unlike a pattern, a filter may ask for the unknown ones.
WORDS: dict[str, tuple[str, ...]] = {
    "sex": schema.SEXES,
    "age_band": (*schema.AGE_BANDS, "unknown"),
    "view": schema.VIEWS,
}
#: attribute → the values that a film may have
Conditions = dict[str, tuple[str, ...]]


def parse(text: str) -> Conditions:
    """The conditions of a text, finding names made canonical.

    Raises: SettingError that quotes a part which is no condition, an unknown attribute or a wrong value.
    """
    found: dict[str, list[str]] = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        prefix = schema.CONCEPT if part.startswith(schema.CONCEPT) else ""
        name, colon, values = part.removeprefix(prefix).partition(":")
        name = prefix + name
        chosen = [unquote(v.strip()) for v in values.split(",") if v.strip()]
        if not colon or not chosen:
            raise SettingError(f"{part!r} is no condition.", "Write attribute:value,value; attribute:value.")
        names = attribute_names([name]) if name.strip() not in ("findings", "concepts") else ()
        if len(names) != 1:
            raise SettingError(f"{part!r} is no condition.", "Name one attribute, or one finding.")
        allowed = tuple(schema.FINDING_CODES) if is_coded(names[0]) else WORDS.get(names[0], ())
        for value in chosen:
            if allowed and value not in allowed:
                raise SettingError(f"{part!r} is no condition.", f"Values of {names[0]}: {', '.join(allowed)}.")
            found.setdefault(names[0], []).append(value)
    return {name: tuple(dict.fromkeys(values)) for name, values in found.items()}


def text_of(conditions: Mapping[str, tuple[str, ...]]) -> str:
    """The text that `parse` reads back; a comma or semicolon inside a value is written as %2C or %3B."""
    return "; ".join(f"{name}:{','.join(quote(v, safe=PLAIN) for v in values)}" for name, values in conditions.items())


def mask(frame: pd.DataFrame, conditions: Mapping[str, tuple[str, ...]]) -> np.ndarray:
    """(films,) bool: the rows of a frame with the films table's columns that meet every condition.

    Raises: SettingError for a concept that the frame has no column for.
    """
    check_concepts(conditions, concepts_in(frame))
    kept = np.ones(len(frame), dtype=bool)
    for name, values in conditions.items():
        (canonical,) = attribute_names([name])
        if is_coded(canonical):
            codes = [schema.FINDING_CODES[value] for value in values]
            kept &= frame[column_of(canonical)].isin(codes).to_numpy()
        else:
            kept &= frame[canonical].isin(list(values)).to_numpy()
    return kept
