"""The training loop: micro-batches, several processes, short memory, a full disk, and a kill at any moment."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cars.errors import Cancelled, ResourceError
from cars.synth import loop as loop_module
from cars.synth.data import phantom_data
from cars.synth.loop import Budget, Loop, machine
from cars.synth.training import Trainer
from cars.torchbox import torch as load_torch

torch = load_torch()
fork = multiprocessing.get_context("fork")


@dataclass
class Toy(Loop):
    """A linear network that is to find w = (1, 2, 3). limit: most rows that fit its memory. seen: rows of each call."""

    limit: int = 10**6
    name = "the toy"

    def __post_init__(self):
        super().__post_init__()
        self.seen = []

    def draw(self):
        rng = np.random.default_rng([self.seed, self.step])
        x = torch.from_numpy(rng.normal(size=(self.batch, 3)).astype(np.float32))
        return x, x @ torch.tensor([1.0, 2.0, 3.0])

    def errors(self, x, y):
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.seen.append(len(x))
        return (self.net(x)[:, 0] - y) ** 2


def toy(batch: int = 8, **changes) -> Toy:
    torch.set_num_threads(1)
    torch.manual_seed(3)
    return Toy(torch.nn.Linear(3, 1), None, batch, 0.05, **changes)


def ran(one: Loop, steps: int = 6) -> list[float]:
    return [one.advance(0.2) for _ in range(steps)]


# Micro-batches and memory -----------------------------------------------------------------------------------------


def test_a_step_is_adamws_own_on_the_mean_error():
    one = toy(batch=4)
    x, y = one.draw()
    net = torch.nn.Linear(3, 1)
    net.load_state_dict(one.net.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.05 / 200, weight_decay=0.01)
    expected = ((net(x)[:, 0] - y) ** 2).mean()
    expected.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    before = [p.clone() for p in one.ema.parameters()]
    assert one.advance(0.2) == pytest.approx(float(expected.detach()), rel=1e-6)
    for own, reference, first, mean in zip(one.net.parameters(), net.parameters(), before, one.ema.parameters()):
        torch.testing.assert_close(own, reference)
        torch.testing.assert_close(mean, first + (own - first) * (1 - 2 / 11))


@pytest.mark.parametrize("micro", [1, 3, 8, 50])
def test_micro_batches_add_up_to_the_batch(micro):
    whole, parts = toy(), toy(micro=micro)
    np.testing.assert_allclose(ran(parts), ran(whole), rtol=1e-5)
    assert parts.seen[:3] == {1: [1, 1, 1], 3: [3, 3, 2], 8: [8, 8, 8], 50: [8, 8, 8]}[micro]
    for a, b in zip(parts.net.parameters(), whole.net.parameters()):
        torch.testing.assert_close(a, b)


def test_short_memory_halves_the_micro_batch_and_keeps_the_batch(tmp_path):
    whole, short = toy(), toy(limit=3)
    np.testing.assert_allclose(ran(short), ran(whole), rtol=1e-5)
    assert short.micro == 2  # 8, 4, then 2
    assert short.seen == [2, 2, 2, 2] * 6  # every step has all 8 films, and none of a try that failed
    for a, b in zip(short.net.parameters(), whole.net.parameters()):
        torch.testing.assert_close(a, b)
    short.write(tmp_path / "checkpoint.pt")
    again = toy()
    again.restore(tmp_path / "checkpoint.pt")
    assert again.micro == 2


def test_memory_for_not_even_one_film_says_so_and_loses_nothing(tmp_path):
    one = toy()
    ran(one, 2)
    one.limit = 0
    with pytest.raises(ResourceError, match="the toy, even one film") as error:
        one.run(Budget(steps=9), tmp_path / "checkpoint.pt")
    assert "--size" in error.value.hint
    again = toy()
    again.restore(tmp_path / "checkpoint.pt")
    assert again.step == 2


def test_another_error_is_not_taken_for_short_memory():
    one = toy()
    one.errors = lambda *rows: torch.zeros(3) @ torch.zeros(4)
    with pytest.raises(RuntimeError, match="size"):
        one.advance(0.1)


# Several processes -------------------------------------------------------------------------------------------------


def _one_of(rank: int, world: int, port: int, folder: Path, limit: int) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    one = toy(batch=7, limit=limit if rank == 1 else 10**6)  # only one process is short of memory
    assert one.machine.num_processes == world
    loop_module.LOG_EVERY = 1
    written = []
    one.run(Budget(steps=6), folder / "checkpoint.pt", on_checkpoint=lambda loop: written.append(rank))
    assert written == ([0] if rank == 0 else [])
    weights = torch.cat([p.detach().flatten() for p in one.net.parameters()]).numpy()
    np.savez(
        folder / f"{rank}.npz", losses=[loss for _, loss in one.losses], weights=weights, seen=one.seen, micro=one.micro
    )
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("limit", [10**6, 2])
def test_two_processes_have_the_losses_of_one(tmp_path, limit, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [fork.Process(target=_one_of, args=(rank, 2, port, tmp_path, limit)) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        child.kill()
    assert [child.exitcode for child in children] == [0, 0]
    monkeypatch.setattr(loop_module, "LOG_EVERY", 1)
    whole = toy(batch=7)
    whole.run(Budget(steps=6))
    for rank, rows in enumerate((4, 3)):
        with np.load(tmp_path / f"{rank}.npz") as told:
            np.testing.assert_allclose(told["losses"], [loss for _, loss in whole.losses], rtol=1e-5)
            own = torch.cat([p.detach().flatten() for p in whole.net.parameters()]).numpy()
            np.testing.assert_allclose(told["weights"], own, rtol=1e-5)
            if limit > rows:
                assert told["seen"].tolist() == [rows] * 6
            else:
                assert told["micro"] == 2  # both begin the step again
    again = toy(batch=7)
    again.restore(tmp_path / "checkpoint.pt")
    assert again.step == 6


def test_on_the_cpu_nothing_is_rounded_to_bf16():
    chip = machine("cpu")
    assert (str(chip.device), chip.mixed_precision, chip.num_processes) == ("cpu", "no", 1)


# Kills and full disks ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    return phantom_data(6, 32, seed=4)


def editor(data) -> Trainer:
    from cars.nets.concept_unet import ConceptUNet

    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Trainer(ConceptUNet(32, (8, 16, 24)), data, batch=2, seed=7)


def _killed(data, path: Path, at: int) -> None:
    """Train, write a checkpoint after each step, and die by SIGKILL while the one of step `at` is being written."""
    real, count = os.replace, [0]

    def replace(source, target):
        count[0] += 1
        if count[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)

    os.replace = replace
    editor(data).run(Budget(steps=6), path)


@pytest.mark.parametrize("at", [1, 4])
def test_killed_in_the_middle_it_goes_on_to_the_same_bits(data, tmp_path, monkeypatch, at):
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop_module, "LOG_EVERY", 2)
    whole = editor(data)
    whole.run(Budget(steps=6))
    path = tmp_path / "checkpoint.pt"
    child = fork.Process(target=_killed, args=(data, path, at))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".checkpoint.pt.*.tmp"))) == 1  # the torn file
    second = editor(data)
    if path.exists():
        second.restore(path)
    assert second.step == at - 1
    second.run(Budget(steps=6), path)
    assert second.losses == whole.losses
    assert len(whole.losses) == 3
    for a, b in zip(
        [*whole.net.parameters(), *whole.ema.parameters()], [*second.net.parameters(), *second.ema.parameters()]
    ):
        assert torch.equal(a, b)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt"]


class FullDisk:
    """A stream on a disk that has room for so many bytes."""

    def __init__(self, stream, room: int) -> None:
        self.stream, self.room = stream, room

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stream.close()

    def write(self, data) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.stream.write(data)

    def __getattr__(self, name: str):
        return getattr(self.stream, name)


def test_a_full_disk_says_so_and_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    path = tmp_path / "checkpoint.pt"
    one = toy()
    one.run(Budget(steps=3), path)
    before = path.read_bytes()
    real = os.fdopen
    monkeypatch.setattr("cars.workspace.os.fdopen", lambda *a, **k: FullDisk(real(*a, **k), 100))
    with pytest.raises(ResourceError, match=r"disk that holds .* is full") as error:
        one.run(Budget(steps=9), path)
    assert "goes on where it stopped" in error.value.hint
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt"]
    again = toy()
    again.restore(path)
    again.run(Budget(steps=9), path)
    whole = toy()
    whole.run(Budget(steps=9))
    assert all(torch.equal(a, b) for a, b in zip(again.net.parameters(), whole.net.parameters()))


def test_a_stop_between_steps_is_written_and_one_within_a_step_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(loop_module, "LOG_EVERY", 1)
    path = tmp_path / "checkpoint.pt"

    def stop(done, total, message=""):
        raise Cancelled("stop")

    one = toy()
    with pytest.raises(Cancelled):
        one.run(Budget(steps=5), path, stop)
    assert torch.load(path, weights_only=True)["step"] == 1
    two = toy()
    two.restore(path)
    real = two.optimizer.step

    def interrupted():
        real()
        raise KeyboardInterrupt

    two.optimizer.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        two.run(Budget(steps=5), path)
    # the weights have moved and the step is not counted: what was there is the truth
    assert torch.load(path, weights_only=True)["step"] == 1
    third = toy()
    third.restore(path)
    assert third.advance(0.2) == ran(toy(), 2)[1]


def test_checkpoints_of_before_still_load(tmp_path):
    one = toy()
    ran(one, 2)
    one.write(tmp_path / "checkpoint.pt")
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del state["recent"], state["micro"]
    torch.save(state, tmp_path / "checkpoint.pt")
    again = toy()
    again.restore(tmp_path / "checkpoint.pt")
    assert again.advance(0.2) == one.advance(0.2)
