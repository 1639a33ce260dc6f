"""Run a stage over shards on this machine, in this process or in several.

    def actor_factory():            # called once in each worker: loads the model
        model = load()
        return lambda shard: model(shard)

    for result in map_shards(actor_factory, shards, workers=4, progress=progress): ...

The factory and the shards must be picklable for more than one worker (a module's function, class or functools.partial).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

from ..errors import ResourceError, SettingError
from ..progress import Progress, silent

Shard = TypeVar("Shard")
Result = TypeVar("Result")

#: Seconds between two calls of `watch`.
WATCH = 1.0

# set in worker processes only
_factory: Callable[[], Any] | None = None
_actor: Callable[[Any], Any] | None = None


def default_workers() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_shards(
    actor_factory: Callable[[], Callable[[Shard], Result]],
    shards: Sequence[Shard],
    workers: int | None = None,
    progress: Progress = silent,
    message: str = "",
    watch: Callable[[], None] | None = None,
) -> Generator[Result]:
    """The actor's result for each shard, in the shards' order.

    Args:
        actor_factory: makes the actor; called once per worker, never when there is no shard.
        workers: processes; 1 runs in this one; None takes as many as there are processors (and shards).
        progress: called with (shards done, shards, message) before the first and after each; it may raise Cancelled.
        watch: called about every second while other processes work, for shards that take long; it may raise Cancelled.

    Raises: what the actor raises; ResourceError when a worker process dies. However the loop ends, whether by an
    error, a cancellation or a reader that stops early, the workers are ended and shards not begun never start.
    """
    if workers is not None and workers < 1:
        raise SettingError(f"workers = {workers} is too small.", "It must be at least 1.")
    total = len(shards)
    workers = min(workers or default_workers(), max(total, 1))
    progress(0, total, message)
    if workers == 1:
        results: Generator[Result] = _in_this_process(actor_factory, shards)
    else:
        results = _in_processes(actor_factory, shards, workers, watch)
    with contextlib.closing(results):
        for done, result in enumerate(results, 1):
            yield result
            progress(done, total, message)


def _in_this_process(actor_factory: Callable[[], Any], shards: Sequence[Any]) -> Generator[Any]:
    if shards:
        actor = actor_factory()
        for shard in shards:
            yield actor(shard)


def _in_processes(
    actor_factory: Callable[[], Any], shards: Sequence[Any], workers: int, watch: Callable[[], None] | None
) -> Generator[Any]:
    # spawn: a forked copy of a process that holds torch or DuckDB threads can deadlock
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (actor_factory,))
    waiting: deque[Future[Any]] = deque()
    rest = iter(shards)
    finished = False
    try:
        while True:
            # twice the workers in flight: nobody idles, and a slow reader does not pile up results
            while len(waiting) < 2 * workers and (shard := next(rest, rest)) is not rest:
                waiting.append(pool.submit(_work, shard))
            if not waiting:
                break
            yield _result(waiting.popleft(), watch)
        finished = True
    except BrokenProcessPool:
        raise ResourceError(
            "A worker process ended before its shard was done; the system may have run out of memory.",
            "What is finished is kept. Run the same command again, with fewer workers. A script of your own must call "
            'CARS under `if __name__ == "__main__":`, since workers import it.',
        ) from None
    finally:
        if not finished:
            # shutdown alone would wait for the shards in hand
            for process in list((pool._processes or {}).values()):
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _result(future: Future[Any], watch: Callable[[], None] | None) -> Any:
    """What a shard gave, with calls of `watch` until it is there."""
    while watch is not None:
        try:
            return future.result(timeout=WATCH)
        except TimeoutError:
            if future.done():  # the shard's own error
                raise
            watch()
    return future.result()


def _start(actor_factory: Callable[[], Any]) -> None:
    """In each worker: keep the factory for the first shard, and end when the parent ends, however that happens."""
    global _factory
    _factory = actor_factory
    parent = multiprocessing.parent_process()
    if parent is not None:
        # a parent killed by SIGKILL cannot tell its workers, which would wait for work for ever
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _work(shard: Any) -> Any:
    """In a worker: the actor is made with the first shard, so that its errors reach the caller as they are."""
    global _actor
    if _actor is None and _factory is not None:
        _actor = _factory()
    assert _actor is not None
    return _actor(shard)
