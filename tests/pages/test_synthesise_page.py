"""The page Synthesise in each state: no plan, planned, being made, made, nothing passes; and what its controls do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edits_by_hand import write_edits
from streamlit.testing.v1 import AppTest

from cars import coverage, jobs, synth
from cars.errors import DataError
from cars.gates import Measure
from cars.jobs.store import JobStore
from cars.workspace import Workspace

Show = Callable[..., AppTest]


@pytest.fixture(scope="session")
def gaps_once(tmp_path_factory: pytest.TempPathFactory, tiny_workspace: Workspace) -> Workspace:
    folder = tmp_path_factory.mktemp("gaps") / "gaps"
    shutil.copytree(tiny_workspace.path, folder)
    workspace = Workspace.open(folder)
    coverage.gaps(workspace, coverage.GapsSettings(threshold=4, max_order=2))
    return workspace


@pytest.fixture
def gapped(tmp_path: Path, gaps_once: Workspace) -> Workspace:
    """Films and gaps, no plan; the test may change it."""
    shutil.copytree(gaps_once.path, tmp_path / "gapped")
    return Workspace.open(tmp_path / "gapped")


@pytest.fixture
def planned(gapped: Workspace) -> Workspace:
    """A plan of six films, none of them made."""
    gaps = coverage.gap_table(gapped)
    ids = gaps.loc[gaps["editable"] & (gaps["reachable"] > 0), "gap_id"].head(12)
    assert synth.plan(gapped, synth.PlanSettings(",".join(ids), films=6, screen=False))["items"] == 6
    return gapped


@pytest.fixture
def made(planned: Workspace) -> Workspace:
    """Six edits: items 0, 2 and 5 passed; 1 failed the judge, 4 anatomy; 3 could not be made."""
    write_edits(planned, plan_of(planned), ("passed", "judge", "passed", "error", "anatomy", "passed"))
    return planned


def plan_of(workspace: Workspace) -> str:
    return str(workspace.records.plans()["plan_id"].iloc[0])


def text(app: AppTest) -> str:
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "success", "text", "code")
    said = "\n".join(str(element.value) for kind in kinds for element in getattr(app, kind))
    return said.replace("\\", "")


def component(app: AppTest, name: str) -> dict[str, Any]:
    """What one of the page's own components was given."""
    found = [e for e in app.get("bidi_component") if e.proto.component_name == name]
    assert len(found) == 1, f"{len(found)} × {name}"
    return json.loads(found[0].proto.json)


def tiles(app: AppTest) -> list[tuple[str, str]]:
    return [(tile["kind"], tile["word"]) for tile in component(app, "cars_tiles")["tiles"]]


def shown(app: AppTest) -> str:
    return component(app, "cars_keys")["edit"]


def open_step(app: AppTest, name: str) -> AppTest:
    app = app.get("button_group")[0].set_value(name).run()
    assert not app.exception
    return app


def choose(app: AppTest, name: str, value: str) -> AppTest:
    app = app.selectbox(key=f"edits-{name}").set_value(value).run()
    assert not app.exception
    return app


def accepted(workspace: Workspace) -> set[str]:
    with workspace.connect() as db:
        return {row[0] for row in db.execute("SELECT edit_id FROM accepted_edits").fetchall()}


def press(app: AppTest, key: str) -> AppTest:
    app = app.button(key=key).click().run()
    assert not app.exception
    return app


# The plan ------------------------------------------------------------------------------------------------------------


def test_no_plan_says_what_one_would_cost_and_plans(show: Show, gapped: Workspace) -> None:
    app = show(gapped, "synthesise")
    assert not app.exception
    said = text(app)
    assert "Nothing is planned yet" in said
    assert "films from" in said
    assert "this workspace has made no edit yet" in said
    assert not jobs.history(gapped)
    next(button for button in app.button if button.label == "Plan edits").click().run()
    (job,) = jobs.history(gapped)
    assert (job.verb, len(job.settings["gaps"].split(","))) == ("plan", 3)
    for name in ("preview", "edits"):
        assert "Nothing is planned yet" in text(open_step(show(gapped, "synthesise"), name))


