"""Serving the app starts the workspace's worker, so that queued stages go on before anybody opens a page."""

import subprocess
from pathlib import Path

import pytest

from cars import jobs, serve
from cars.workspace import Workspace


def test_serving_starts_the_worker_before_the_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace.create(tmp_path / "ws")
    order: list[str] = []
    monkeypatch.setattr(jobs, "ensure_worker", lambda w: order.append(f"worker of {w.path}"))

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        order.append("app" if "streamlit" in command else command[0])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(serve.subprocess, "run", run)
    assert serve.serve(workspace.path, 0) == 0
    assert order == [f"worker of {workspace.path}", "app"]
