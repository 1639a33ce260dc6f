"""Workspaces for the pages: empty, with films, and with everything from gaps to scores."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from edits_by_hand import write_edits
from streamlit.testing.v1 import AppTest

from cars import coverage, evaluate, jobs, synth
from cars.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
#: Reading a page for the first time imports pandas, plotly and the verbs; a slow machine needs its time.
PATIENCE = 120


@pytest.fixture(autouse=True)
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages may submit jobs; nobody works on them."""
    monkeypatch.setattr(jobs, "ensure_worker", lambda workspace, *rest: 0)
    if str(ROOT) not in sys.path:
        monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture(autouse=True)
def own_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest makes app.py the `__main__` module; worker processes that later tests spawn would run it and die."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """show(workspace, "coverage") → that page, drawn."""

    def draw(workspace: Workspace, page: str = "overview", **state: Any) -> AppTest:
        monkeypatch.setenv("CARS_WORKSPACE", str(workspace.path))
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
        for key, value in state.items():
            app.session_state[key] = value
        app.run()
        return app if page == "overview" else app.switch_page(f"pages/{page}.py").run()

    return draw


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """link(workspace, "gains", part="Report") → that page (Coverage unless named) as a fresh browser opens it."""

    def draw(workspace: Workspace, page: str = "coverage", /, **params: str) -> AppTest:
        monkeypatch.setenv("CARS_WORKSPACE", str(workspace.path))
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
        app.switch_page(f"pages/{page}.py")
        for name, value in params.items():
            app.query_params[name] = value
        return app.run()

    return draw


@pytest.fixture
def empty(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "nothing")


@pytest.fixture(scope="session")
def full_once(tmp_path_factory: pytest.TempPathFactory, tiny_workspace: Workspace) -> Workspace:
    """Films, map, gaps, a plan, edits, and a scored run of a toy backbone."""
    folder = tmp_path_factory.mktemp("full") / "full"
    shutil.copytree(tiny_workspace.path, folder)
    workspace = Workspace.open(folder)
    films = workspace.read("films")
    xy = np.random.default_rng(0).normal(size=(len(films), 2)).astype(np.float32)
    points = pd.DataFrame({"dicom_id": films["dicom_id"], "x": xy[:, 0], "y": xy[:, 1], "backbone": "toy"})
    workspace.write_part("map", "0", points)
    coverage.gaps(workspace, coverage.GapsSettings(threshold=4, max_order=2))
    made = synth.plan(workspace, synth.PlanSettings(films=6, screen=False))
    write_edits(workspace, made["plan_id"])
    evaluate.finetune(
        workspace, evaluate.FinetuneSettings("toy", "real,real+cars", 1, size=32, steps=2, batch=4, check_every=1)
    )
    evaluate.report(workspace, evaluate.ReportSettings(resamples=20, min_positives=1))
    return workspace


@pytest.fixture
def full(tmp_path: Path, full_once: Workspace) -> Workspace:
    """A copy of `full_once` that the test may change."""
    shutil.copytree(full_once.path, tmp_path / "full")
    return Workspace.open(tmp_path / "full")
