"""Real worker processes: cancel, SIGKILL of the worker and of the job, chains, one worker per workspace."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from cars import jobs
from cars.jobs.process import identity, is_alive
from cars.workspace import Workspace

from .conftest import Workers, wait_for, wait_until
from .toy import COMMAND


def starts(workspace: Workspace, name: str = "steps") -> int:
    path = workspace.path / name / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_chain_runs_in_order_and_a_failure_blocks_the_rest(workspace: Workspace, workers: Workers) -> None:
    first = jobs.submit(workspace, "steps", {"name": "one", "steps": 3})
    second = jobs.submit(workspace, "steps", {"name": "two", "steps": 2}, after=first)
    third = jobs.submit(workspace, "fail", {"how": "exit"}, after=second)
    fourth = jobs.submit(workspace, "steps", {"name": "never"}, after=third)
    workers.start()
    assert wait_for(workspace, fourth, "blocked").state == "blocked"
    one, two, failed = (jobs.status(workspace, j) for j in (first, second, third))
    assert one.result == {"made": 3}
    assert two.result == {"made": 2}
    assert one.ended <= two.started
    assert failed.state == "failed"
    assert "status 3" in failed.error
    assert not (workspace.path / "never").exists()
    assert "steps done" in jobs.log_tail(workspace, first)


def test_a_running_job_is_cancelled_and_a_retry_goes_on(workspace: Workspace, workers: Workers) -> None:
    job_id = jobs.submit(workspace, "steps", {"steps": 40, "pause": 0.05})
    workers.start()
    wait_until(lambda: (workspace.path / "steps" / "2.mark").exists())
    jobs.cancel(workspace, job_id)
    wait_for(workspace, job_id, "cancelled")
    made = len(list((workspace.path / "steps").glob("*.mark")))
    assert 3 <= made < 40
    jobs.retry(workspace, job_id)
    assert wait_for(workspace, job_id, "done").result == {"made": 40 - made}


def test_a_job_that_will_not_stop_is_killed_with_its_helpers(workspace: Workspace, workers: Workers) -> None:
    job_id = jobs.submit(workspace, "stubborn", {})
    workers.start()
    wait_until(lambda: (workspace.path / "helper").exists())
    helper = int((workspace.path / "helper").read_text())
    process = identity(helper)
    jobs.cancel(workspace, job_id)
    job = wait_for(workspace, job_id, "cancelled")
    wait_until(lambda: not is_alive(helper, process))
    assert not is_alive(job.pid, job.process)


def test_after_sigkill_of_the_worker_the_next_one_resumes(workspace: Workspace, workers: Workers) -> None:
    job_id = jobs.submit(workspace, "steps", {"steps": 30, "pause": 0.1})
    workers.start()
    wait_until(lambda: (workspace.path / "steps" / "2.mark").exists())
    running = jobs.status(workspace, job_id)
    workers.kill()
    assert jobs.worker_of(workspace) is None
    assert is_alive(running.pid, running.process)  # its own process group outlives the worker
    workers.start()
    job = wait_for(workspace, job_id, "done")
    assert not is_alive(running.pid, running.process)
    assert starts(workspace) == 2
    assert 0 < job.result["made"] < 30  # the second run made only what the first had not


def test_a_killed_job_runs_once_more_then_fails(workspace: Workspace, workers: Workers) -> None:
    once = jobs.submit(workspace, "die", {"times": 1})
    workers.start()
    assert wait_for(workspace, once, "done", "failed").result == {"deaths": 1}
    twice = jobs.submit(workspace, "die", {"times": 9})
    job = wait_for(workspace, twice, "failed")
    assert "SIGKILL" in job.error
    assert "memory" in job.hint
    assert (workspace.path / "deaths").read_text() == "xxx"  # one of the first job, two of the second


def test_sigterm_stops_the_worker_and_puts_the_job_back(workspace: Workspace, workers: Workers) -> None:
    job_id = jobs.submit(workspace, "steps", {"steps": 60, "pause": 0.05})
    workers.start()
    wait_until(lambda: (workspace.path / "steps" / "1.mark").exists())
    running = jobs.status(workspace, job_id)
    workers.stop()
    assert jobs.status(workspace, job_id).state == "queued"
    assert not is_alive(running.pid, running.process)
    assert not (workspace.path / "worker.json").exists()


def test_many_sessions_start_one_worker(workspace: Workspace, workers: Workers) -> None:
    with ThreadPoolExecutor(8) as pool:
        pids = set(pool.map(lambda _: workers.start(), range(8)))
    assert len(pids) == 1
    job_id = jobs.submit(workspace, "steps", {"steps": 1})
    wait_for(workspace, job_id, "done")
    # a second one started by hand leaves, and the first keeps the workspace
    assert os.spawnv(os.P_WAIT, COMMAND[0], [*COMMAND, "worker", "--workspace", str(workspace.path)]) == 0
    assert {jobs.worker_of(workspace)["pid"]} == pids


def test_a_reused_pid_is_not_taken_for_the_worker(workspace: Workspace) -> None:
    """worker.json names a live pid, but of a process that started at another time."""
    from cars.jobs.worker import _announce

    _announce(workspace, os.getpid())
    assert jobs.worker_of(workspace)["pid"] == os.getpid()
    path = workspace.path / "worker.json"
    path.write_text(path.read_text().replace(identity(os.getpid()), "17"))
    assert jobs.worker_of(workspace) is None


def test_an_idle_worker_leaves_and_the_next_submit_finds_another(workspace: Workspace, workers: Workers) -> None:
    pid = workers.start(idle=0.5)
    process = identity(pid)
    wait_until(lambda: not is_alive(pid, process))
    job_id = jobs.submit(workspace, "steps", {"steps": 1})
    assert workers.start() != pid
    wait_for(workspace, job_id, "done")


def test_a_worker_of_another_machine_counts_while_it_beats(workspace: Workspace) -> None:
    path = workspace.path / "worker.json"
    path.write_text('{"host": "another-machine", "pid": 1, "process": "1", "started": 0}')
    assert jobs.worker_of(workspace) is not None
    os.utime(path, (0, time.time() - 600))
    assert jobs.worker_of(workspace) is None


def test_a_signal_to_a_group_that_is_gone_does_nothing() -> None:
    from cars.jobs.process import signal_group

    child = os.spawnvp(os.P_NOWAIT, "true", ["true"])
    os.waitpid(child, 0)
    signal_group(child, signal.SIGKILL)
