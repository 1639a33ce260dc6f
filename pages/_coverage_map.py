"""Coverage, the map: all films laid out by similarity; a drawn region or a clicked film shows what lies there."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from cars import coverage, plots
from cars.coverage import filmmap, filters
from cars.coverage.filmmap import FilmMap
from cars.coverage.sentences import describe
from cars.errors import CarsError, SettingError
from cars.workspace import Workspace
from pages import _state
from pages._common import film_grid, plain, reported, source_name, stamp, submit
from pages._figure import figure

KEY = "map-figure"
PER_PAGE = 12
#: Pages of a region's films, at most.
MOST_PAGES = 100
#: What the mouse does → plotly's word. Streamlit tells of a click on a mark only while nothing can be drawn.
TOOLS = {"box": ("Draw a box", "select"), "lasso": ("Draw a lasso", "lasso"), "click": ("Click a film", "pan")}
#: So many films of the chosen pattern are ringed even where the colours show it.
FEW = 200
INTERVAL = "95% interval (Wilson) of the share here; films of one patient are counted as if they were independent."


def key_of() -> str:
    """The chart's key; another window or a Clear makes another chart, so that no selection of the last one lingers."""
    return f"{KEY}-{_state.read('window')}-{st.session_state.get('map-cleared', 0)}"


def drawn_here(key: str) -> bool:
    """Whether the browser shows the region itself, since it was drawn on this very chart."""
    chosen = (st.session_state.get(key) or {}).get("selection", {})
    return bool(chosen.get("box") or chosen.get("lasso"))


def window_of(m: FilmMap) -> filmmap.Window:
    """The part that is shown; the whole map, and a message, for one that is none."""
    try:
        return filmmap.parse_window(_state.read("window"), m.whole)
    except SettingError as error:
        st.warning(plain(f"{error.message} {error.hint}"))
        return m.whole


def region_of(m: FilmMap) -> np.ndarray | None:
    """(films,) bool of the drawn region; None where there is none."""
    text = _state.read("region")
    if not text:
        return None
    try:
        return filmmap.in_region(m, text)
    except SettingError as error:
        st.warning(plain(f"{error.message} {error.hint}"))
        return None


def _picked(m: FilmMap, key: str) -> None:
    """What was drawn or clicked goes into the address."""
    chosen = (st.session_state.get(key) or {}).get("selection", {})
    if chosen.get("box"):
        box = chosen["box"][-1]
        _state.write(region=filmmap.region_text("box", np.array([np.sort(box["x"]), np.sort(box["y"])])))
    elif chosen.get("lasso"):
        lasso = chosen["lasso"][-1]
        _state.write(region=filmmap.region_text("lasso", np.column_stack([lasso["x"], lasso["y"]])))
    elif chosen.get("points"):
        rows = [p["customdata"] for p in chosen["points"] if p.get("customdata") is not None]
        row = rows[0][0] if rows and isinstance(rows[0], list) else rows[0] if rows else None
        if row is not None and 0 <= int(row) < len(m):
            _state.write(film=str(m.films.dicom_id[int(row)]))


def _clear() -> None:
    _state.write(region="", film="")
    st.session_state["map-cleared"] = st.session_state.get("map-cleared", 0) + 1


def _wider(m: FilmMap) -> None:
    window = filmmap.wider(window_of(m), m.whole)
    _state.write(window="" if window == m.whole else filmmap.window_text(window))


def _zoom() -> None:
    _state.write(window=filmmap.window_text(filmmap.region_window(_state.read("region"))), region="")


def show_map(workspace: Workspace) -> None:
    """The map and what was chosen on it."""
    if not workspace.has("map"):
        st.info("There is no map yet: the films have not been embedded.")
        if st.button("Embed the films", type="primary"):
            submit(workspace, "embed", {})
            st.rerun()
        return
    _map(str(workspace.path))


@st.fragment
def _map(path: str) -> None:
    """Only this part runs again after a click on the map."""
    workspace = Workspace(path)
    with reported():
        m = filmmap.film_map(workspace)
        kept = m.films.mask(_state.where())
        if not kept.any():
            st.info("No film on the map meets the filter.")
            return
        focus = _state.focus()
        draw(workspace, m, kept, focus)
        chosen = region_of(m)
        if chosen is not None:
            region_panel(workspace, m, chosen, kept)
        film = _state.read("film")
        if film:
            film_panel(workspace, film)
        elif _state.read("tool") == TOOLS["click"][0]:
            st.caption("Click a dot: its film and those most like it are shown here.")
            _ready(str(workspace.path), m.stamp, str(m.films.dicom_id[np.argmin(m.films.synthetic)]))
        elif chosen is None:
            st.caption("Nothing is chosen yet. Draw a box or a lasso around some films, or set Mouse to click one.")


@st.cache_resource(max_entries=4, show_spinner=False)
def _ready(path: str, stamp: str, film: str) -> None:
    """Read the index before the first click, not after it. Nothing is said where there is none: the click does."""
    from cars import index

    with contextlib.suppress(CarsError):
        index.nearest(Workspace(path), [film], 1)


