"""Batches for training and evaluation, made ready in a thread while the network works on the one before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from .. import torchbox
from .arms import Phase

T = TypeVar("T")
#: film ids → uint8 (B, S, S)
Images = Callable[[Sequence[str]], np.ndarray]
#: Batches that are ready before they are asked for.
AHEAD = 3


def ahead(items: Iterable[T], depth: int = AHEAD) -> Generator[T]:
    """The items in order, up to `depth` of them made before they are asked for, in one thread.

    What making an item raises is raised here. A reader that stops early ends the thread.
    """
    made: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
    stop = threading.Event()

    def put(what: tuple[bool, Any]) -> bool:
        while not stop.is_set():
            try:
                made.put(what, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:  # handed over to the reader, whatever it is
            put((False, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            there, value = made.get()
            if there:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        stop.set()
        thread.join()


@lru_cache(maxsize=4)
def _order(films: int, seed: int, phase: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, epoch, phase]).permutation(films)


def batch_rows(films: int, batch: int, step: int, seed: int, phase: int = 0) -> np.ndarray:
    """The rows of a step's batch, int (batch,): each epoch is a permutation of all films, run through end to end."""
    epochs, places = np.divmod(np.arange(step * batch, (step + 1) * batch), films)
    return np.concatenate([_order(films, seed, phase, e)[places[epochs == e]] for e in np.unique(epochs).tolist()])


def as_input(films: np.ndarray, device: str) -> Any:
    """uint8 (B, S, S) → float32 tensor (B, 1, S, S) in [0, 255]; backbones normalise inside."""
    return _moved(films, device).float().unsqueeze(1)


def _moved(values: np.ndarray, device: str) -> Any:
    """An array as a tensor on the device; page-locked first for a GPU, so that the copy runs beside the work."""
    tensor = torchbox.torch().from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else tensor


def training_batches(
    phases: Sequence[Phase], start: int, batch: int, images: Images, seed: int, device: str
) -> Iterator[tuple[Any, Any, Any]]:
    """From step `start` on: (films uint8 (B, S, S), y float32 (B, 14), known float32 (B, 14)), on the device."""
    first = 0
    for number, phase in enumerate(phases):
        ids, known = phase.cases.ids, phase.cases.known.astype(np.float32)
        for step in range(max(start - first, 0), phase.steps):
            rows = batch_rows(len(ids), batch, step, seed, number)
            films = images([ids[row] for row in rows])
            yield _moved(films, device), _moved(phase.cases.y[rows], device), _moved(known[rows], device)
        first += phase.steps
