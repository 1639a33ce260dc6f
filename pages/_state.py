"""What the sections of the page Coverage share, kept in the URL so that any state can be sent to a colleague.

    section   which section is shown
    gap       the chosen gap's id
    focus     a chosen pattern, as conditions ("sex:F; Edema:present"); a gap, a heat-map cell or a bar sets it
    where     the filter: only these films count, in every section
    region    a part drawn on the map: "box:x0,x1,y0,y1" or "lasso:x,y,x,y,…", in the map's coordinates
    window    the part of the map that is shown: "x0,x1,y0,y1"; the whole map when it is not set
    film      the film clicked on the map
    workspace the workspace, when it is not the one that the server was started with (app.py sets it)

Widgets with a value of their own use `bind="query-params"` with their key as the parameter's name instead; `selectbox`
and `segmented` below do, and say so when a URL asks for a value that is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from cars.coverage import filters
from cars.coverage.attributes import check_pattern
from cars.errors import CarsError
from pages._common import plain

NAMES = ("section", "gap", "focus", "where", "region", "window", "film")


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
        return check_pattern({name: values[0] for name, values in filters.parse(read("focus")).items()})
    except CarsError:
        return {}


def set_focus(pattern: Mapping[str, str], gap: str = "") -> None:
    """Choose a pattern, and the gap it belongs to if any."""
    write(focus=filters.text_of({name: (value,) for name, value in pattern.items()}), gap=gap)


def where() -> filters.Conditions:
    """The filter's conditions; {} when there is none, or when the URL's text is none (`problems` says so)."""
    try:
        return filters.parse(read("where"))
    except CarsError:
        return {}


def set_where(conditions: Mapping[str, Sequence[str]]) -> None:
    """Make these conditions the filter; attributes without a value are left out."""
    write(where=filters.text_of({name: tuple(values) for name, values in conditions.items() if values}))


def problems() -> list[CarsError]:
    """What in the URL could not be read as a filter or a focus, and is ignored."""
    found: list[CarsError] = []
    for name, check in (("where", lambda given: given), ("focus", _as_pattern)):
        try:
            check(filters.parse(read(name)))
        except CarsError as error:
            found.append(error)
    return found


def _as_pattern(conditions: filters.Conditions) -> None:
    check_pattern({name: values[0] for name, values in conditions.items()})


def place_for_notices() -> None:
    """Where `notice` writes, so that a widget in a row of widgets does not put a message between them."""
    st.session_state["notices"] = st.container()


def notice(text: str) -> None:
    """A warning about the address, at the place for it."""
    (st.session_state.get("notices") or st).warning(text)


# Widgets that the URL holds ------------------------------------------------------------------------------------------


def selectbox(
    label: str, options: Sequence[str], key: str, default: str | None = None, width: int | str = 170,
    words: Callable[[str], str] = str, **options_of_widget: Any,
) -> str:  # fmt: skip
    """A choice that the URL holds under its key. A value in the URL that is no option is named and ignored."""
    _check(key, options, words)
    # a value set from the address must not meet a default as well
    start = {} if key in st.session_state else {"index": list(options).index(default) if default in options else 0}
    return st.selectbox(
        label, options, **start, key=key, bind="query-params", width=width, format_func=words, **options_of_widget
    )


def segmented(label: str, options: Mapping[str, str], key: str, default: str) -> str:
    """A row of buttons that the URL holds under its key. options: name → words."""
    _check(key, list(options), options.__getitem__)
    start = {} if key in st.session_state else {"default": default}
    return st.segmented_control(
        label, list(options), format_func=options.__getitem__, required=True, label_visibility="collapsed", key=key,
        bind="query-params", **start,
    )  # fmt: skip


def toggle(label: str, key: str, **options_of_widget: Any) -> bool:
    """A switch that the URL holds under its key."""
    _check(key, ("true", "false"), str)
    return st.toggle(label, key=key, bind="query-params", **options_of_widget)


def _check(key: str, options: Sequence[str], words: Callable[[str], Any]) -> None:
    """The URL holds the words that a widget shows; an option's own name is understood as well, and made the words at
    once, since Streamlit drops anything else from the address."""
    asked = st.query_params.get(key)
    if not asked or key in st.session_state or asked in {str(words(o)) for o in options}:
        return
    if asked in options:
        st.query_params[key] = str(words(asked))
        st.rerun()
    notice(plain(f"The address asks for {key} = {asked!r}, which is none of: {', '.join(options)}."))
