"""The whole path in a real browser: open the app, click a gap, make a few films, download a zip that loads."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cars import jobs
from cars.coverage import GapsSettings, gaps
from cars.ingest import IngestSettings, ingest
from cars.jobs.process import stop_group
from cars.workspace import Workspace

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("CARS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
#: Milliseconds before the test gives up; a busy machine takes its time.
PATIENCE = 600_000
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


@pytest.fixture(scope="module")
def address(workspace: Workspace) -> Iterator[str]:
    """The app, served by the command that users type; it and its worker are stopped afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "cars", "app", "--workspace", str(workspace.path), "--port", str(port)]
    served = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        end = time.monotonic() + PATIENCE / 1000
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert served.poll() is None, "the app ended before it answered"
            assert time.monotonic() < end, "the app does not answer"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(served.pid, signal.SIGTERM)
        served.wait()
        worker = jobs.worker_of(workspace)
        if worker:
            stop_group(worker["pid"], worker["process"], 20)


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    """A page of a headless Chromium that notes every request to another machine."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: run tests/browser/install_chromium.sh, or set CARS_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        made = browser.new_page(viewport={"width": 1440, "height": 1200}, accept_downloads=True)
        made.set_default_timeout(PATIENCE)
        made.outside = []
        made.on(
            "request",
            lambda r: None if r.url.startswith((address, "data:", "blob:", "ws:")) else made.outside.append(r.url),
        )
        yield made
        browser.close()


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
    assert page.locator("img").count() >= 3, "films of the gap are shown"

    page.get_by_role("button", name="Plan edits for this gap").click()
    page.get_by_role("button", name="Plan edits", exact=True).click()
    page.get_by_role("button", name="Make these 3 films").click()
    page.get_by_text("of 3 edits passed every gate").wait_for()
    page.get_by_text("edit (synthetic)").first.wait_for()
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
