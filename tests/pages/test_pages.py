"""Every page, drawn without a browser: on an empty workspace, a small one and a full one; and what its buttons do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from cars import evaluate, jobs
from cars.evaluate import passes
from cars.jobs.store import JobStore
from cars.metrics.entropy import binary_entropy
from cars.workspace import Workspace, write_json

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("overview", "coverage", "synthesise", "gains", "export", "jobs")
Show = Callable[..., AppTest]


def text(app: AppTest) -> str:
    """Everything that a page says."""
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "success", "text", "code")
    return "\n".join(str(element.value) for kind in kinds for element in getattr(app, kind))


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def submitted(workspace: Workspace) -> list[jobs.Job]:
    return jobs.history(workspace)[::-1]


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_workspace_says_what_to_do(show: Show, empty: Workspace, page: str) -> None:
    app = show(empty, page)
    assert not app.exception
    assert not app.error
    said = text(app)
    assert any(word in said for word in ("is empty", "no films", "no gaps", "No job")), said


@pytest.mark.parametrize("page", PAGES)
def test_a_workspace_with_films_only(show: Show, tiny_workspace: Workspace, page: str) -> None:
    app = show(tiny_workspace, page)
    assert not app.exception
    assert not app.error


@pytest.mark.parametrize("page", PAGES)
def test_a_full_workspace(show: Show, full_once: Workspace, page: str) -> None:
    app = show(full_once, page)
    assert not app.exception
    assert not app.error


def test_no_workspace_is_explained(show: Show, empty: Workspace) -> None:
    (empty.path / "workspace.toml").unlink()
    app = show(empty)
    assert not app.exception
    assert "no workspace" in app.error[0].value


def test_a_broken_settings_file_is_quoted(show: Show, full: Workspace) -> None:
    (full.path / "workspace.toml").write_text("[gaps\nthreshold = 3\n")
    app = show(full, "coverage")
    assert not app.exception
    assert any("cannot be read" in error.value for error in app.error)


def test_a_wrong_setting_in_the_file_is_quoted(show: Show, full: Workspace) -> None:
    (full.path / "workspace.toml").write_text('[gaps]\nunit = "house"\n')
    app = show(full, "coverage")
    assert not app.exception
    assert any("house" in error.value for error in app.error)


def test_the_first_page_imports_no_torch(show: Show, tiny_workspace: Workspace) -> None:
    """In a process of its own, since other tests import torch."""
    import os
    import subprocess
    import sys

    code = (
        "import sys\nfrom cars import jobs\njobs.ensure_worker = lambda *a: 0\n"
        "from streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('app.py', default_timeout=120).run()\n"
        "assert not app.exception, app.exception\n"
        "print(sorted(n for n in ('torch', 'faiss', 'umap', 'sklearn', 'diffusers', 'timm') if n in sys.modules))"
    )
    env = {**os.environ, "CARS_WORKSPACE": str(tiny_workspace.path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


# Overview ------------------------------------------------------------------------------------------------------------


def test_overview_counts_films(show: Show, tiny_workspace: Workspace) -> None:
    metrics = {metric.label: metric.value for metric in show(tiny_workspace).metric}
    assert metrics["Films"] == "60"
    assert metrics["Missing files"] == "0"


def test_overview_lists_what_was_set_aside(show: Show, workspace_copy: Workspace) -> None:
    import pandas as pd

    rows = pd.DataFrame(
        {"file": ["x.csv"], "row": pd.array([7], "Int64"), "column": ["Edema"], "value": ["2"],
         "reason": ["a label is not 1, 0, -1 or blank"], "dicom_id": ["d"]}
    )  # fmt: skip
    version = workspace_copy.version("quarantine")
    workspace_copy.write_part("quarantine", "more", rows, version)
    app = show(workspace_copy)
    assert any("1 rows or films were set aside" in expander.label for expander in app.expander)
    assert any("a label is not 1, 0, -1 or blank" in frame.value.to_string() for frame in app.dataframe)


def test_overview_has_one_next_step(show: Show, workspace_copy: Workspace) -> None:
    app = show(workspace_copy)
    press(app, "Embed the films")
    assert [job.verb for job in submitted(workspace_copy)] == ["embed"]


def test_the_demo_is_queued_as_a_chain(show: Show, empty: Workspace) -> None:
    press(show(empty), "Build the demo")
    chain = submitted(empty)
    assert [job.verb for job in chain][:3] == ["ingest", "concepts", "embed"]
    assert chain[1].after == chain[0].job_id


def test_reading_a_data_set_needs_a_source(show: Show, empty: Workspace) -> None:
    app = show(empty)
    read = next(button for button in app.button if button.label == "Read it")
    assert read.disabled
    app.text_input[0].set_value("/data/mimic").run()
    press(app, "Read it")
    (job,) = submitted(empty)
    assert (job.verb, job.settings["adapter"], job.settings["source"]) == ("ingest", "mimic-cxr-jpg", "/data/mimic")


def test_text_of_a_data_set_is_never_markup(show: Show, workspace_copy: Workspace) -> None:
    import json

    path = workspace_copy.path / "dataset.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "terms": "<script>alert(1)</script> ![x](http://outside/x.png)"}))
    said = text(show(workspace_copy))
    assert "alert" in said
    assert "<script>" not in said
    assert "![x](" not in said


# Coverage ------------------------------------------------------------------------------------------------------------


def test_the_list_of_gaps_has_its_evidence(show: Show, full_once: Workspace) -> None:
    app = show(full_once, "coverage")
    table = app.dataframe[0].value
    evidence = {"verdict", "count", "expected", "ratio", "low", "high", "deficit", "reachable", "reachable_two"}
    assert {"gap", "score", "error"} | evidence <= set(table.columns)
    assert list(table["rank"]) == sorted(table["rank"])


def test_a_chosen_gap_shows_films_and_leads_to_a_plan(show: Show, full_once: Workspace) -> None:
    from cars import coverage

    gaps = coverage.gap_table(full_once)
    gap = gaps[gaps["editable"] & (gaps["reachable"] > 0)].iloc[0]
    app = show(full_once, "coverage")
    app.query_params["gap"] = gap["gap_id"]
    app.run()
    assert any(button.label == "Plan edits for this gap" for button in app.button)
    assert app.image, "no film is shown"
    assert "become a match by" in text(app)


def test_find_gaps_submits_what_was_chosen(show: Show, workspace_copy: Workspace) -> None:
    app = show(workspace_copy, "coverage")
    app.number_input(key="gaps-threshold").set_value(12).run()
    app.selectbox(key="gaps-unit").set_value("study").run()
    press(app, "Find gaps")
    (job,) = submitted(workspace_copy)
    assert job.verb == "gaps"
    assert (job.settings["threshold"], job.settings["unit"]) == (12, "study")
    assert job.settings["attributes"] == "sex,age_band,view,findings"


@pytest.mark.parametrize("view", ["Pairs of findings", "Map"])
def test_the_other_views_draw_a_figure(show: Show, full_once: Workspace, view: str) -> None:
    app = show(full_once, "coverage")
    app.get("button_group")[0].set_value(view).run()
    assert not app.exception
    assert not app.error
    assert app.get("plotly_chart")


# Gains ---------------------------------------------------------------------------------------------------------------


def test_without_evidence_gains_says_how_to_get_it(show: Show, tiny_workspace: Workspace) -> None:
    said = text(show(tiny_workspace, "gains"))
    assert "no evidence yet" in said
    assert "coverage has not changed" in said


def test_gains_has_sentences_and_figures(show: Show, full_once: Workspace) -> None:
    app = show(full_once, "gains")
    assert "toy" in text(app)
    assert len(app.get("plotly_chart")) == 2
    assert not app.exception


@pytest.mark.parametrize(
    ("part", "figures", "words"),
    [
        ("findings", 2, "Precision and recall"),
        ("calibration", 1, "fitted on the validate patients"),
        ("uncertainty", 2, "no dropout was trained"),
        ("rare", 0, "no slice to look at"),
        ("covered", 1, "baseline generators never count"),
        ("document", 0, "has not been written yet"),
    ],
)
def test_each_part_of_gains(show: Show, full_once: Workspace, part: str, figures: int, words: str) -> None:
    app = show(full_once, "gains", part=part)
    assert not app.exception
    assert not app.error
    assert words in text(app)
    assert len(app.get("plotly_chart")) == figures


def test_uncertainty_over_passes_stands_beside_that_over_seeds(show: Show, full: Workspace) -> None:
    row = evaluate.runs(full).iloc[0]
    path = full.path / "runs" / row["run"] / "run.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**content, "settings": {**content["settings"], "dropout": 0.3}})
    rng = np.random.default_rng(0)
    for _, films in full.read("predictions").query("split == 'test'").groupby("unit"):
        each = rng.random((3, len(films), 14))
        of = passes.Passes(each.mean(axis=0), binary_entropy(each).mean(axis=0))
        passes.write(full, films, 3, {False: of, True: of})
    app = show(full, "gains", part="uncertainty")
    assert not app.exception
    assert not app.error
    assert len(app.get("plotly_chart")) == 4
    assert "passes with dropout" in app.get("plotly_chart")[1].proto.spec
    full.part_path("passes", full.read("units")["unit"].iloc[0]).unlink()
    app = show(full, "gains", part="uncertainty")
    assert not app.exception
    assert "finished units are not retrained" in app.error[0].value
    assert len(app.get("plotly_chart")) == 2, "what the seeds say is still there"


def test_rare_combinations_have_a_figure_and_a_table(show: Show, full: Workspace) -> None:
    run = full.read("units")["run"].iloc[0]
    one = {"run": run, "backbone": "toy", "arm": "real+cars", "metric": "auprc", "gap_id": "g", "slice": "sex F",
           "finding": "Edema", "edits": 3, "reference": "real", "basis": "near",
           "reference_value": 0.4, "value": 0.125, "low": -0.1, "high": 0.2, "p": 0.3, "n": 40,
           "positives": 7, "patients": 30, "positive_patients": 6}  # fmt: skip
    undefined = {**one, "slice": "sex M", "value": np.nan, "low": np.nan, "high": np.nan, "p": np.nan, "positives": 0}
    full.write_part("slices", "made", pd.DataFrame([one, undefined]))
    app = show(full, "gains", part="rare")
    assert not app.exception
    assert len(app.get("plotly_chart")) == 1
    table = app.dataframe[0].value.set_index("Test films")
    assert table.loc["sex F (near)", "Difference"] == "+0.125 (−0.100 to +0.200)"
    assert table.loc["sex M (near)", "Difference"] == "undefined"
    assert table.loc["sex M (near)", "positive"] == "0"
    full.write_part("slices", "rest", pd.DataFrame([{**one, "basis": "rest", "slice": "sex F", "value": -0.5}]))
    table = show(full, "gains", part="rare", basis="rest").dataframe[0].value
    assert table["Difference"].tolist() == ["−0.500 (−0.100 to +0.200)"]


def test_several_backbones_have_a_grid_and_contrasts_a_figure(show: Show, full: Workspace) -> None:
    gains = full.read("gains")
    contrast = gains[gains["arm"] == "real+cars"].assign(reference="real+sham", contrast=True)
    both = pd.concat([gains, contrast])
    full.write_part("gains", full.parts("gains")[0].stem, pd.concat([both, both.assign(backbone="other")]))
    units = full.read("units")
    full.write_part("units", "other", units.assign(backbone="other"))
    app = show(full, "gains")
    assert not app.exception
    assert not app.error
    assert "Is it the edits?" in text(app)
    assert "of 2 backbones" in text(app)
    assert len(app.get("plotly_chart")) == 4


def test_a_run_of_real_alone_says_that_nothing_is_compared(show: Show, full: Workspace) -> None:
    for path in full.parts("gains"):
        path.unlink()
    app = show(full, "gains")
    assert not app.exception
    assert "nothing to compare" in text(app)


def test_the_report_is_written_by_a_job_and_then_downloaded(show: Show, full: Workspace) -> None:
    app = press(show(full, "gains", part="document"), "Write the report")
    (job,) = submitted(full)
    assert job.verb == "report"
    assert set(job.settings) >= {"run", "html", "pdf", "csv"}
    for kind in ("html", "pdf", "csv"):
        Path(job.settings[kind]).write_bytes(b"x")
    app = show(full, "gains", part="document")
    assert not app.exception
    assert [button.label for button in app.get("download_button")] == ["Download HTML", "Download PDF", "Download CSV"]
    assert not app.warning
    import os

    os.utime(job.settings["pdf"], (1, 1))
    assert "scored again" in show(full, "gains", part="document").warning[-1].value


def test_training_is_followed_by_its_report(show: Show, workspace_copy: Workspace) -> None:
    press(show(workspace_copy, "gains"), "Fine-tune and score")
    trained, scored = submitted(workspace_copy)
    assert (trained.verb, scored.verb, scored.after) == ("finetune", "report", trained.job_id)


# Export and jobs -----------------------------------------------------------------------------------------------------


def test_export_warns_of_patients_and_offers_the_zip(show: Show, full: Workspace) -> None:
    import json

    about = json.loads((full.path / "dataset.json").read_text())
    (full.path / "dataset.json").write_text(json.dumps({**about, "patient_derived": True}))
    app = show(full, "export")
    assert "come from patients" in app.warning[0].value
    press(app, "Export")
    (job,) = submitted(full)
    store = JobStore(full)
    store.claim(job.job_id, "test")
    (full.folder("exports") / "a.zip").write_bytes(b"PK")
    result = {"path": str(full.path / "exports" / "a.zip"), "films": 61, "synthetic": 1, "sha256": "ab" * 32}
    store.finish(job.job_id, result)
    app = show(full, "export")
    assert "61 films, 1 of them synthetic" in app.success[0].value
    assert app.get("download_button")


def test_a_running_job_shows_progress_and_is_cancelled(show: Show, workspace_copy: Workspace) -> None:
    job_id = jobs.submit(workspace_copy, "embed", {})
    store = JobStore(workspace_copy)
    store.claim(job_id, "test")
    store.progress(job_id, 30, 60, "films")
    app = show(workspace_copy)
    assert "embed: 50% films" in app.get("progress")[0].proto.text
    press(app, "Cancel")
    assert jobs.status(workspace_copy, job_id).cancel


def test_a_failed_job_shows_its_hint_and_is_retried(show: Show, workspace_copy: Workspace) -> None:
    job_id = jobs.submit(workspace_copy, "gaps", {})
    store = JobStore(workspace_copy)
    store.claim(job_id, "test")
    store.fail(job_id, "There is no attribute 'colour'.", "Use sex or view.")
    app = show(workspace_copy, "jobs")
    assert "colour" in app.error[0].value
    assert "Use sex or view" in app.error[0].value
    press(app, "Retry")
    assert jobs.status(workspace_copy, job_id).state == "queued"


def test_an_editor_in_training_shows_losses_and_samples(show: Show, workspace_copy: Workspace) -> None:
    from PIL import Image

    job_id = jobs.submit(workspace_copy, "train-generator", {})
    store = JobStore(workspace_copy)
    store.claim(job_id, "test")
    assert "first checkpoint" in text(show(workspace_copy, "jobs"))
    running = workspace_copy.folder("models", "generator", "k1.training")
    Image.new("RGB", (8, 8)).save(running / "losses.png")
    app = show(workspace_copy, "jobs")
    assert len(app.image) == 1
    Image.new("RGB", (8, 8)).save(running / "samples.png")
    running.rename(running.with_name("k1"))
    store.finish(job_id, {"generator": "k1"})
    app = show(workspace_copy, "jobs")
    assert len(app.image) == 2
    assert "not a result" in text(app)


def test_the_end_of_the_log_is_shown(show: Show, workspace_copy: Workspace) -> None:
    job_id = jobs.submit(workspace_copy, "gaps", {})
    (workspace_copy.folder("logs") / f"{job_id}.log").write_text("first\nlast line\n")
    assert "last line" in text(show(workspace_copy, "jobs"))
