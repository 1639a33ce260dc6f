"""The app as users start it, and a headless Chromium that looks at it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cars import jobs
from cars.jobs.process import stop_group
from cars.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("CARS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
#: Milliseconds before a test gives up; a busy machine takes its time.
PATIENCE = int(os.environ.get("CARS_BROWSER_PATIENCE", 600_000))


@contextlib.contextmanager
def served(workspace: Workspace) -> Iterator[str]:
    """The app on a free port, by the command that users type; it and its worker are stopped afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "cars", "app", "--workspace", str(workspace.path), "--port", str(port)]
    app = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        end = time.monotonic() + PATIENCE / 1000
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert app.poll() is None, "the app ended before it answered"
            assert time.monotonic() < end, "the app does not answer"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(app.pid, signal.SIGTERM)
        app.wait()
        worker = jobs.worker_of(workspace)
        if worker:
            stop_group(worker["pid"], worker["process"], 20)


@pytest.fixture(scope="module")
def address(workspace: Workspace) -> Iterator[str]:
    """The app on the module's own `workspace`."""
    with served(workspace) as where:
        yield where


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    """A page of a headless Chromium. It notes every request to another machine (`outside`) and, of each message that
    the app sends, when it came and its length in bytes (`messages`)."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: run tests/browser/install_chromium.sh, or set CARS_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        made = browser.new_page(viewport={"width": 1440, "height": 1200}, accept_downloads=True)
        made.set_default_timeout(PATIENCE)
        made.outside, made.messages = [], []
        made.on(
            "request",
            lambda r: None if r.url.startswith((address, "data:", "blob:", "ws:")) else made.outside.append(r.url),
        )
        made.on(
            "websocket",
            lambda socket: socket.on("framereceived", lambda m: made.messages.append((time.monotonic(), len(m)))),
        )
        yield made
        browser.close()
