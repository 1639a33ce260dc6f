"""What keeps the device busy and within its memory: batches that fit, films read ahead, results written behind."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from ..errors import ResourceError
from ..torchbox import out_of_memory

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Threads that decode; decoders let go of the interpreter, so two keep up with a GPU's small network.
READERS = 2


class Fitting:
    """Calls with as many items at once as the device's memory takes.

    A call that does not fit is made again with half as many. `most` remembers for each kind of work what failed to fit:
    it only ever falls, so a run does not fail again and again at the same size.
    """

    def __init__(self) -> None:
        self.most: dict[str, int] = {}

    def each(
        self, what: str, function: Callable[[Any], Sequence[Result]], items: Sequence[Item] | Any, batch: int
    ) -> list[Result]:
        """One result for each item, in order.

        Args:
            what: the kind of work, in words for the error.
            function: some items (a slice of `items`) → as many results.
            items: a list, or an array over its first axis.
            batch: most items at once.

        Raises: ResourceError when not even one item fits; what `function` raises for other reasons.
        """
        results: list[Result] = []
        while len(results) < len(items):
            size = min(batch, self.most.get(what, batch))
            part = items[len(results) : len(results) + size]
            try:
                results += function(part)
                continue
            except (ResourceError, RuntimeError, MemoryError) as error:
                if not isinstance(error, ResourceError) and not out_of_memory(error):
                    raise
                if len(part) == 1:
                    raise ResourceError(
                        f"The memory is too small for even one film at a time ({what}).",
                        "Free memory on the device, choose a smaller model or --device cpu, and run the same command "
                        "again; it goes on where it stopped.",
                    ) from error
            # outside the handler, whose traceback would keep the tensors of the failed call alive
            self.most[what] = len(part) // 2
            _let_go()
        return results


def _let_go() -> None:
    """Hand cached memory back to the device, so that a smaller batch does not fail for fragments of the larger one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def ahead(function: Callable[[Item], Result], items: Sequence[Item], most: int) -> Generator[Result]:
    """function(item) of each item, in order, worked out by background threads up to `most` items before it is wanted.

    An item's error is raised where its result would have come. However the loop ends, items not begun never start.
    """
    pool = ThreadPoolExecutor(READERS, "read-ahead")
    waiting: deque[Future[Result]] = deque()
    rest = iter(items)
    try:
        while True:
            while len(waiting) < most and (item := next(rest, rest)) is not rest:
                waiting.append(pool.submit(function, item))  # type: ignore[arg-type]
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Behind:
    """One thing is done in a background thread while the next is prepared: a context manager.

    At most one is under way: `do` waits for the one before and raises its error. On leaving, whatever is under way is
    finished, also after an error or a cancellation, so what is made is kept.
    """

    def __enter__(self) -> Behind:
        self._pool = ThreadPoolExecutor(1, "write-behind")
        self._under_way: Future[Any] | None = None
        return self

    def do(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin function(*arguments) once the one before is done. Raises: what that one raised."""
        self.wait()
        self._under_way = self._pool.submit(function, *arguments)

    def wait(self) -> None:
        """Until nothing is under way. Raises: what it raised."""
        future, self._under_way = self._under_way, None
        if future is not None:
            future.result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._pool.shutdown(wait=True)
