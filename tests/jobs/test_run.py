"""run_job in this process: progress, stops, failures and what the log may say."""

from __future__ import annotations

import logging
import os
import signal

import pytest

from cars import jobs
from cars.errors import Cancelled, ResourceError, WorkspaceError
from cars.jobs.run import explain
from cars.jobs.store import JobStore
from cars.workspace import Workspace

from .toy import VERBS, StepsSettings, ToyVerb


def run(workspace: Workspace, function: object, **settings: object) -> jobs.Job:
    job_id = jobs.submit(workspace, "steps", settings)
    jobs.run_job(workspace, job_id, {"steps": ToyVerb(function, StepsSettings)})
    return jobs.status(workspace, job_id)


def test_settings_come_from_the_record_then_the_file(workspace: Workspace) -> None:
    (workspace.path / "workspace.toml").write_text('[steps]\nsteps = 7\nname = "file"\n')
    seen = []
    job = run(workspace, lambda w, s, p: seen.append(s) or {"n": 1}, name="record")
    assert job.state == "done"
    assert job.result == {"n": 1}
    assert (seen[0].steps, seen[0].name) == (7, "record")


def test_a_wrong_setting_fails_the_job_with_its_hint(workspace: Workspace) -> None:
    job = run(workspace, lambda w, s, p: {}, steps=0)
    assert job.state == "failed"
    assert "0" in job.error
    assert "at least 1" in job.hint


def test_an_unknown_verb_fails_the_job(workspace: Workspace) -> None:
    job_id = jobs.submit(workspace, "paint", {})
    assert jobs.run_job(workspace, job_id, VERBS) is False
    assert "paint" in jobs.status(workspace, job_id).error


def test_progress_is_stored_and_a_cancel_reaches_the_verb(workspace: Workspace) -> None:
    seen: list[jobs.Job] = []

    def verb(workspace: Workspace, settings: StepsSettings, progress: object) -> dict:
        progress(2, 8, "working")
        (job,) = JobStore(workspace).in_state("running")
        seen.append(job)
        jobs.cancel(workspace, job.job_id)
        while True:
            progress(3, 8, "working")

    job = run(workspace, verb)
    assert (seen[0].done, seen[0].total, seen[0].message, seen[0].pid) == (2, 8, "working", os.getpid())
    assert job.state == "cancelled"
    assert job.ended is not None


def test_sigterm_puts_an_uncancelled_job_back(workspace: Workspace) -> None:
    stopped = []

    def verb(workspace: Workspace, settings: StepsSettings, progress: object) -> dict:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            progress(1, 2, "")
        except Cancelled:
            stopped.append(True)
            raise
        return {}

    assert run(workspace, verb).state == "queued"
    assert stopped == [True]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_an_error_that_follows_a_stop_counts_as_the_stop(workspace: Workspace) -> None:
    def verb(workspace: Workspace, settings: StepsSettings, progress: object) -> dict:
        os.kill(os.getpid(), signal.SIGTERM)
        raise BrokenPipeError("a helper process died of the same signal")

    assert run(workspace, verb).state == "queued"


@pytest.mark.parametrize("how", ["data", "fault"])
def test_the_record_has_the_message_and_the_log_has_no_patient(
    workspace: Workspace, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = jobs.submit(workspace, "fail", {"how": how})
    with caplog.at_level(logging.INFO, "cars.jobs"):
        assert jobs.run_job(workspace, job_id, VERBS) is False
    job = jobs.status(workspace, job_id)
    assert job.state == "failed"
    assert "p10000032" in job.error
    assert job.hint
    assert "toy.py" in caplog.text  # where it happened
    assert "p10000032" not in caplog.text


def test_a_job_that_is_done_is_not_run_again(workspace: Workspace) -> None:
    job_id = jobs.submit(workspace, "steps", {})
    assert jobs.run_job(workspace, job_id, VERBS) is True
    with pytest.raises(WorkspaceError, match="done"):
        jobs.run_job(workspace, job_id, VERBS)


def test_common_failures_are_explained() -> None:
    assert explain(ResourceError("The disk is full.", "Free some.")) == ("The disk is full.", "Free some.")
    assert explain(OSError(28, "No space left on device"))[0] == "The disk is full."
    assert explain(MemoryError())[0] == explain(RuntimeError("CUDA out of memory. Tried to"))[0] == "Memory ran out."
    assert explain(KeyError("x"))[0].startswith("KeyError")
