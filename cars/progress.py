"""How a verb says how far it is: `progress(done, total, message)`."""

from __future__ import annotations

from collections.abc import Callable

#: Called with (done, total, message). May raise errors.Cancelled when the job is to stop.
Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, message: str = "") -> None:
    """A progress that nobody watches."""


def part_of(progress: Progress, first: float, last: float) -> Progress:
    """A progress for one part of a longer job: its 0..total is mapped onto first..last (fractions in [0, 1])."""

    def inner(done: int, total: int, message: str = "") -> None:
        share = first + (last - first) * (done / total if total else 1.0)
        progress(round(1000 * share), 1000, message)

    return inner
