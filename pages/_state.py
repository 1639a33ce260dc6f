"""What the sections of the page Coverage share, kept in the URL so that any state can be sent to a colleague.

    section   which section is shown
    gap       the chosen gap's id
    focus     a chosen pattern, as conditions ("sex:F; Edema:present"); a gap, a heat-map cell or a bar sets it
    where     the filter: only these films count, in every section
    region    a chosen part of the map: "box:x0,y0,x1,y1" or "lasso:x,y,x,y,…", in the map's coordinates

Widgets with a value of their own use `bind="query-params"` with their key as the parameter's name instead.
"""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from cars.coverage import filters
from cars.errors import CarsError

NAMES = ("section", "gap", "focus", "where", "region")


def read(name: str) -> str:
    """A parameter's text; "" when it is not set."""
    return st.query_params.get(name, "")


def write(**values: str) -> None:
    """Set parameters; an empty text removes one. Does nothing where nothing changes, so it causes no rerun."""
    for name, value in values.items():
        if value:
            if st.query_params.get(name) != value:
                st.query_params[name] = value
        elif name in st.query_params:
            del st.query_params[name]


def focus() -> dict[str, str]:
    """The chosen pattern as {attribute: value}; {} when there is none, or when the URL's is no pattern."""
    try:
        return {name: values[0] for name, values in filters.parse(read("focus")).items()}
    except CarsError:
        return {}


def set_focus(pattern: Mapping[str, str], gap: str = "") -> None:
    """Choose a pattern, and the gap it belongs to if any."""
    write(focus=filters.text_of({name: (value,) for name, value in pattern.items()}), gap=gap)


def where() -> filters.Conditions:
    """The filter's conditions. Raises: SettingError when the URL's text is none."""
    return filters.parse(read("where"))
