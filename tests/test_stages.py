"""Where a workspace stands, and the next step."""

from __future__ import annotations

from pathlib import Path

from cars import jobs, stages
from cars.coverage import GapsSettings, gaps
from cars.jobs.store import JobStore
from cars.workspace import Workspace


def states(workspace: Workspace) -> dict[str, str]:
    return {stage.verb: stage.state for stage in stages.stages(workspace)}


def test_an_empty_workspace_starts_with_ingest(tmp_path: Path) -> None:
    found = stages.stages(Workspace.create(tmp_path / "ws"))
    assert stages.next_stage(found).verb == "ingest"
    assert {s.state for s in found if s.verb != "ingest"} == {"waiting"}
    assert not (tmp_path / "ws" / "records.sqlite").exists(), "looking makes nothing"


def test_a_running_job_and_a_failed_one(workspace_copy: Workspace) -> None:
    assert states(workspace_copy)["ingest"] == "made"
    job_id = jobs.submit(workspace_copy, "embed", {})
    assert states(workspace_copy)["embed"] == "queued"
    assert stages.next_stage(stages.stages(workspace_copy)) is None
    store = JobStore(workspace_copy)
    store.claim(job_id, "test")
    assert states(workspace_copy)["embed"] == "running"
    store.fail(job_id, "No weights.", "Get them.")
    step = stages.next_stage(stages.stages(workspace_copy))
    assert (step.verb, step.state, step.detail) == ("embed", "failed", "No weights.")


def test_gaps_open_the_plan_and_remember_their_settings(workspace_copy: Workspace) -> None:
    assert states(workspace_copy)["plan"] == "waiting"
    assert stages.gap_settings(workspace_copy) is None
    gaps(workspace_copy, GapsSettings(threshold=4, max_order=2, unit="study"))
    assert states(workspace_copy)["plan"] == "open"
    assert stages.gap_settings(workspace_copy) == GapsSettings(threshold=4, max_order=2, unit="study")


def test_workspaces_beside_are_found_itself_first(tmp_path: Path) -> None:
    for name in ("b", "a"):
        Workspace.create(tmp_path / name)
    (tmp_path / "other").mkdir()
    assert [path.name for path in stages.near(tmp_path / "b")] == ["b", "a"]
    assert [path.name for path in stages.near(tmp_path / "other")] == ["a", "b"]


def test_about_is_empty_before_ingest(tmp_path: Path, tiny_workspace: Workspace) -> None:
    assert stages.about(Workspace.create(tmp_path / "ws")) == {}
    assert stages.about(tiny_workspace)["adapter"] == "phantom"
