import pytest

from cars import demo, jobs
from cars.workspace import Workspace


def states(folder):
    return {job.verb: job.state for job in jobs.jobs(Workspace.open(folder)).itertuples()}


def test_the_chain_is_queued_once(tmp_path):
    folder = tmp_path / "demo"
    first = demo.queue(folder, films=20)
    assert demo.queue(folder, films=20) == first
    table = jobs.jobs(Workspace.open(folder)).set_index("job_id")
    assert len(table) == len(demo.steps(20))
    assert list(table.loc[first, "verb"]) == [name for name, _, _ in demo.steps(20)]
    assert list(table.loc[first[1:], "after"]) == first[:-1], "each stage waits for the one before"


def test_a_failed_stage_is_tried_again(tmp_path):
    folder = tmp_path / "demo"
    ids = demo.queue(folder, films=20)
    jobs.cancel(Workspace.open(folder), ids[0])
    assert states(folder)["ingest"] == "cancelled"
    assert demo.queue(folder, films=20) == ids
    assert states(folder)["ingest"] == "queued"


def test_shares_of_the_progress_bar_add_up():
    assert sum(weight for _, _, weight in demo.steps(10)) == pytest.approx(1)
