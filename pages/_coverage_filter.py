"""Coverage, the bar on top: which films count, what is chosen, and saved attribute sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from cars import coverage, schema
from cars.coverage import filmmap
from cars.coverage.rows import pattern_text
from cars.coverage.sentences import describe
from cars.coverage.sets import AttributeSet, attribute_sets, remove_set, save_set
from cars.errors import CarsError
from cars.workspace import Workspace
from pages import _state
from pages._common import film_grid, plain, reported, show_error, stamp

WORDS = {"age_band": "age"}
FINDING_VALUES = [f"{finding}: {value}" for finding in schema.FINDINGS for value in schema.FINDING_CODES]


# The films, as every section reads them ------------------------------------------------------------------------------


@st.cache_resource(max_entries=4, show_spinner="Reading the films")
def _films(key: tuple[str, ...], synthetic: bool) -> coverage.FilmCodes:
    return coverage.film_codes(Workspace(key[0]), synthetic)


@st.cache_resource(max_entries=12, show_spinner=False)
def _chosen(key: tuple[str, ...], where: str, region: str, split: str, synthetic: bool) -> coverage.FilmCodes:
    kept = _films(key, synthetic).where(coverage.filters.parse(where), split)
    return kept.take(filmmap.region_of_rows(Workspace(key[0]), kept, region)) if region else kept


def region(workspace: Workspace) -> str:
    """The region drawn on the map, in which films count in the other sections too; "" where there is none."""
    text = _state.read("region")
    try:
        return text if text and workspace.has("map") and filmmap.parse_region(text) else ""
    except CarsError:
        return ""


def key_of(workspace: Workspace, synthetic: bool = False) -> tuple[str, ...]:
    """What the films of a section follow from: the tables that they are read from, and the region of the map."""
    return (*_read_from(workspace, synthetic), region(workspace))


def _read_from(workspace: Workspace, synthetic: bool) -> tuple[str, ...]:
    """What the films were read from; a decision on an edit changes it where synthetic films count."""
    key = stamp(workspace, "films", "concepts", *(("edits",) if synthetic else ()))
    return (*key, workspace.records.latest_decisions().to_json()) if synthetic else key


def all_films(workspace: Workspace, synthetic: bool = False) -> coverage.FilmCodes:
    """Every film, unfiltered."""
    return _films(_read_from(workspace, synthetic), synthetic)


def films(workspace: Workspace, split: str = "all", synthetic: bool = False) -> coverage.FilmCodes:
    """The films that the filter and the map's region keep."""
    where = coverage.filters.text_of(_state.where())
    return _chosen(_read_from(workspace, synthetic), where, region(workspace), split, synthetic)


# The bar -------------------------------------------------------------------------------------------------------------


def values_of(workspace: Workspace) -> dict[str, tuple[str, ...]]:
    """attribute → the values that a film of this workspace has."""
    words = all_films(workspace).words
    return {name: words[name] for name in ("view", "sex", "age_band", "race")}


def _read_widgets(names: Sequence[str]) -> None:
    """Make what the filter's widgets say the filter."""
    conditions: dict[str, list[str]] = {name: st.session_state.get(f"filter-{name}", []) for name in names}
    for text in [*st.session_state.get("filter-findings", []), *st.session_state.get("filter-concepts", [])]:
        finding, value = text.rsplit(": ", 1)
        conditions.setdefault(finding, []).append(value)
    _state.set_where(conditions)


def _fill_widgets(conditions: Mapping[str, Sequence[str]], names: Sequence[str]) -> None:
    for name in names:
        st.session_state[f"filter-{name}"] = list(conditions.get(name, ()))
    st.session_state["filter-findings"] = [
        f"{name}: {value}" for name, values in conditions.items() if name in schema.COLUMN_OF for value in values
    ]
    st.session_state["filter-concepts"] = [
        f"{name}: {value}" for name, values in conditions.items() if name.startswith(schema.CONCEPT) for value in values
    ]


def _drop(name: str) -> None:
    _state.set_where({n: v for n, v in _state.where().items() if n != name})


def _keepers(conditions: bool, drawn: bool) -> str:
    if conditions and drawn:
        return "Filter and region keep"
    return "The region keeps" if drawn else "The filter keeps"