def test_a_plan_can_be_seen_and_made(show: Show, planned: Workspace) -> None:
    app = show(planned, "synthesise")
    assert not app.exception
    assert "The plan: 6 films" in text(app)
    table = next(f.value for f in app.dataframe if "seed" in f.value)
    items = planned.records.plan_items(plan_of(planned))
    assert list(table["seed"]) == list(items["seed"])
    assert table["make"].all()
    assert all("with" in gap for gap in table["gap"]), "gaps in words"
    app.number_input(key="synth-guidance").set_value(5.0).run()
    assert app.button(key="make").label == "Make these 6 films"
    press(app, "make")
    (job,) = jobs.history(planned)
    assert (job.verb, job.settings["plan"], job.settings["guidance"]) == ("synth", plan_of(planned), 5.0)
    assert len(planned.records.plans()) == 1, "an unchanged plan is not filed again"


def test_a_plan_without_a_film_is_said(show: Show, gapped: Workspace) -> None:
    gapped.records.add_plan({}, [], "none")
    app = show(gapped, "synthesise")
    assert not app.exception
    assert "This plan holds no film" in text(app)
    assert "no film to preview" in text(open_step(app, "preview"))
    assert "has made no film yet" in text(open_step(app, "edits"))


def test_the_new_plan_is_shown_once_its_job_is_done(show: Show, planned: Workspace) -> None:
    first = plan_of(planned)
    app = show(planned, "synthesise")
    next(button for button in app.button if button.label == "Plan edits").click().run()
    assert app.session_state["plan-shown"] == first
    second = synth.revise(planned, first, [0, 1])
    (job,) = jobs.history(planned)
    store = JobStore(planned)
    store.claim(job.job_id, "test")
    store.finish(job.job_id, {"plan_id": second, "by_gap": {}})
    app.run()
    assert not app.exception
    assert app.session_state["plan-shown"] == second
    assert "The plan: 2 films" in text(app)


# Being made ----------------------------------------------------------------------------------------------------------


def test_the_grid_fills_while_films_are_made(show: Show, planned: Workspace) -> None:
    job_id = jobs.submit(planned, "synth", {"plan": plan_of(planned)})
    store = JobStore(planned)
    store.claim(job_id, "test")
    app = open_step(show(planned, "synthesise"), "edits")
    assert tiles(app) == [("waiting", "waiting")] * 6
    assert "No edit is made yet" in text(app)
    write_edits(planned, plan_of(planned), ("passed", "judge"))
    store.progress(job_id, 2, 6, "editing films")
    app = show(planned, "synthesise")
    assert tiles(app) == [("used", "passed"), ("failed", "judge")] + [("waiting", "waiting")] * 4
    assert "2 made, 4 to come" in text(app)
    assert "synth: 33% editing films" in app.get("progress")[0].proto.text
    assert "1 of 2 edits passed every gate" in text(app)
    assert [t[0] for t in tiles(choose(app, "outcome", "failed judge"))] == ["failed"], "a filter has no waiting places"


# Made ----------------------------------------------------------------------------------------------------------------


def test_edits_are_shown_with_what_became_of_them(show: Show, made: Workspace) -> None:
    app = show(made, "synthesise")
    assert not app.exception
    assert tiles(app) == [
        ("used", "passed"), ("failed", "judge"), ("used", "passed"), ("not made", "not made"), ("failed", "anatomy"),
        ("used", "passed"),
    ]  # fmt: skip
    said = text(app)
    assert "3 of 6 edits passed every gate, 1 not made" in said
    assert "3 count" in said
    assert [w for w in ("✓ judge", "✓ anatomy", "✓ outside", "– copy") if w in said] == [
        "✓ judge", "✓ anatomy", "✓ outside", "– copy",
    ]  # fmt: skip
    assert "0.81 bits, of which 0.31 is disagreement (2 tries × 3 judges)" in said
    swipe = component(app, "cars_swipe")
    assert swipe["names"] == ["source (real)", "edit (synthetic)"]
    assert all(swipe[name].startswith("data:image/") for name in ("source", "edited", "difference", "region"))
    assert swipe["before"] is None
    assert (swipe["rows"], swipe["columns"]) == (64, 64)
    numbers = next(f.value for f in app.dataframe if "allowed" in f.value)
    assert list(numbers["result"]) == ["✓ passed"] * 3 + ["– not asked"]
    assert list(numbers["allowed"])[:3] == ["≥ 0.5"] * 3
    for key in "aruniljkd":
        assert f"**{key}**" in said, "every key is listed"