def draw(workspace: Workspace, m: FilmMap, kept: np.ndarray, focus: dict[str, str]) -> None:
    """Controls and figure."""
    choices = filmmap.colour_choices(m.films, bool(focus))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        # counting marks says nothing where each film has its own
        plain_start = "by:view" if len(m) <= filmmap.MOST_MARKS and "by:view" in choices else "films"
        colour = _state.selectbox(
            "Colour by", list(choices), "colour", "focus" if focus else plain_start, 300, choices.__getitem__
        )
        tools = {name: words for name, (words, _) in TOOLS.items()}
        tool = _state.selectbox("Mouse", list(tools), "tool", "box", 150, tools.__getitem__)
        region = _state.read("region")
        st.button("Zoom into the region", key="map-zoom", disabled=not region, on_click=_zoom)
        st.button(
            "Zoom out", key="map-wider", disabled=not _state.read("window"), on_click=_wider, args=(m,),
        )  # fmt: skip
        st.button(
            "Whole map", key="map-whole", disabled=not _state.read("window"), on_click=_state.write,
            kwargs={"window": ""},
        )  # fmt: skip
        st.button(
            "Clear", key="map-clear", disabled=not (region or _state.read("film")), on_click=_clear,
        )
    window = window_of(m)
    hit = filmmap.members(m.films, colour, focus)
    group = colour.removeprefix("by:") if colour.startswith("by:") else ""
    shown = np.flatnonzero(kept & m.within(window))
    options: dict[str, Any] = {"total": len(shown), "source": source_name(workspace)}
    matching = filmmap.sample(m, window, kept & filmmap.matches(m, focus), 1_000) if focus else np.zeros(0, np.int64)
    # where colours show the pattern, rings are for the few that a cell's colour would hide
    if len(matching) and (colour != "focus" or len(matching) <= FEW):
        options["focus"] = _marks(m, matching)
    key = key_of()
    options["tool"] = TOOLS[tool][1]
    with reported():
        # a figure that does not change is not drawn again
        options["region"] = filmmap.parse_region(region) if region and not drawn_here(key) else None
    if len(shown) <= filmmap.MOST_MARKS:
        frame = _marks(m, shown)
        if group:
            order = list(m.films.words[group])
            frame["value"] = np.array(order, dtype=object)[m.films.groups[group][shown]]
        elif hit is not None:
            name = choices[colour].removeprefix("Share with ").removeprefix("Share that is ")
            name = "matches the chosen pattern" if colour == "focus" else name
            order = [f"not {name}" if colour != "focus" else "other films", name]
            frame["value"] = np.array(order, dtype=object)[hit[shown].astype(int)]
        else:
            order = ["film"]
            frame["value"] = "film"
        words = choices[colour].removeprefix("Share with ").removeprefix("Share that ")
        drawn = plots.point_map(frame, "all films" if colour == "films" else words, window, order, **options)
        table: Any = frame.drop(columns="row")
    else:
        found = filmmap.density(m, window, kept, hit, group)
        # films to click are drawn only while the mouse clicks: they would lie on the colours
        marks = _marks(m, filmmap.sample(m, window, kept)) if tool == "click" else None
        values = m.films.words[group] if group else ()
        drawn = plots.density_map(found, choices[colour], window, values, marks, **options)
        table = partial(_cells, found, values)
    figure(
        drawn, f"Map {choices[colour]}", table, key, n=len(shown), unit="film", source=source_name(workspace),
        on_select=lambda: _picked(m, key), selection_mode=("points", "box", "lasso"),
    )  # fmt: skip


def _marks(m: FilmMap, rows: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"x": m.x[rows], "y": m.y[rows], "row": rows, "synthetic": m.films.synthetic[rows]})


def _cells(found: filmmap.Density, values: tuple[str, ...]) -> pd.DataFrame:
    """The cells that hold films, for the CSV."""
    row, column = np.nonzero(found.count)
    table = pd.DataFrame({"x": found.x[column], "y": found.y[row], "films": found.count[row, column]})
    if found.hits is not None:
        table["coloured_films"] = found.hits[row, column]
    if found.commonest is not None:
        table["commonest"] = np.array(values, dtype=object)[found.commonest[row, column]]
    return table


