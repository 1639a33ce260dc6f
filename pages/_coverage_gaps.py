"""Coverage, the gaps: what counts as one, the ranked list with its weights, and the card of the chosen one."""

from __future__ import annotations

import json

import pandas as pd
import streamlit as st

from cars import coverage, plots, schema, synth
from cars.coverage.gap_list import conditions_of, items_of_pattern
from cars.coverage.rank import PART_WORDS, PARTS
from cars.coverage.sentences import PLURALS, describe, lowered
from cars.errors import CarsError
from cars.workspace import Workspace
from pages import _state
from pages._common import (
    defaults,
    film_grid,
    multiple,
    plain,
    reported,
    setting_widgets,
    source_name,
    stamp,
    submit,
)
from pages._coverage_filter import all_films
from pages._figure import downloads, figure, marks

ATTRIBUTES = ["sex", "age_band", "view", "race", "findings"]
#: Rows that are sent to the browser; the list says how many there are in all.
MOST_ROWS = 500
COLUMNS = {
    "rank": st.column_config.NumberColumn("Rank", width="small", help="Among all gaps, under the weights above."),
    "gap": st.column_config.TextColumn("Gap", width="large"),
    "score": st.column_config.ProgressColumn("Score", format="%.2f", min_value=0, max_value=1, width="small"),
    "verdict": "Verdict",
    "count": st.column_config.NumberColumn("Seen", help="How many match, in the unit of the threshold."),
    "expected": st.column_config.NumberColumn("Expected", format="%.1f", help="From the counts of its parts."),
    "deficit": st.column_config.NumberColumn("Lacking", help="How many are missing to the threshold."),
    "test_films": st.column_config.NumberColumn("Test films", help="Test films that match: where a model is judged."),
    "error": st.column_config.NumberColumn(
        "Model error", format="%.2f", help="How often the newest model ranks those test films wrongly; 0.5 is chance."
    ),
    "reachable": st.column_config.NumberColumn("Sources", help="Train films that one finding edit turns into a match."),
    "reachable_two": st.column_config.NumberColumn("by 2 edits", help="Train films that need two finding edits."),
    "ratio": st.column_config.NumberColumn("Seen ÷ expected", format="%.2f", help="Shrunk towards 1 at low counts."),
    "low": st.column_config.NumberColumn("from", format="%.2f", help="5% bound of seen ÷ expected."),
    "high": st.column_config.NumberColumn("to", format="%.2f", help="95% bound: below 1 means rarer than expected."),
}  # fmt: skip


# What is read once ---------------------------------------------------------------------------------------------------


@st.cache_resource(max_entries=4, show_spinner="Reading the gaps")
def gap_list(key: tuple[str, ...]) -> coverage.GapList:
    found = coverage.GapList.of(Workspace(key[0]))
    _ = found.members
    return found


@st.cache_data(max_entries=64, show_spinner="Looking for the fewest films that would fill it")
def to_fill(key: tuple[str, ...], gap_id: str, settings: synth.PlanSettings) -> dict:
    return synth.estimate(Workspace(key[0]), settings)


@st.cache_data(max_entries=64, show_spinner="Looking for films")
def neighbours(key: tuple[str, ...], pattern: dict[str, str]) -> tuple[list[str], list[str], list[str]]:
    """(films that match, up to 200; the nearest sources, up to 12; their edits in words)."""
    workspace = Workspace(key[0])
    same = coverage.films_of_pattern(workspace, pattern, limit=200)
    near = coverage.nearest_source_films(workspace, pattern, limit=12)
    edits = list(dict.fromkeys(synth.words(edit) for edit in near["edit"]))
    return list(same["dicom_id"]), list(near["dicom_id"]), edits


# The search ----------------------------------------------------------------------------------------------------------


def controls(workspace: Workspace, found: bool) -> None:
    """What a gap is made of; one button runs the search."""
    start = defaults(workspace, "gaps", coverage.GapsSettings)
    if start is None:
        return
    with st.expander("What counts as a gap", expanded=not found):
        offered = [*ATTRIBUTES, *(["concepts"] if workspace.has("concepts") else [])]
        attributes = multiple("Attributes", offered, start.attributes, "gaps-attributes", "What patterns combine.")
        left, middle, right = st.columns(3)
        with left:
            chosen = setting_widgets("gaps", start, ["threshold", "unit"])
        with middle:
            chosen |= setting_widgets("gaps", start, ["max_order", "values"])
        with right:
            chosen |= setting_widgets("gaps", start, ["split", "include_synthetic"])
        if st.button("Find gaps", type="secondary" if found else "primary", disabled=not attributes):
            submit(workspace, "gaps", {"attributes": attributes, **chosen})
            st.rerun()