def test_accept_reject_undo_and_note(show: Show, made: Workspace) -> None:
    app = show(made, "synthesise")
    first = shown(app)
    assert app.button(key="do-undo").disabled
    app = press(app, "do-reject")
    assert first not in accepted(made)
    assert "Rejected" in text(app)
    assert tiles(app)[0] == ("rejected", "rejected")
    assert shown(app) == first, "the edit stays unless going on is asked for"
    app.text_input(key=f"note-{first}").set_value("wires bent").run()
    assert first not in accepted(made)
    app = press(app, "do-undo")
    assert first in accepted(made)
    app = press(app, "do-accept")
    assert "Accepted by you" in text(app)
    assert tiles(app)[0] == ("used", "accepted")
    row = made.records.latest_decisions().iloc[0]
    assert (row["edit_id"], row["decision"], row["note"]) == (first, "accept", "wires bent")
    assert app.text_input(key=f"note-{first}").value == "wires bent"


def test_what_failed_cannot_be_decided_on_but_noted(show: Show, made: Workspace) -> None:
    app = press(show(made, "synthesise"), "do-next")
    assert all(app.button(key=f"do-{what}").disabled for what in ("accept", "reject", "undo"))
    assert "Failed a gate: kept for study, never used and never exported" in text(app)
    assert "✗ judge: judge 0.10 (≥ 0.5)" in text(app), "the number that made it fail"
    app.text_input(key=f"note-{shown(app)}").set_value("why?").run()
    assert made.records.latest_decisions()["note"].tolist() == ["why?"]
    app = press(press(app, "do-next"), "do-next")
    assert "the lungs were not found" in text(app)
    assert not [e for e in app.get("bidi_component") if e.proto.component_name == "cars_swipe"]


def test_next_and_previous_end_at_the_ends_and_going_on_follows_a_decision(show: Show, made: Workspace) -> None:
    app = show(made, "synthesise")
    first = shown(app)
    assert app.button(key="do-previous").disabled
    app.toggle(key="edit-go-on").set_value(True).run()
    app = press(app, "do-reject")
    assert shown(app) != first
    assert app.query_params["edit"] == shown(app)
    app = press(app, "do-previous")
    assert shown(app) == first
    for _ in range(5):
        app = press(app, "do-next")
    assert app.button(key="do-next").disabled


def test_filters(show: Show, made: Workspace) -> None:
    app = show(made, "synthesise")
    assert app.selectbox(key="edits-outcome").options == [
        "all (6)", "passed all (3)", "failed judge (1)", "failed anatomy (1)", "not made (1)",
    ]  # fmt: skip
    assert tiles(choose(app, "outcome", "failed anatomy")) == [("failed", "anatomy")]
    app = choose(app, "outcome", "passed all")
    assert len(tiles(app)) == 3
    app = choose(app, "decision", "undecided")
    before = [tile["id"] for tile in component(app, "cars_tiles")["tiles"]]
    app = press(app, "do-reject")
    assert [tile["id"] for tile in component(app, "cars_tiles")["tiles"]] == before[1:]
    assert shown(app) == before[1], "the next one takes the place of the one that left the list"
    app = press(press(app, "do-accept"), "do-accept")
    assert "No edit is left" in text(app)
    app = choose(choose(app, "outcome", "all"), "decision", "rejected")
    assert tiles(app) == [("rejected", "rejected")]


