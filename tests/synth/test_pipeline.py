"""Batches that fit, films read ahead, results written behind."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cars.errors import ResourceError
from cars.synth.pipeline import Behind, Fitting, ahead
from cars.torchbox import out_of_memory, torch


class Device:
    """Takes so many items at once; remembers how many it was given."""

    def __init__(self, room: int, error: Exception | None = None) -> None:
        self.room, self.sizes = room, []
        self.error = error or torch().OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    def __call__(self, part):
        self.sizes.append(len(part))
        if len(part) > self.room:
            raise self.error
        return [10 * x for x in part]


@given(st.integers(0, 30), st.integers(1, 20), st.integers(1, 20))
def test_every_item_once_and_in_order_and_never_larger_than_what_failed(items, batch, room):
    device, fitting = Device(room), Fitting()
    assert fitting.each("work", device, list(range(items)), batch) == [10 * x for x in range(items)]
    smallest_failure = None
    for size in device.sizes:
        assert size <= batch
        assert smallest_failure is None or size <= smallest_failure // 2
        if size > room:
            smallest_failure = size
    assert fitting.each("work", device, [7], batch) == [70]


def test_a_batch_that_was_halved_stays_so_for_its_own_kind_of_work():
    device, fitting = Device(3), Fitting()
    fitting.each("work", device, list(range(10)), 8)
    assert device.sizes == [8, 4, 2, 2, 2, 2, 2]
    device.sizes, device.room = [], 100
    fitting.each("work", device, list(range(4)), 8)
    fitting.each("other work", device, list(range(4)), 8)
    assert device.sizes == [2, 2, 4]


@pytest.mark.parametrize(
    "error",
    [
        torch().OutOfMemoryError("CUDA out of memory"), ResourceError("too many"), MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), np.linalg.LinAlgError("no"), RuntimeError("a bug"),
    ],
)  # fmt: skip
def test_only_a_lack_of_memory_is_tried_again(error):
    device = Device(1, error)
    if isinstance(error, ResourceError) or out_of_memory(error):
        assert Fitting().each("work", device, [1, 2], 2) == [10, 20]
    else:
        with pytest.raises(type(error), match=str(error)):
            Fitting().each("work", device, [1, 2], 2)
        assert device.sizes == [2]


def test_what_does_not_fit_alone_is_an_error_that_says_so():
    with pytest.raises(ResourceError, match=r"even one film at a time \(the judge\)") as caught:
        Fitting().each("the judge", Device(0), [1, 2, 3], 2)
    assert "goes on where it stopped" in caught.value.hint


def test_items_are_worked_out_ahead_in_order_and_no_further_than_asked():
    begun, gate = [], threading.Event()

    def work(item):
        begun.append(item)
        if item == 0:
            gate.wait(30)  # the first is slow; others may be done before it
        return -item

    results = ahead(work, range(20), 5)
    threading.Timer(0.05, gate.set).start()
    assert next(results) == 0
    assert set(begun) <= set(range(5))
    assert [next(results) for _ in range(3)] == [-1, -2, -3]
    results.close()
    assert len(begun) <= 9
    assert not any(thread.name.startswith("read-ahead") for thread in threading.enumerate())
    assert list(ahead(work, [], 5)) == []
    assert list(ahead(work, range(1, 12), 3)) == [-i for i in range(1, 12)]


def test_an_error_comes_where_its_item_would_have():
    def work(item):
        if item == 2:
            raise ValueError("film 2")
        return item

    results = ahead(work, range(5), 4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="film 2"):
        next(results)


def stop() -> None:
    raise ResourceError("The disk is full.")


def turns(*functions) -> None:
    with Behind() as behind:
        for function in functions:
            behind.do(function)


def test_what_is_under_way_is_finished_whatever_happens():
    done = []

    def cancelled():
        with Behind() as behind:
            behind.do(lambda: (threading.Event().wait(0.05), done.append(1)))
            raise KeyError

    with pytest.raises(KeyError):
        cancelled()
    assert done == [1]


def test_an_error_behind_is_raised_at_the_next_turn_and_at_the_end():
    done = []
    with pytest.raises(ResourceError, match="full"):
        turns(stop, lambda: done.append(1))
    assert done == []
    with pytest.raises(ResourceError, match="full"):
        turns(lambda: done.append(2), stop)
    assert done == [2]
