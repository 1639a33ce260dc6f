"""Workspaces for the pages: empty, with films, and with everything from gaps to scores."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from cars import coverage, evaluate, jobs, schema, synth
from cars.imaging import decode, save_png
from cars.synth.tables import EDITS, GATE_ROWS, UNCERTAINTY
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
    """link(workspace, section="pairs") → the page Coverage as a fresh browser opens that address."""

    def draw(workspace: Workspace, /, **params: str) -> AppTest:
        monkeypatch.setenv("CARS_WORKSPACE", str(workspace.path))
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
        app.switch_page("pages/coverage.py")
        for name, value in params.items():
            app.query_params[name] = value
        return app.run()

    return draw


@pytest.fixture
def empty(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "nothing")


def write_edits(workspace: Workspace, plan_id: str) -> None:
    """Three edits as `synth` files them: one passed, one failed the judge, one could not be made."""
    items = workspace.records.plan_items(plan_id)
    films = workspace.read("films").set_index("dicom_id")
    rows, gates, doubts = [], [], []
    for n, item in enumerate(items.head(3).to_dict("records")):
        source = films.loc[item["source_dicom_id"]]
        edit_id, passed, error = f"edit{n:012d}", n == 0, "the lungs were not found" if n == 2 else None
        paths = {kind: f"films/synthetic/ed/{edit_id}{kind}.png" for kind in ("", ".roi", ".sham")}
        film = decode(source["path"])
        edited, region = film.copy(), np.zeros(film.shape, np.uint8)
        region[8:40, 8:30] = 255
        edited[10:30, 10:25] = np.minimum(edited[10:30, 10:25].astype(int) + 50, 255).astype(np.uint8)
        for kind, image in (("", edited), (".roi", region), (".sham", film)):
            save_png(workspace.path / paths[kind], image)
        labels = schema.after_edit({f: int(source[c]) for f, c in schema.COLUMN_OF.items()}, item["findings"])
        finding, direction = next(iter(item["findings"].items()))
        rows.append(
            {
                "edit_id": edit_id, "plan_id": plan_id, "item": n, "gap_id": item["gap_id"],
                "source_dicom_id": item["source_dicom_id"], "source_subject_id": source["subject_id"],
                "source_study_id": source["study_id"], "findings": json.dumps(item["findings"]), "finding": finding,
                "direction": direction, **{c: labels[f] for f, c in schema.COLUMN_OF.items()}, "view": source["view"],
                "view_position": source["view_position"], "sex": source["sex"], "age": source["age"],
                "age_band": source["age_band"], "race": source["race"], "split": "train", "generator": "cars",
                "generator_revision": "r", "segmenter": "cars", "judge": "j", "mode": "inversion", "seed": 1,
                "steps": 2, "guidance": 3.0, "film_path": None if error else paths[""],
                "roi_path": None if error else paths[".roi"], "sham_path": None if error else paths[".sham"],
                "rows": film.shape[0], "columns": film.shape[1], "passed": passed, "error": error,
                "origin": "synthetic", "created": 1.0 + n, "code_version": "test", "gating": None,
                "generator_licence": None,
            }
        )  # fmt: skip
        if not error:
            gates += [
                {"edit_id": edit_id, "gate": gate, "measure": gate, "value": 0.9 if passed else 0.1, "low": 0.5,
                 "high": np.inf, "passed": passed or gate != "judge"}
                for gate in ("judge", "anatomy", "outside")
            ]  # fmt: skip
            gates.append({"edit_id": edit_id, "gate": "copy", "measure": "similarity: not checked", "value": np.nan,
                          "low": -np.inf, "high": np.inf, "passed": None})  # fmt: skip
            bits = {"total": 0.81, "mutual": 0.31}
            doubts.append({"edit_id": edit_id, "finding": finding, "k": 2, "m": 3, **bits, "n": 6})
    workspace.write_part("gates", "p", GATE_ROWS.table(gates))
    workspace.write_part("uncertainty", "p", UNCERTAINTY.table(doubts))
    workspace.write_part("edits", "p", EDITS.table(rows))


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
