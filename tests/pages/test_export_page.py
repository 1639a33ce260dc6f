"""The page Export without a browser: the reports that lie there, and fine-tuned models."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from cars import jobs, results
from cars.workspace import Workspace

Show = Callable[[Workspace], AppTest]


@pytest.fixture
def show(link: Callable[..., AppTest]) -> Show:
    return lambda workspace: link(workspace, "export")


def text(app: AppTest) -> str:
    kinds = ("markdown", "caption", "info", "warning", "error", "code", "subheader")
    return "\n".join(str(e.value) for kind in kinds for e in getattr(app, kind)).replace("\\", "")


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def test_without_a_run_the_page_says_where_they_are_made(show: Show, tiny_workspace: Workspace) -> None:
    app = show(tiny_workspace)
    assert not app.exception
    assert "No run has been scored" in text(app)
    assert "No model has been fine-tuned yet" in text(app)


def test_reports_lie_beside_the_zip_and_say_when_they_are_old(show: Show, full: Workspace) -> None:
    assert "No report has been written yet" in text(show(full))
    run = full.read("units")["run"].iloc[0]
    full.folder("exports")
    paths = results.document_paths(full, run)
    for kind in ("html", "csv"):
        paths[kind].write_bytes(b"x" * 2**20)
    table = results.documents(full)
    assert table[["run", "kind", "bytes", "outdated"]].values.tolist() == [
        [run, "html", 2**20, False], [run, "csv", 2**20, False],
    ]  # fmt: skip
    app = show(full)
    assert not app.exception
    assert [b.label for b in app.get("download_button")] == ["Download HTML", "Download CSV"]
    assert run[:8] in text(app)
    assert "1.0 MiB" in text(app)
    assert "scored again" not in text(app)
    os.utime(paths["csv"], (1, 1))
    assert results.documents(full)["outdated"].tolist() == [False, True]
    app = show(full)
    assert "scored again after these files were written" in text(app)
    press(app, "Write again")
    job = jobs.history(full)[0]
    assert (job.verb, job.settings["run"], job.settings["csv"]) == ("report", run, str(paths["csv"]))


def test_models_are_chosen_and_exported_by_a_job(show: Show, full: Workspace) -> None:
    assert "timm has no model of this run's backbones" in text(show(full)), "the toy is none of timm's"
    units = full.read("units")
    more = units.assign(backbone="vit_mini", unit=units["unit"] + "v")
    full.write_part("units", "more", more)
    app = show(full)
    assert app.selectbox(key="models-backbone").options == ["all", "vit_mini"]
    assert "2 models, about 0 MiB" in text(app)
    app.selectbox(key="models-arm").set_value("real+cars").run()
    assert "1 model, about 0 MiB" in text(app)
    app.selectbox(key="models-seed").set_value(0).run()
    press(app, "Export the models")
    job = jobs.history(full)[0]
    assert job.verb == "export-models"
    run = units["run"].iloc[0]
    assert job.settings == {"run": run, "backbone": "", "arm": "real+cars", "seed": 0}
    assert next(b for b in show(full).button if b.label == "Export the models").disabled, "one job at a time"


def test_models_that_are_there_are_listed_with_three_lines(show: Show, full: Workspace) -> None:
    for seed in (0, 1):
        folder = full.folder("models", "finetuned", f"vit_mini-real-seed{seed}-u{seed}")
        (folder / "model.safetensors").write_bytes(b"x" * 2**21)
        about = {"backbone": "vit_mini", "arm": "real", "seed": seed, "run": "r", "unit": f"u{seed}"}
        (folder / "config.json").write_text(json.dumps(about))
        os.utime(folder / "config.json", (seed + 1, seed + 1))
    app = show(full)
    assert app.dataframe[0].value["Seed"].tolist() == [1, 0], "the newest first"
    assert app.dataframe[0].value["MiB"].tolist() == [2.0, 2.0]
    lines = next(code.value for code in app.code if "timm" in code.value)
    assert f'timm.create_model("local-dir:{full.path}/models/finetuned/vit_mini-real-seed1-u1"' in lines
    app.selectbox(key="model").set_value(str(full.path / "models" / "finetuned" / "vit_mini-real-seed0-u0")).run()
    assert "seed0-u0/config.json" in next(code.value for code in app.code if "timm" in code.value)
