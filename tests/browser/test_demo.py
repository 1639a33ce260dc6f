"""The whole path in a real browser: open the app, click a gap, make a few films, download a zip that loads."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cars.coverage import GapsSettings, gaps
from cars.ingest import IngestSettings, ingest
from cars.workspace import Workspace

pytestmark = pytest.mark.browser
SETTINGS = """
[gaps]
threshold = 12
max_order = 2
[plan]
screen = false
per_gap = 3
films = 3
[synth]
steps = 4
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """80 phantom films with their gaps."""
    made = Workspace.create(tmp_path_factory.mktemp("browser") / "phantom")
    (made.path / "workspace.toml").write_text(SETTINGS)
    ingest(made, IngestSettings("phantom", "n=80,seed=3,size=128", workers=1))
    gaps(made, GapsSettings(threshold=12, max_order=2))
    return made


def open_page(page: Any, address: str, name: str) -> None:
    page.goto(f"{address}/{name}")
    page.get_by_role("heading", level=1).wait_for()


def click_first_mark(page: Any) -> None:
    """Click the first gap of the figure; plotly takes clicks on its own layer, so at the mark's place."""
    mark = page.locator(".js-plotly-plot .scatterlayer .points path.plotly-customdata").first
    mark.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    box = mark.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_the_demo_from_a_gap_to_a_zip(page: Any, address: str, workspace: Workspace) -> None:
    open_page(page, address, "")
    page.get_by_text("Films on disk").first.wait_for()

    open_page(page, address, "coverage")
    click_first_mark(page)
    page.get_by_text("Nearest train films").wait_for()
    page.locator("img").nth(2).wait_for()  # the gap's nearest films are shown, once they are read

    page.get_by_role("button", name="Plan edits for this gap").click()
    page.get_by_role("button", name="Plan edits", exact=True).click()
    page.get_by_role("button", name="Make these 3 films").click()
    page.get_by_text("of 3 edits passed every gate").wait_for()
    page.get_by_role("option", name="to come").first.wait_for(state="detached")
    page.get_by_role("slider", name="source (real)").wait_for()
    table = workspace.read("edits")
    assert len(table) == 3
    assert set(table["split"]) == {"train"}

    open_page(page, address, "export")
    page.get_by_role("button", name="Export", exact=True).click()
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download the zip").click()
    content = Path(downloading.value.path()).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        split = next(name for name in names if name.endswith("split.csv.gz"))
        films = pd.read_csv(io.BytesIO(gzip.decompress(archive.read(split))), dtype=str)
    assert {"README.md", "croissant.json", "provenance.jsonl"} <= set(names)
    assert len(films) == 80 + int(table["passed"].sum())
    assert page.outside == []
