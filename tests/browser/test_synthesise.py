"""The edits of a plan in a real browser: the line moves by keys and pointer, keys decide, and an export follows."""

from __future__ import annotations

import re
import time
import zipfile
from typing import Any

import pytest
from edits_by_hand import write_edits

from cars import coverage, synth
from cars.export import ExportSettings, export
from cars.ingest import IngestSettings, ingest
from cars.workspace import Workspace

pytestmark = pytest.mark.browser
OUTCOMES = ("passed", "judge", "passed", "error", "anatomy", "passed")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """80 phantom films, a plan of six, and six edits written by hand: three passed."""
    made = Workspace.create(tmp_path_factory.mktemp("browser") / "edits")
    ingest(made, IngestSettings("phantom", "n=80,seed=3,size=128", workers=1))
    coverage.gaps(made, coverage.GapsSettings(threshold=12, max_order=2))
    plan = synth.plan(made, synth.PlanSettings(screen=False, balanced=3, edits="insert:Edema,delete:Pleural Effusion"))
    write_edits(made, plan["plan_id"], OUTCOMES)
    return made


def decisions(workspace: Workspace) -> dict[str, tuple[str | None, str]]:
    found = workspace.records.latest_decisions()
    return {
        row.edit_id: (row.decision if isinstance(row.decision, str) else None, row.note) for row in found.itertuples()
    }


def eventually(what: Any, wanted: Any) -> None:
    """Wait until what() is what is wanted: a decision is filed by the server a moment after the key."""
    end = time.monotonic() + 60
    while what() != wanted and time.monotonic() < end:
        time.sleep(0.1)
    assert what() == wanted


def chosen(page: Any) -> Any:
    return page.get_by_role("option", selected=True)


def at(page: Any, place: str, edit_id: str | None = None) -> None:
    """Wait until the page shows an edit; with its id, until the keys are that edit's: a moment later than its title."""
    page.get_by_text(re.compile(rf"edit {place}$")).wait_for()
    if edit_id:
        page.locator(f"[data-edit='{edit_id}']").first.wait_for(state="attached")


def test_edits_are_looked_through_and_decided_on_by_keys(page: Any, address: str, workspace: Workspace) -> None:
    ids = list(synth.edit_table(workspace).sort_values("item")["edit_id"])
    page.goto(f"{address}/synthesise")
    line = page.get_by_role("slider", name="source (real)")
    line.wait_for()
    at(page, "1 of 6", ids[0])
    assert page.get_by_role("option").count() == 6

    # the line: keys and pointer move it, and each side says what it is
    assert line.get_attribute("aria-valuenow") == "50"
    line.focus()
    for key, where in (("ArrowRight", 51), ("ArrowLeft", 50), ("PageDown", 40), ("Home", 0), ("End", 100), ("j", None)):
        if where is None:
            break
        page.keyboard.press(key)
        assert line.get_attribute("aria-valuenow") == str(where)
    assert line.get_attribute("aria-valuetext") == "100% source (real), 0% edit (synthetic)"
    at(page, "1 of 6", ids[0])  # arrows on the line are the line's own
    clip = "el => el.getBoundingClientRect().width && getComputedStyle(el).clipPath"
    assert page.locator(".side.made").evaluate(clip) == "inset(0px 0px 0px 100%)", "none of the edit is left"
    box = page.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + box["width"], box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 220, steps=4)
    page.mouse.up()
    assert abs(int(line.get_attribute("aria-valuenow")) - 25) <= 1
    assert page.locator(".made .tag").inner_text() == "edit (synthetic)"

    # layers by key; they and the line stay from edit to edit
    difference = page.get_by_role("checkbox", name="Difference")
    assert not page.locator("img.difference").is_visible()
    page.keyboard.press("d")
    assert difference.is_checked()
    assert page.locator("img.difference").is_visible()
    page.get_by_text("orange where the edit is brighter").wait_for()
    page.keyboard.press("j")
    at(page, "2 of 6", ids[1])
    assert difference.is_checked()
    assert abs(int(line.get_attribute("aria-valuenow")) - 25) <= 1

    # an edit that failed: a changes nothing
    page.get_by_text("never used and never exported").wait_for()
    page.keyboard.press("a")
    page.get_by_text("cannot be accepted: it failed a gate").wait_for()
    assert decisions(workspace) == {}

    # accept, reject, undo, reject again; r is not Streamlit's
    page.keyboard.press("k")
    at(page, "1 of 6", ids[0])
    page.keyboard.press("a")
    page.get_by_text("Accepted by you").wait_for()
    eventually(lambda: decisions(workspace), {ids[0]: ("accept", "")})
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    at(page, "2 of 6", ids[1])
    page.keyboard.press("ArrowRight")
    at(page, "3 of 6", ids[2])
    page.keyboard.press("r")
    page.get_by_text("Rejected: it is in no coverage").wait_for()
    page.keyboard.press("u")
    page.get_by_text("Used unless you reject it").wait_for()
    eventually(lambda: decisions(workspace), {ids[0]: ("accept", "")})
    page.keyboard.press("r")
    page.get_by_text("Rejected: it is in no coverage").wait_for()

    # a note: its letters are no commands, and Esc gives the keys back
    page.keyboard.press("n")
    page.keyboard.type("ura")
    page.keyboard.press("Escape")
    eventually(lambda: decisions(workspace), {ids[0]: ("accept", ""), ids[2]: ("reject", "ura")})

    # the grid by keys
    page.get_by_role("option").nth(2).focus()
    page.keyboard.press("Home")
    at(page, "1 of 6", ids[0])
    assert chosen(page).get_attribute("aria-label").startswith("insert Edema")

    # filters
    page.get_by_role("combobox", name="Gates").click()
    page.keyboard.type("failed anatomy")
    page.keyboard.press("Enter")
    at(page, "1 of 1")
    page.get_by_text("✗ anatomy: anatomy 0.10").wait_for()
    page.get_by_role("combobox", name="Gates").click()
    page.keyboard.type("all (6")
    page.keyboard.press("Enter")
    at(page, "5 of 6", ids[4])
    page.get_by_role("combobox", name="Decision").click()
    page.keyboard.type("rejected")
    page.keyboard.press("Enter")
    at(page, "1 of 1")
    eventually(lambda: chosen(page).inner_text(), "– rejected")
    assert page.outside == []

    told = export(workspace, ExportSettings())
    assert told["synthetic"] == 2
    with zipfile.ZipFile(told["path"]) as archive:
        said = archive.read("provenance.jsonl").decode()
    assert [edit_id in said for edit_id in ids] == [True, False, False, False, False, True]


def test_a_films_own_size_and_the_buttons_are_reached_with_the_tab_key(page: Any, address: str) -> None:
    page.goto(f"{address}/synthesise")
    line = page.get_by_role("slider", name="source (real)")
    line.wait_for()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                """() => {
                    let focus = document.activeElement
                    while (focus?.shadowRoot?.activeElement) focus = focus.shadowRoot.activeElement
                    return focus?.getAttribute('role') === 'option' ? 'edit'
                        : focus?.ariaLabel || focus?.labels?.[0]?.innerText.trim() || focus?.innerText?.trim() || ''
                }"""
            )
        )
    wanted = {
        "Next ›", "Reject", "Undo", "edit", "Difference", "Region of interest", "Film's own size", "Note",
        "Outline lungs and heart", "Line between source (real) and edit (synthetic)",
    }  # fmt: skip
    assert wanted - reached == set(), reached
    page.get_by_text("Film's own size").click()
    page.locator(".stage[style*='width: 128px']").wait_for()
