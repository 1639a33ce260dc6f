"""The local engine: order, one actor per worker, errors, a killed worker, cancellation."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cars.engines.local import map_shards
from cars.errors import Cancelled, FilmError, ResourceError, SettingError


class Doubler:
    """Doubles a number; its parts of the protocol go wrong on request."""

    def __init__(self) -> None:
        self.made_in = os.getpid()

    def __call__(self, shard):
        if shard == "fail":
            raise FilmError("The film x cannot be used: blank.", "Leave it out.", "blank")
        if shard == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(shard, Path):
            shard.write_text("done")
            time.sleep(0.2)
            return 0
        time.sleep(0.05 if shard % 2 else 0)  # odd shards finish late
        return shard * 2


class Broken:
    def __init__(self) -> None:
        raise FilmError("no model", reason="no model")


class Dying:
    def __call__(self, shard):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_progress_counts(workers):
    seen = []
    results = map_shards(Doubler, range(9), workers, lambda *state: seen.append(state), "doubling")
    assert list(results) == [2 * n for n in range(9)]
    assert seen == [(n, 9, "doubling") for n in range(10)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_actors_error_arrives_whole(workers):
    with pytest.raises(FilmError) as caught:
        list(map_shards(Doubler, [1, "fail", 2, 3], workers))
    assert (caught.value.reason, caught.value.hint) == ("blank", "Leave it out.")
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_factory_that_fails_is_the_callers_error(workers):
    with pytest.raises(FilmError, match="no model"):
        list(map_shards(Broken, [1, 2], workers))


def test_no_shard_needs_no_actor():
    assert list(map_shards(Broken, [], 4)) == []


def test_a_killed_worker_is_a_clear_error():
    with pytest.raises(ResourceError, match="worker process ended"):
        list(map_shards(Doubler, [1, "die", 2, 3], 2))


class Slow:
    def __call__(self, shard):
        time.sleep(0.6)
        if shard == "late":
            raise TimeoutError("its own")
        return shard


def test_long_shards_are_watched(monkeypatch):
    monkeypatch.setattr("cars.engines.local.WATCH", 0.1)
    looks = []
    assert list(map_shards(Slow, [1, 2], 2, watch=lambda: looks.append(1))) == [1, 2]
    assert looks
    with pytest.raises(TimeoutError, match="its own"):
        list(map_shards(Slow, ["late", 1], 2, watch=lambda: None))


def test_large_shards_do_not_block_the_end():
    """Shards beyond a pipe's buffer are still being sent when the worker is gone."""
    large = [f"{n}" + "x" * 2_000_000 for n in range(6)]
    with pytest.raises(ResourceError):
        list(map_shards(Dying, large, 2))


def test_cancelling_starts_no_further_shard(tmp_path):
    places = [tmp_path / str(n) for n in range(30)]

    def stop(done, total, message):
        if done == 1:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        list(map_shards(Doubler, places, 2, stop))
    assert not multiprocessing.active_children()
    assert len(list(tmp_path.iterdir())) < 10


def test_workers_below_one_are_refused():
    with pytest.raises(SettingError, match="workers = 0"):
        list(map_shards(Doubler, [1], 0))


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from cars.engines.local import map_shards\n"
        "class Sleeper:\n"
        "    def __call__(self, shard):\n"
        "        Path(shard).write_text(str(os.getpid()))\n"
        "        time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    list(map_shards(Sleeper, [sys.argv[1], sys.argv[2]], 2))\n"
    )
    marks = [tmp_path / "a", tmp_path / "b"]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    parent = subprocess.Popen(
        [sys.executable, str(script), *map(str, marks)], env=environment, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(alive(int(mark.read_text())) for mark in marks))


def wait_for(condition):
    """Poll until the condition holds; the test fails after a minute."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("it did not happen within a minute")


def alive(pid: int) -> bool:
    try:
        # a killed process that nobody has waited for yet still has its entry, with state Z
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
