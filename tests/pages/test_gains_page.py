"""The page Gains without a browser: the training form, the grid in training, and what a stopped one keeps."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from cars import evaluate, jobs
from cars.config import setting
from cars.jobs.store import JobStore
from cars.workspace import Workspace

Show = Callable[[Workspace], AppTest]


@pytest.fixture
def show(link: Callable[..., AppTest]) -> Show:
    """show(workspace) → the page Gains in its cheapest section."""
    return lambda workspace: link(workspace, "gains", part="Report")


def text(app: AppTest) -> str:
    kinds = ("markdown", "caption", "info", "warning", "error")
    return "\n".join(str(e.value) for kind in kinds for e in getattr(app, kind)).replace("\\", "")


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def job_of(workspace: Workspace, verb: str) -> jobs.Job:
    return next(job for job in jobs.history(workspace) if job.verb == verb)


# The form ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Later(evaluate.FinetuneSettings):
    """The settings of a later version, with a field more."""

    novelty: int = setting(7, "Something that does not exist yet.", minimum=1, maximum=9)


def test_every_setting_can_be_changed_and_is_handed_on(
    show: Show, full: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "FinetuneSettings", Later)
    app = show(full)
    novelty = app.number_input(key="finetune-novelty")
    assert (novelty.value, novelty.min, novelty.max) == (7, 1, 9)
    novelty.set_value(8)
    app.number_input(key="finetune-lr").set_value(0.003)
    app.selectbox(key="finetune-schedule").set_value("cosine")
    press(app, "Fine-tune and score")
    given = job_of(full, "finetune").settings
    fields = {field.name for field in dataclasses.fields(Later)}
    assert set(given) == fields - {"config"}, "a file of settings would lose to every field of the form"
    assert (given["novelty"], given["lr"], given["schedule"]) == (8, 0.003, "cosine")
    assert given["backbones"] == "densenet121"
    assert given["arms"].split(",") == list(evaluate.DEFAULT_ARMS)


def test_the_form_starts_from_the_workspace_file(show: Show, full: Workspace) -> None:
    (full.path / "workspace.toml").write_text('[finetune]\nbackbones = "small"\narms = "real,real+cars"\nseeds = 4\n')
    app = show(full)
    assert app.multiselect(key="backbones").value == list(evaluate.BACKBONE_GROUPS["small"])
    assert "7 backbones × 2 arms × 4 seeds: 56 units" in text(app)
    (full.path / "workspace.toml").write_text('[finetune]\nbackbones = "densnet"\n')
    app = show(full)
    assert not app.exception
    assert "densnet" in app.error[0].value


def test_groups_in_one_click_and_the_number_of_units(show: Show, full: Workspace) -> None:
    app = press(show(full), "Small seven, for a CPU")
    app = press(app, "All seven arms")
    assert app.multiselect(key="backbones").value == list(evaluate.BACKBONE_GROUPS["small"])
    assert "7 backbones × 7 arms × 3 seeds: 147 units" in text(app)
    assert "tells how long that takes" in text(app), "no earlier unit of these at this size"
    app = press(app, "All seven, for a GPU")
    assert app.multiselect(key="backbones").value == list(evaluate.BACKBONE_GROUPS["all"])


def test_a_control_that_is_left_out_is_said_at_once(show: Show, full: Workspace) -> None:
    app = show(full)
    assert "was not trained" not in text(app)
    app.multiselect(key="arms").set_value(["real", "real+cars"]).run()
    said = "\n".join(warning.value for warning in app.warning).replace("\\", "")
    for sentence in evaluate.cannot_conclude(["real", "real+cars"], 3):
        assert sentence in said
    app.number_input(key="finetune-seeds").set_value(1).run()
    assert "One training seed" in text(app)
    app.multiselect(key="arms").set_value([]).run()
    assert "at least one backbone and one arm" in text(app)
    assert next(button for button in app.button if button.label == "Fine-tune and score").disabled


def test_an_arm_without_films_is_said_before_it_is_trained(show: Show, full: Workspace) -> None:
    app = show(full)
    assert "would stop at once" not in text(app)
    app.multiselect(key="arms").set_value(["real", "real+label-prompted"]).run()
    assert "would stop at once.  \nThe arm 'real+label-prompted' needs films of the generator" in text(app)


def test_the_time_is_that_of_earlier_units(show: Show, full: Workspace) -> None:
    app = show(full)
    assert "No earlier unit" in text(app)
    app.multiselect(key="backbones").set_value(["toy"])
    app.number_input(key="finetune-size").set_value(32).run()
    assert "at the pace of 2 earlier units at 32 pixels" in text(app)


# The grid ------------------------------------------------------------------------------------------------------------


def begin(workspace: Workspace) -> tuple[JobStore, str]:
    """A running job, and the grid that it has begun: done, in training, failed, stopped before a check, waiting."""
    job_id = jobs.submit(workspace, "finetune", {"backbones": "toy"})
    store = JobStore(workspace)
    store.claim(job_id, "test")
    time.sleep(0.02)
    folder = workspace.folder("runs", "new")
    units = [
        {"unit": f"u{n}", "backbone": backbone, "arm": arm, "seed": n % 2, "steps": 80}
        for n, (backbone, arm) in enumerate([("toy", "real")] * 2 + [("toy", "real+cars")] * 2)
    ]
    (folder / "grid.json").write_text(json.dumps({"workers": 1, "units": units}))
    (folder / "u0").mkdir()
    (folder / "u0" / "calibration.json").write_text("{}")
    (folder / "u1").mkdir()
    (folder / "u1" / "checkpoint.pt").write_text("")
    clock: dict[str, Any] = {"steps": 80, "films_per_second": None, "error": None}
    workspace.folder("runs", "new", "progress")
    for unit, more in {
        "u1": {"step": 30, "stepped": 30, "seconds": 15.0},
        "u2": {"step": 8, "stepped": 8, "seconds": 4.0, "error": "No [disk](http://x) is left."},
    }.items():
        (folder / "progress" / f"{unit}.json").write_text(json.dumps({**clock, **more}))
    return store, job_id


def squares(app: AppTest) -> dict[str, tuple[str, str]]:
    """Unit → (state, what its square shows)."""
    (found,) = [e for e in app.get("bidi_component") if e.proto.component_name == "cars_grid"]
    data = json.loads(found.proto.json)
    return {u["id"]: (u["state"], u["sign"]) for row in data["rows"] for cell in row["cells"] for u in cell}


def test_a_grid_in_training_unit_by_unit(show: Show, full: Workspace) -> None:
    begin(full)
    app = show(full)
    assert not app.exception
    assert squares(app) == {"u0": ("done", "✓"), "u1": ("running", "37"), "u2": ("failed", "✗"), "u3": ("waiting", "")}
    # 50 + 72 + 80 steps at half a second each
    assert "1 of 4 units done, 1 training, 1 failed, 1 waiting, about 2 min left." in text(app)
    said = app.error[0].value
    assert said.endswith(r"seed 0\: failed at step 8 of 80. No \[disk\]\(http\://x\) is left."), "never a link"


def test_before_the_grid_is_begun_an_earlier_one_is_not_taken_for_it(show: Show, full: Workspace) -> None:
    job_id = jobs.submit(full, "finetune", {"backbones": "toy"})
    JobStore(full).claim(job_id, "test")
    app = show(full)
    assert "then the grid is shown here" in text(app)
    assert not [e for e in app.get("bidi_component") if e.proto.component_name == "cars_grid"]


def test_a_stopped_grid_says_what_is_kept_and_goes_on(show: Show, full: Workspace) -> None:
    store, job_id = begin(full)
    jobs.cancel(full, job_id)
    store.stopped(job_id)
    app = show(full)
    label = next(e.label for e in app.expander if "not finished" in e.label).replace("\\", "")
    assert "1 of 4 units are done and kept, 1 failed." in label
    assert "1 goes on from the last check. 1 had not reached a check and starts again. 1 was not begun." in label
    assert squares(app)["u1"] == ("stopped", "‖")
    app = press(app, "Go on with it")
    assert jobs.status(full, job_id).state == "queued"


def test_a_finished_grid_is_not_in_the_way(show: Show, full_once: Workspace) -> None:
    app = show(full_once)
    assert not [e for e in app.expander if "not finished" in e.label]


# Runs and arms --------------------------------------------------------------------------------------------------------


def test_arms_come_in_the_order_of_the_experiment() -> None:
    from pages._gains_run import in_order

    table = pd.DataFrame({"backbone": list("bbaaaa"), "arm": ["real+cars", "real", "odd", "real+cars", "real", "real"]})
    found = in_order(table.assign(row=range(6)))
    assert found["row"].tolist() == [4, 5, 3, 2, 1, 0], "by backbone, an unknown arm last, else as they were"
    assert in_order(pd.DataFrame()).empty


def test_the_newest_scored_run_is_shown_and_another_can_be_scored(show: Show, full: Workspace) -> None:
    run = evaluate.runs(full)["run"].iloc[0]
    folder = full.folder("runs", "newer")
    about = json.loads((full.path / "runs" / run / "run.json").read_text())
    about["settings"]["name"] = "second"
    (folder / "run.json").write_text(json.dumps(about | {"completed": about["completed"] + 60}))
    units = full.read("units").assign(run="newer")
    full.write_part("units", "newer", units)
    app = show(full)
    assert app.selectbox(key="run").value == run
    assert app.selectbox(key="run").options[0].startswith("second · 20")
    assert not app.error
    app.selectbox(key="run").set_value("newer").run()
    assert "has not been scored" in app.error[0].value
    press(app, "Score this run")
    job = job_of(full, "report")
    assert job.settings == {"run": "newer"}


def test_calibration_draws_the_reference_and_the_arms_with_edits(
    link: Callable[..., AppTest], full: Workspace
) -> None:
    app = link(full, "gains", part="Calibration")
    assert not app.exception
    (arms,) = [m for m in app.multiselect if m.label == "Arms" and m.key != "arms"]
    assert arms.value == ["real", "real+cars"]
    assert len(app.get("plotly_chart")) == 1
    table = next(e for e in app.dataframe if "seed 0" in e.value.columns).value
    assert list(table.index) == ["real", "real+cars"]
    arms.set_value([]).run()
    assert "Choose at least one arm" in text(app)
    assert not app.get("plotly_chart")