# The list ------------------------------------------------------------------------------------------------------------


def weights(workspace: Workspace, run: str | None) -> coverage.RankSettings:
    """The sliders of the weights; the address holds those that differ from the workspace's."""
    start = coverage.weights_of(workspace)
    with st.popover("Weights", icon=":material/tune:", help="What makes a gap come first"):
        st.caption("Only proportions count. The list is sorted again at once; nothing is searched anew.")
        chosen = {}
        for name in PARTS:
            key, value = f"weight_{name}", getattr(start, name)
            given = {} if key in st.session_state else {"value": round(value)}
            chosen[name] = float(
                st.slider(PART_WORDS[name].capitalize(), 0, 100, **given, key=key, bind="query-params")
            )
        if run is None:
            st.caption("No run yet, so no model error is known; its weight falls to the other parts.")
        if not any(chosen.values()):
            st.warning("Every weight is 0, so the order means nothing.")
    return coverage.RankSettings(**chosen)


def narrowing(gaps: coverage.GapList) -> coverage.Narrowing:
    """Verdicts, conditions, and what is chosen elsewhere."""
    words = {item: f"{lowered(item[0])}: {item[1]}" for item in gaps.members}
    by_words = {text: item for item, text in words.items()}
    verdicts = st.pills(
        "Verdict", list(dict.fromkeys(gaps.table["verdict"])), selection_mode="multi", key="gap-verdicts",
        help="Rarer than expected: fewer than its parts would give by chance. Rare as expected: its parts are rare.",
        label_visibility="collapsed",
    )  # fmt: skip
    items = st.multiselect(
        "Conditions", list(by_words), key="gap-items", placeholder="Only gaps with these conditions",
        label_visibility="collapsed", width=380,
    )  # fmt: skip
    related: tuple[tuple[str, str], ...] = ()
    focus = _state.focus()
    chosen_gap = any(pattern == focus for pattern in gaps.patterns)
    around = "Only gaps around what is chosen"
    if focus and not chosen_gap and _state.toggle(around, "around", help="Those that contain it, or lie within it."):
        related = items_of_pattern(focus)
    where = conditions_of(_state.where())
    return coverage.Narrowing(tuple(verdicts or ()), tuple(by_words[text] for text in items), where, related)


def _pick(gap_id: str) -> None:
    gaps: coverage.GapList = st.session_state["gaps-shown"]
    row = gaps.row_of(gap_id)
    if row is not None:
        _state.set_focus(gaps.patterns[row], gap_id)


def _picked_row() -> None:
    rows = st.session_state["gap-list"]["selection"]["rows"]
    if rows and rows[0] < len(st.session_state["gap-ids"]):
        _pick(st.session_state["gap-ids"][rows[0]])


def _picked_mark() -> None:
    found = marks("gap-figure")
    if found:
        _pick(found[0][0] if isinstance(found[0], list) else found[0])


def show_gaps(workspace: Workspace) -> None:
    """The ranked list, the card of the chosen gap, and the first gaps as a figure."""
    gaps = gap_list(stamp(workspace, "gaps", "predictions", "units", "films", "concepts"))
    if not len(gaps):
        st.success("No combination has fewer than the threshold. Raise the threshold or name more attributes.")
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        chosen = weights(workspace, gaps.error.run)
        limits = narrowing(gaps)
    listed, left = gaps.listed(chosen, limits, MOST_ROWS)
    _say_what_is_listed(gaps, listed, left, limits)
    if not left:
        st.info("No gap is left. Let go of a verdict, a condition or the filter.")
    else:
        shown = listed.assign(
            gap=[describe(json.loads(pattern)) for pattern in listed["pattern"]],
            error=gaps.error.error[listed["row"]],
        )
        if "reachable_two" not in shown:
            shown["reachable_two"] = None
        columns = [c for c in COLUMNS if c != "error" or gaps.error.run is not None]
        st.session_state["gap-ids"], st.session_state["gaps-shown"] = list(listed["gap_id"]), gaps
        st.dataframe(
            shown[columns], hide_index=True, height=318, column_config=COLUMNS, on_select=_picked_row,
            selection_mode="single-row", key="gap-list",
        )  # fmt: skip
        downloads("Gaps", lambda: gaps.listed(chosen, limits, len(gaps))[0].drop(columns="row"), "gap-list-csv",
                  source=source_name(workspace))  # fmt: skip
    row = gaps.row_of(_state.read("gap"))
    if row is None and _state.read("gap"):
        st.warning("The gap in the address is not in this list; it may have been filled, or found with other settings.")
    if row is not None:
        show_card(workspace, gaps, row, chosen)
    if left:
        figure(
            plots.gap_bars(listed, source=source_name(workspace)), "Gaps that rank first",
            lambda: listed.head(15).drop(columns="row"), "gap-figure", source=source_name(workspace),
            on_select=_picked_mark, selection_mode="points",
        )  # fmt: skip