def filter_bar(workspace: Workspace) -> None:
    """The filter with what is active in it, and what is chosen; both apply to every section."""
    for error in _state.problems():
        st.warning(plain(f"The address is ignored in part. {error.message} {error.hint or ''}"))
    conditions, known = _state.where(), values_of(workspace)
    names = list(known)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.popover("Filter", icon=":material/filter_alt:"):
            st.caption("Only films that meet every condition count, in every section.")
            _fill_widgets(conditions, names)
            for name in names:
                options = list(dict.fromkeys([*known[name], *conditions.get(name, ())]))
                st.multiselect(
                    WORDS.get(name, name).capitalize(), options, key=f"filter-{name}", placeholder="Any",
                    on_change=_read_widgets, args=(names,),
                )  # fmt: skip
            st.multiselect(
                "Findings", FINDING_VALUES, key="filter-findings", placeholder="Any", on_change=_read_widgets,
                args=(names,), help="Values of one finding are alternatives; different findings must all hold.",
            )  # fmt: skip
            if said := [name for name in all_films(workspace).words if name.startswith(schema.CONCEPT)]:
                st.multiselect(
                    "Reports say", [f"{name}: {value}" for name in said for value in schema.FINDING_CODES],
                    key="filter-concepts", placeholder="Any", on_change=_read_widgets, args=(names,),
                    format_func=lambda text: text.removeprefix(schema.CONCEPT),
                    help="Concepts that were read from the reports.",
                )  # fmt: skip
        with st.popover("Saved sets", icon=":material/bookmark:"):
            saved_sets(workspace)
        for name, values in conditions.items():
            st.button(
                plain(f"{WORDS.get(name, name)}: {', '.join(values)}"), key=f"drop-{name}", icon=":material/close:",
                on_click=_drop, args=(name,), help="Remove this condition",
            )  # fmt: skip
        drawn = region(workspace)
        if drawn:
            st.button(
                "region of the map", key="drop-region", icon=":material/close:", on_click=_state.write,
                kwargs={"region": ""}, help="Count films outside the region again",
            )  # fmt: skip
        if conditions:
            st.button("Clear", key="clear-filter", type="tertiary", on_click=_state.set_where, args=({},))
    focus = _state.focus()
    if conditions or drawn:
        kept, every = films(workspace), all_films(workspace)
        st.caption(
            f"{_keepers(bool(conditions), bool(drawn))} {len(kept):,} of {len(every):,} films, "
            f"{kept.units('patient'):,} of {every.units('patient'):,} patients."
        )
        if not len(kept):
            missed = "No film meets the filter" + (" inside the region of the map" if drawn else "")
            st.warning(f"{missed}, so there is nothing to count.")
    if focus:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**Chosen:** {plain(describe(focus))}")
            st.button("Let go", key="clear-focus", type="tertiary", on_click=_state.set_focus, args=({},))


# Saved sets ----------------------------------------------------------------------------------------------------------


def _use(chosen: AttributeSet) -> None:
    """Fill the controls of the search and the filter from a saved set."""
    st.session_state["gaps-attributes"] = [a for a in chosen.attributes.split(",") if a]
    st.session_state["gaps-values"] = chosen.values
    _state.write(where=chosen.where)
    st.session_state["set-name"] = chosen.name


def _save(workspace: Workspace, start: coverage.GapsSettings) -> None:
    attributes = st.session_state.get("gaps-attributes")
    chosen = AttributeSet(
        st.session_state.get("set-name", ""),
        ",".join(attributes) if attributes else start.attributes,
        st.session_state.get("gaps-values", start.values),
        _state.read("where"),
    )
    try:
        save_set(workspace, chosen)
        st.session_state["set-note"] = f"Saved as {chosen.name}."
    except CarsError as error:
        st.session_state["set-note"] = error


def saved_sets(workspace: Workspace) -> None:
    """Choose, save or remove a set of attributes, values and filter."""
    from pages._common import defaults

    found = attribute_sets(workspace)
    st.caption("A set holds the attributes and values that gaps are made of, and the filter.")
    for chosen in found.values():
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.button(
                plain(chosen.name), key=f"use-{chosen.name}", on_click=_use, args=(chosen,), help="Use this set",
            )  # fmt: skip
            st.caption(plain("; ".join(filter(None, [chosen.attributes, chosen.values, chosen.where]))))
            st.button(
                "", key=f"remove-{chosen.name}", icon=":material/delete:", type="tertiary", on_click=remove_set,
                args=(workspace, chosen.name), help="Remove this set from the list",
            )  # fmt: skip
    if not found:
        st.caption("None is saved yet.")
    start = defaults(workspace, "gaps", coverage.GapsSettings) or coverage.GapsSettings()
    st.text_input("Name", key="set-name", max_chars=80)
    st.button(
        "Save what is set now", key="save-set", on_click=_save, args=(workspace, start),
        disabled=not st.session_state.get("set-name", "").strip(),
    )  # fmt: skip
    note = st.session_state.pop("set-note", None)
    if isinstance(note, str):
        st.success(plain(note))
    elif note is not None:
        show_error(note)


# The chosen pattern's films ------------------------------------------------------------------------------------------


def choose(workspace: Workspace, pattern: Mapping[str, str]) -> None:
    """Make a pattern the focus, and its gap if the list has it."""
    known = _gap_ids(stamp(workspace, "gaps")) if workspace.has("gaps") else {}
    _state.set_focus(pattern, known.get(pattern_text(dict(pattern)), ""))


@st.cache_data(max_entries=8, show_spinner=False)
def _gap_ids(key: tuple[str, ...]) -> dict[str, str]:
    table = coverage.gap_table(Workspace(key[0]))
    return dict(zip(table["pattern"], table["gap_id"]))


def focus_films(workspace: Workspace, split: str = "all") -> None:
    """The films of the chosen pattern that the filter keeps."""
    pattern = _state.focus()
    if not pattern:
        return
    with reported():
        kept = films(workspace, split)
        matching = kept.mask({name: (value,) for name, value in pattern.items()})
        part = kept.take(matching)
        st.subheader(plain(describe(pattern).capitalize()))
        st.caption(
            f"{part.units('patient'):,} patients, {part.units('study'):,} studies, {len(part):,} films"
            f"{'' if split == 'all' else f' of the {split} split'}{' that the filter keeps' if _state.where() else ''}."
        )
        ids, _ = kept.ids(matching)
        film_grid(workspace, ids)
