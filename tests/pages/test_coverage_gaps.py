"""The page Coverage, gaps: the list under weights and conditions, links both ways, and the card."""

from __future__ import annotations

import json
from collections.abc import Callable

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest
from test_coverage_views import text

from cars import coverage
from cars.coverage import filters
from cars.workspace import Workspace


def listed(app: AppTest) -> pd.DataFrame:
    return app.dataframe[0].value


def test_the_list_is_best_first_and_says_how_many(link: Callable, full_once: Workspace) -> None:
    app = link(full_once, section="gaps")
    assert not app.exception
    table = coverage.gap_table(full_once)
    assert f"{len(table):,} gaps, best first" in text(app)
    assert len(listed(app)) == min(len(table), 500)
    assert listed(app)["score"].is_monotonic_decreasing
    assert "error" in listed(app), "there is a run"


def test_other_weights_in_the_address_sort_the_list_anew(link: Callable, full_once: Workspace) -> None:
    zero = {f"weight_{name}": "0" for name in coverage.PARTS}
    app = link(full_once, section="gaps", **{**zero, "weight_test": "50"})
    assert not app.exception
    assert listed(app)["test_films"].is_monotonic_decreasing
    by_deficit = link(full_once, section="gaps", **{**zero, "weight_deficit": "50"})
    assert listed(by_deficit)["deficit"].is_monotonic_decreasing
    app.slider(key="weight_test").set_value(0).run()
    assert "Every weight is 0" in text(app)


def test_a_link_to_a_gap_shows_its_card(link: Callable, full_once: Workspace) -> None:
    table = coverage.gap_table(full_once)
    gap = table[table["editable"] & (table["reachable"] > 0)].iloc[0]
    app = link(full_once, section="gaps", gap=gap["gap_id"])
    assert not app.exception
    said = text(app)
    assert gap["sentence"] in [s.value.replace("\\", "") for s in app.subheader]
    for part in ("Who matches", "What it would take to fill", "films from", "Films that match", "Nearest train films"):
        assert part in said
    markdown = app.code[0].value
    assert markdown.startswith("### ")
    assert gap["gap_id"] in markdown
    primary = [b for b in app.button if b.proto.type == "primary"]
    assert [b.label for b in primary] == ["Plan edits for this gap"]
    splits = next(d.value for d in app.dataframe if "split" in d.value.columns)
    assert splits.set_index("split").loc["train", "patients"] == gap["patients"]


def test_a_gap_that_no_edit_reaches_says_why_and_has_no_button(link: Callable, full_once: Workspace) -> None:
    table = coverage.gap_table(full_once)
    gap = table[~table["editable"]].iloc[0]
    app = link(full_once, section="gaps", gap=gap["gap_id"])
    assert "none of its findings can be edited" in text(app)
    assert not [b for b in app.button if b.key == "plan-this"]


def test_a_gap_that_is_not_there_is_named(link: Callable, full_once: Workspace) -> None:
    app = link(full_once, section="gaps", gap="nowhere")
    assert not app.exception
    assert "is not in this list" in text(app)


def test_a_chosen_pattern_that_is_no_gap_leads_to_the_gaps_around_it(link: Callable, full_once: Workspace) -> None:
    table = coverage.gap_table(full_once)
    patterns = [json.loads(p) for p in table["pattern"]]
    wide = next(p for p in patterns if len(p) == 2)
    name, value = next(iter(wide.items()))
    focus = filters.text_of({name: (value,)})
    app = link(full_once, section="gaps", focus=focus)
    app.toggle(key="around").set_value(True).run()
    expected = [p for p in patterns if p.get(name) == value]
    assert 0 < len(listed(app)) == len(expected) < len(table)


def test_the_filter_hides_gaps_that_it_rules_out(link: Callable, full_once: Workspace) -> None:
    app = link(full_once, section="gaps", where="sex:F")
    patterns = [json.loads(p) for p in coverage.gap_table(full_once)["pattern"]]
    assert len(listed(app)) == sum(p.get("sex", "F") == "F" for p in patterns) < len(patterns)
    assert "Those that the filter rules out are hidden" in text(app)


def test_conditions_and_verdicts_narrow_the_list(link: Callable, full_once: Workspace) -> None:
    app = link(full_once, section="gaps")
    field = app.multiselect(key="gap-items")
    option = next(o for o in field.options if o.startswith("sex: "))
    field.set_value([option]).run()
    assert not app.exception
    patterns = [json.loads(p) for p in coverage.gap_table(full_once)["pattern"]]
    assert len(listed(app)) == sum(p.get("sex") == option.removeprefix("sex: ") for p in patterns)


def test_no_gap_at_all_is_good_news(link: Callable, workspace_copy: Workspace) -> None:
    coverage.gaps(workspace_copy, coverage.GapsSettings(threshold=1, max_order=1, attributes="sex"))
    app = link(workspace_copy, section="gaps")
    assert "No combination has fewer than the threshold" in text(app)


@pytest.mark.parametrize("rows", [1200])
def test_a_long_list_sends_few_rows(link: Callable, workspace_copy: Workspace, rows: int) -> None:
    coverage.gaps(workspace_copy, coverage.GapsSettings(threshold=4, max_order=2))
    table = coverage.gap_table(workspace_copy)
    many = pd.concat([table] * (rows // len(table) + 1), ignore_index=True).head(rows)
    many["gap_id"] = [f"g{n}" for n in range(rows)]
    version = workspace_copy.version("gaps")
    part = workspace_copy.parts("gaps")[0]
    workspace_copy.write_part("gaps", part.stem, many, version)
    app = link(workspace_copy, section="gaps")
    assert len(listed(app)) == 500
    assert f"{rows:,} gaps, the first 500 are listed" in text(app)
