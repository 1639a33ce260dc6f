"""The records of jobs: submitting, chains, cancel and retry, without any worker."""

from __future__ import annotations

import pytest

from cars import jobs
from cars.errors import WorkspaceError
from cars.jobs.queue import open_queue
from cars.jobs.store import JobStore
from cars.workspace import Workspace

WORKER = "elsewhere:1:1"


def end(store: JobStore, job_id: str, state: str) -> None:
    assert store.claim(job_id, WORKER)
    if state == "done":
        store.finish(job_id, {"n": 1})
    elif state == "failed":
        store.fail(job_id, "It broke.", "Mend it.")
    store.settle(job_id)


def test_an_identical_job_is_not_doubled(workspace: Workspace, store: JobStore) -> None:
    first = jobs.submit(workspace, "embed", {"batch": 8, "backbone": "toy"})
    assert jobs.submit(workspace, "embed", {"backbone": "toy", "batch": 8}) == first
    other = jobs.submit(workspace, "embed", {"backbone": "toy", "batch": 9})
    assert other != first
    assert len(jobs.jobs(workspace)) == 2
    store.claim(first, WORKER)
    assert jobs.submit(workspace, "embed", {"backbone": "toy", "batch": 8}) == first  # running counts too
    store.finish(first, {})
    assert jobs.submit(workspace, "embed", {"backbone": "toy", "batch": 8}) != first  # done does not


def test_a_job_that_is_being_cancelled_does_not_stand_for_a_new_one(workspace: Workspace, store: JobStore) -> None:
    first = jobs.submit(workspace, "embed", {})
    store.claim(first, WORKER)
    assert jobs.cancel(workspace, first) == "running"
    assert jobs.submit(workspace, "embed", {}) != first


def test_newest_first(workspace: Workspace) -> None:
    ids = [jobs.submit(workspace, "embed", {"batch": n}) for n in range(3)]
    assert list(jobs.jobs(workspace)["job_id"]) == ids[::-1]
    assert jobs.latest(workspace, "embed", "gaps").job_id == ids[-1]
    assert jobs.latest(workspace, "export") is None


def test_a_job_is_claimed_once_and_only_after_the_one_before(workspace: Workspace, store: JobStore) -> None:
    first = jobs.submit(workspace, "embed", {})
    second = jobs.submit(workspace, "gaps", {}, after=first)
    assert not store.claim(second, WORKER)
    assert store.claim(first, WORKER)
    assert not store.claim(first, WORKER)
    store.finish(first, {})
    assert store.settle(first) == [second]
    assert store.claim(second, WORKER)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_followers_are_blocked_and_freed_by_a_retry(workspace: Workspace, store: JobStore, state: str) -> None:
    first = jobs.submit(workspace, "embed", {})
    second = jobs.submit(workspace, "gaps", {}, after=first)
    third = jobs.submit(workspace, "plan", {}, after=second)
    if state == "failed":
        end(store, first, "failed")
    else:
        assert jobs.cancel(workspace, first) == "cancelled"
    for job_id in (second, third):
        job = jobs.status(workspace, job_id)
        assert job.state == "blocked"
        assert job.hint
    assert first in jobs.status(workspace, second).error
    jobs.retry(workspace, first)
    assert [jobs.status(workspace, j).state for j in (first, second, third)] == ["queued"] * 3
    assert jobs.status(workspace, second).error is None


def test_a_job_after_a_failed_one_is_blocked_at_once(workspace: Workspace, store: JobStore) -> None:
    first = jobs.submit(workspace, "embed", {})
    end(store, first, "failed")
    assert jobs.status(workspace, jobs.submit(workspace, "gaps", {}, after=first)).state == "blocked"


def test_only_an_ended_job_is_retried(workspace: Workspace, store: JobStore) -> None:
    job_id = jobs.submit(workspace, "embed", {})
    with pytest.raises(WorkspaceError, match="queued"):
        jobs.retry(workspace, job_id)
    end(store, job_id, "done")
    with pytest.raises(WorkspaceError, match="done"):
        jobs.retry(workspace, job_id)


def test_unknown_jobs_are_named(workspace: Workspace) -> None:
    for call in (jobs.status, jobs.cancel, jobs.retry, jobs.log_tail):
        with pytest.raises(WorkspaceError, match="nosuchjob"):
            call(workspace, "nosuchjob")
    with pytest.raises(WorkspaceError, match="nosuchjob"):
        jobs.submit(workspace, "embed", {}, after="nosuchjob")


def test_a_finished_job_keeps_its_result_and_is_full(workspace: Workspace, store: JobStore) -> None:
    job_id = jobs.submit(workspace, "embed", {})
    store.claim(job_id, WORKER)
    assert store.progress(job_id, 3, 10, "embedding") is False
    assert jobs.status(workspace, job_id).share == 0.3
    store.finish(job_id, {"films": 10})
    job = jobs.status(workspace, job_id)
    assert (job.state, job.result, job.share, job.message) == ("done", {"films": 10}, 1.0, "")
    assert not store.fail(job_id, "late", "")
    assert not store.finish(job_id, {"films": 11})
    assert jobs.status(workspace, job_id).result == {"films": 10}


def test_the_queue_holds_json_not_pickles(workspace: Workspace) -> None:
    job_id = jobs.submit(workspace, "embed", {})
    huey, _ = open_queue(workspace)
    (data,) = huey.storage.enqueued_items()
    assert bytes(data).startswith(b"[")
    assert job_id.encode() in bytes(data)
    huey.storage.close()


def test_a_lost_id_is_found_again(workspace: Workspace, store: JobStore) -> None:
    """The queue file is gone; the records still say which jobs wait."""
    first = jobs.submit(workspace, "embed", {})
    second = jobs.submit(workspace, "gaps", {}, after=first)
    for path in workspace.path.glob("queue.sqlite*"):
        path.unlink()
    assert store.ready() == [first]
    end(store, first, "done")
    assert store.ready() == [second]