def region_panel(workspace: Workspace, m: FilmMap, chosen: np.ndarray, kept: np.ndarray) -> None:
    """What the drawn region holds: counts, what stands out, the gaps it touches, and its films."""
    found = _summary(str(workspace.path), m.stamp, _state.read("region"), _state.read("where"))
    totals = found["totals"].iloc[0]
    with st.container(border=True):
        st.subheader("In the region")
        if not totals.films:
            st.write("No film that counts lies in it.")
            return
        splits = ", ".join(f"{row.films:,} {row.split}" for row in found["splits"].itertuples())
        made = f" {totals.synthetic:,} of them are synthetic." if totals.synthetic else ""
        counted = f"{totals.films:,} films of {totals.patients:,} patients ({splits}).{made}"
        st.write(f"{counted} {_standing_out(found['findings'])}")
        left, right = st.columns([10, 11])
        with left:
            st.markdown("**Share of films with a finding**")
            st.dataframe(
                found["findings"][["finding", "share", "low", "high", "share_elsewhere"]], hide_index=True, height=248,
                column_config={
                    "finding": st.column_config.TextColumn("Finding", width=150),
                    "share": st.column_config.NumberColumn("Here", format="percent", width=65),
                    "low": st.column_config.NumberColumn("from", format="percent", width=65, help=INTERVAL),
                    "high": st.column_config.NumberColumn("to", format="percent", width=65, help=INTERVAL),
                    "share_elsewhere": st.column_config.NumberColumn("Elsewhere", format="percent", width=80),
                },
            )  # fmt: skip
        with right:
            touched(workspace, m)
        ids, count = m.films.ids(chosen & kept, PER_PAGE * MOST_PAGES)
        pages = -(-len(ids) // PER_PAGE)
        cut = f" (the first {len(ids):,} can be paged through)" if count > len(ids) else ""
        st.markdown(f"**The real films of the region:** {count:,}{cut}")
        page = st.number_input(f"Page, of {pages:,}", 1, pages, 1, key="map-page", width=160) if pages > 1 else 1
        film_grid(workspace, ids[(page - 1) * PER_PAGE : page * PER_PAGE], PER_PAGE)


@st.cache_data(max_entries=16, show_spinner=False)
def _summary(path: str, stamp: str, region: str, where: str) -> dict[str, pd.DataFrame]:
    """`filmmap.region_summary`, counted once for a region and a filter. stamp: the map's."""
    workspace, m, kept, chosen = _again(path, region, where)
    return filmmap.region_summary(workspace, m, chosen, kept)


@st.cache_data(max_entries=16, show_spinner=False)
def _touched(path: str, stamp: str, region: str, where: str, gaps: tuple[str, ...]) -> pd.DataFrame:
    """`filmmap.region_gaps`, counted once for a region, a filter and a search for gaps, with each gap in words."""
    _, m, kept, chosen = _again(path, region, where)
    table = filmmap.region_gaps(m, _gaps(gaps), chosen & kept)
    return table.assign(gap=[describe(json.loads(pattern)) for pattern in table["pattern"]])


def _again(path: str, region: str, where: str) -> tuple[Workspace, FilmMap, np.ndarray, np.ndarray]:
    workspace = Workspace(path)
    m = filmmap.film_map(workspace)
    return workspace, m, m.films.mask(filters.parse(where)), filmmap.in_region(m, region)


@st.cache_data(max_entries=4, show_spinner=False)
def _gaps(key: tuple[str, ...]) -> pd.DataFrame:
    return coverage.gap_table(Workspace(key[0]))


def _standing_out(findings: pd.DataFrame) -> str:
    """One sentence on the findings that are commoner or rarer here."""
    common, rare = filmmap.standing_out(findings)
    parts = [
        f"{word}: " + ", ".join(f"{plain(r.finding)} ({r.ratio:.1f}×)" for r in rows.head(3).itertuples())
        for word, rows in (("Commoner than elsewhere", common), ("Rarer than elsewhere", rare))
        if len(rows)
    ]
    return (". ".join(parts) + ".") if parts else "No finding is much commoner or rarer here than elsewhere."


def touched(workspace: Workspace, m: FilmMap) -> None:
    """The gaps that films here match, or miss by one condition; choosing one makes it the chosen pattern."""
    st.markdown("**Gaps that films here match, or nearly match**")
    if not workspace.has("gaps"):
        st.caption("No search for gaps has run yet.")
        return
    table = _touched(
        str(workspace.path), m.stamp, _state.read("region"), _state.read("where"), stamp(workspace, "gaps")
    )  # fmt: skip
    if table.empty:
        st.caption("None.")
        return
    picked = st.dataframe(
        table[["gap", "in_region", "near"]], hide_index=True, height=248, on_select="rerun",
        selection_mode="single-row", key="map-gaps",
        column_config={
            "gap": st.column_config.TextColumn("Gap", width=270),
            "in_region": st.column_config.NumberColumn(
                "Match", format="localized", width=65, help="Films here that meet all conditions of the gap."
            ),
            "near": st.column_config.NumberColumn(
                "Miss by one", format="localized", width=85, help="Films here that meet all conditions but one."
            ),
        },
    )  # fmt: skip
    rows = picked["selection"]["rows"]
    if rows:
        gap = table.iloc[rows[0]]
        if _state.read("gap") != gap["gap_id"]:
            _state.set_focus(json.loads(gap["pattern"]), gap["gap_id"])
            st.rerun()


def film_panel(workspace: Workspace, film: str) -> None:
    """The clicked film and the films most like it."""
    with st.container(border=True):
        st.subheader("The clicked film, and those most like it")
        try:
            from cars import index

            near = list(index.nearest(workspace, [film], PER_PAGE - 1)["dicom_id"])
            st.caption("The clicked film comes first, then the films most like it, the most alike first.")
        except CarsError as error:
            near = []
            st.info(plain(f"{error.message} {error.hint or ''}"))
        film_grid(workspace, [film, *near], PER_PAGE)