def _say_what_is_listed(
    gaps: coverage.GapList, listed: pd.DataFrame, left: int, limits: coverage.Narrowing
) -> None:
    said = f"{left:,} of {len(gaps):,} gaps" if left < len(gaps) else f"{left:,} gaps"
    said += f", the first {len(listed):,} are listed, best first." if len(listed) < left else ", best first."
    if limits.where:
        said += " Those that the filter rules out are hidden; the counts are those of the search."
    st.caption(said + " Choose one in the list or in the figure.")


# The card ------------------------------------------------------------------------------------------------------------


def show_card(workspace: Workspace, gaps: coverage.GapList, row: int, chosen: coverage.RankSettings) -> None:
    """A gap in words, its evidence, its films, the sources an edit could start from, and what it would take to fill."""
    gap = gaps.table.iloc[row].to_dict() | {"rank": gaps.rank_of(row, chosen)}
    with st.container(border=True), reported():
        fill, can = _filling(workspace, gap)
        card = coverage.gap_card(
            workspace, gap, all_films(workspace), gaps.parts.iloc[row], chosen, gaps.error.run,
            int(gaps.error.films[row]), fill,
        )  # fmt: skip
        head, side = st.columns([7, 3], vertical_alignment="top")
        head.subheader(plain(card.title), anchor=False)
        with side.popover("Copy as Markdown", icon=":material/content_copy:"):
            st.code(coverage.markdown(card, source_name(workspace)), language="markdown", wrap_lines=True)
        st.markdown(f"**{card.verdict.capitalize()}.** {plain(card.reason)}")
        left, right = st.columns([2, 3], gap="medium")
        with left:
            st.markdown("**Who matches**")
            st.dataframe(card.splits, hide_index=True)
            for line in filter(None, (card.interval, card.space)):
                st.caption(plain(line))
        with right:
            figure(
                plots.score_bar(card.parts, card.rank, len(gaps), source_name(workspace)), "Score of a gap", card.parts,
                "gap-score", source=source_name(workspace),
            )  # fmt: skip
            unknown = card.parts[card.parts["adds"].isna()]
            for part in unknown.itertuples():
                st.caption(plain(f"{part.part.capitalize()}: {part.note}."))
        st.markdown("**What it would take to fill**")
        st.markdown("  \n".join(plain(line) for line in card.fill))
        if can and st.button("Plan edits for this gap", type="primary", key="plan-this"):
            st.session_state["chosen-gaps"] = [card.gap_id]
            st.switch_page("pages/synthesise.py")
        same, near, edits = neighbours(stamp(workspace, "films", "concepts"), card.pattern)
        st.markdown(f"**Films that match** ({len(same):,}{' or more' if len(same) == 200 else ''}, of every split)")
        film_grid(workspace, same, 6)
        if near:
            more = f" and {len(edits) - 3} other edits" if len(edits) > 3 else ""
            st.markdown(f"**Nearest train films**, which become a match by: {plain(', '.join(edits[:3]) + more)}")
            film_grid(workspace, near, 6)


def _filling(workspace: Workspace, gap: dict) -> tuple[list[str], bool]:
    """(what the planner says of this gap alone, whether it can do anything)."""
    if gap["verdict"] == "impossible":
        return ["An impossible combination is not made; a film that matches has a label worth checking."], False
    if any(name.startswith(schema.CONCEPT) for name in json.loads(gap["pattern"])):
        return ["No edit can fill this gap: it names what a report says, and an edited film has none."], False
    start = defaults(workspace, "plan", synth.PlanSettings)
    if start is None:
        return [], False
    settings = synth.alone(start, str(gap["gap_id"]))
    try:
        told = to_fill(stamp(workspace, "films", "gaps", "edits"), str(gap["gap_id"]), settings)
    except CarsError as error:
        return [f"{error.message} {error.hint or ''}".strip()], False
    one, unit = told["by_gap"][gap["gap_id"]], PLURALS[str(gap["unit"])]
    lines = synth.in_words(told["cost"]) if told["items"] else []
    if one["planned"] < one["wanted"]:
        reached = f"{one['planned']:,} of the {one['wanted']:,} {unit} that are missing"
        lines.append(f"Edits reach {reached}: {one['reason']}.")
    return lines or ["Nothing is missing."], told["items"] > 0