def test_thousands_of_edits_come_in_pages(show: Show, made: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages import _synthesise_edits

    monkeypatch.setattr(_synthesise_edits, "PER_PAGE", 4)
    app = show(made, "synthesise")
    assert len(tiles(app)) == 4
    assert "Page 1 of 2" in text(app)
    app = press(app, "page-Page ›")
    assert [word for _, word in tiles(app)] == ["anatomy", "passed"]
    assert component(app, "cars_tiles")["chosen"] == shown(app), "the first edit of the page is chosen"
    app = press(app, "do-previous")
    assert "Page 1 of 2" in text(app), "the page follows the edit"


def test_nothing_passes(show: Show, planned: Workspace) -> None:
    write_edits(planned, plan_of(planned), ("judge", "anatomy", "judge"))
    app = show(planned, "synthesise")
    assert not app.exception
    assert "None can be used; they failed: judge (2), anatomy (1)" in text(app)
    assert "0 count" in text(app)


def test_edits_of_a_baseline_are_for_comparison_only(show: Show, made: Workspace) -> None:
    write_edits(made, plan_of(made), ("passed",), "copy-paste", part="b")
    app = show(made, "synthesise")
    assert "1 were made by a baseline" in text(app)
    app = choose(app, "outcome", "baseline")
    assert tiles(app) == [("baseline", "baseline")]
    assert "Made by a baseline, for comparison only" in text(app)
    assert app.button(key="do-accept").disabled


def test_pictures_that_are_gone_are_said(show: Show, made: Workspace) -> None:
    shutil.rmtree(made.path / "films" / "synthetic")
    app = show(made, "synthesise")
    assert not app.exception
    assert "cannot be shown" in text(app)


# Preview -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def previewed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Previews without a model; the list holds what each was asked for."""
    asked: list[tuple[Any, ...]] = []

    def preview(workspace, dicom_id, findings, seed, guidance, settings, models):
        asked.append((dicom_id, findings, seed, guidance))
        if seed == 13:
            raise DataError("This film is not edited: split 'test'.", "Choose another.")
        film, masks = np.full((64, 48), 90, np.uint8), np.zeros((3, 128, 128), bool)
        edited = film.copy()
        edited[20:30, 10:20] += 60
        masks[:, 40:80, 50:70] = True
        gates = [Measure("judge", "probability after", 0.4, 0.5, np.inf, False)]
        return {"source": film, "edited": edited, "roi": edited != film, "masks": masks, "masks_after": masks,
                "gates": gates, "passed": False, "mode": "inversion", "error": None}  # fmt: skip

    monkeypatch.setattr(synth, "preview", preview)
    monkeypatch.setattr(synth, "workspace_models", lambda workspace, settings: object())
    return asked


def test_a_preview_of_one_edit(show: Show, planned: Workspace, previewed: list[tuple[Any, ...]]) -> None:
    before = {path for path in planned.path.rglob("*") if path.is_file()}
    app = open_step(show(planned, "synthesise"), "preview")
    item = planned.records.plan_items(plan_of(planned)).iloc[0]
    app.slider(key="preview-guidance").set_value(6.0).run()
    app = press(app, "preview")
    assert previewed == [(item["source_dicom_id"], item["findings"], item["seed"], 6.0)]
    said = text(app)
    assert "nothing is stored, and it is never used, trained on or exported" in said
    assert "It would fail" in said
    assert "✗ judge: probability after 0.40 (≥ 0.5)" in said
    swipe = component(app, "cars_swipe")
    assert swipe["before"].startswith("data:image/png")
    assert not planned.has("edits")
    assert {p for p in planned.path.rglob("*") if p.is_file()} - before <= {planned.path / "queue.sqlite"}
    app.slider(key="preview-guidance").set_value(7.0).run()
    assert "press Preview again" in text(app)
    app = press(app, "preview-use")
    assert app.number_input(key="synth-guidance").value == 6.0
    press(app, "make")
    (job,) = jobs.history(planned)
    assert job.settings["guidance"] == 6.0


def test_a_preview_that_cannot_be_made_says_why(
    show: Show, planned: Workspace, previewed: list[tuple[Any, ...]]
) -> None:
    app = open_step(show(planned, "synthesise"), "preview")
    app.number_input(key=f"preview-seed-{plan_of(planned)}-0").set_value(13).run()
    app = press(app, "preview")
    assert "This film is not edited" in text(app)
    assert "Choose another" in text(app)
