"""Films for the tests: a small phantom tree, a workspace that holds it, and real films where they are at hand."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from cars.ingest import IngestSettings, ingest
from cars.phantom.tree import write_tree
from cars.workspace import Workspace

# pytest puts tests/ on the path, where the folder tests/coverage would pass for the package `coverage` that numba (and
# with it UMAP) looks for; None makes that import fail cleanly where the package itself is not in use
sys.modules.setdefault("coverage", None)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def open_cxr() -> Path:
    """1,346 real radiographs (NIH ChestX-ray14) in MIMIC-CXR-JPG's layout, from the folder that CARS_SHARED names."""
    shared = Path(os.environ.get("CARS_SHARED", Path(__file__).resolve().parents[1].parent / "shared"))
    folder = shared / "data" / "open-cxr"
    if not folder.is_dir():
        pytest.skip(f"real films are not at {folder}; set CARS_SHARED to the folder that holds data/open-cxr")
    return folder


@pytest.fixture(scope="session")
def tiny_mimic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 phantom films of 64 pixels in MIMIC-CXR-JPG's layout. Read only; copy it to change it."""
    folder = tmp_path_factory.mktemp("tiny-mimic") / "tree"
    write_tree(folder, n_films=60, seed=7, size=64, workers=1)
    return folder


@pytest.fixture(scope="session")
def tiny_workspace(tmp_path_factory: pytest.TempPathFactory, tiny_mimic: Path) -> Workspace:
    """A workspace with `tiny_mimic` ingested. Read only; use `workspace_copy` to change it."""
    workspace = Workspace.create(tmp_path_factory.mktemp("tiny-workspace") / "ws")
    ingest(workspace, IngestSettings("phantom", str(tiny_mimic), workers=1))
    return workspace


@pytest.fixture
def workspace_copy(tmp_path: Path, tiny_workspace: Workspace) -> Workspace:
    """A copy of `tiny_workspace` that the test may change."""
    shutil.copytree(tiny_workspace.path, tmp_path / "workspace-copy")
    return Workspace.open(tmp_path / "workspace-copy")
