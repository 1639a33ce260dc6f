"""The training loop that editor and autoencoder share: one or many devices, micro-batches, averages, checkpoints.

Every step draws its whole batch from (seed, step) alone, so a run that was killed goes on to the same losses. With
several processes (`torchrun`, `accelerate launch`) each draws the same batch and takes its rows of it; gradients are
summed once a step, after all micro-batches. DistributedDataParallel would sum them while they arise, and a process that
ran out of memory would leave the others waiting; so they are summed here, when all have said that they are through.

A device whose memory is too small halves the micro-batch and adds up more of them: the batch stays the same.
"""

from __future__ import annotations

import contextlib
import copy
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ResourceError
from ..progress import Progress, silent
from ..torchbox import out_of_memory
from ..torchbox import torch as load_torch
from ..workspace import atomic_write

EMA = 0.999
CHECKPOINT_SECONDS = 60.0
LOG_EVERY = 20
#: How long a process waits for another that prepares films, or draws samples.
PATIENCE = timedelta(hours=12)


@dataclass
class Budget:
    """When to stop: after so many steps, or after so many seconds of training, whichever comes first."""

    steps: int | None = None
    seconds: float | None = None

    def share(self, step: int, seconds: float) -> float:
        """How much of the budget is used, in [0, 1]."""
        used = [done / limit for done, limit in ((step, self.steps), (seconds, self.seconds)) if limit]
        return min(1.0, max(used, default=1.0))


def machine(device: str = "cpu") -> Any:
    """accelerate's Accelerator for a device: bf16 on a GPU that has it, and the other processes where there are some.

    device: "cpu", "cuda" or "cuda:1". Under `torchrun` each process gets its own GPU, or its share of the CPU.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import InitProcessGroupKwargs

    torch, cpu = load_torch(), device == "cpu"
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
    if not torch.distributed.is_initialized():
        # accelerate keeps the first device and precision for the life of a process; another verb may want others
        AcceleratorState._reset_state(reset_partial_state=True)
    precise = cpu or not torch.cuda.is_bf16_supported()
    return Accelerator(
        cpu=cpu,
        mixed_precision="no" if precise else "bf16",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )


@dataclass
class Loop:
    """A network in training. A subclass says what a batch is (`draw`) and what an example's error is (`errors`).

    net: torch module. data: what it learns from. batch: examples a step, over all processes. rate: AdamW's learning
    rate at its highest. micro: most examples at once on one device; 0: as many as there are. `state`/`restore` hold
    everything that a later process needs to go on.
    """

    net: Any
    data: Any
    batch: int = 32
    rate: float = 5e-4
    seed: int = 0
    device: str = "cpu"
    micro: int = 0
    step: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)
    #: losses of the steps since the last that was noted
    recent: list[float] = field(default_factory=list)
    #: what is trained, in a job's words
    name = "the network"

    def __post_init__(self) -> None:
        torch = load_torch()
        self.machine = machine(self.device)
        self.device = str(self.machine.device)
        self.net.to(device=self.device, memory_format=torch.channels_last).train()
        self.ema = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.rate, weight_decay=0.01)
        self._torn = False

    # What a subclass gives ------------------------------------------------------------------------------------------

    def draw(self) -> tuple[Any, ...]:
        """The batch of the step `self.step`, from seed and step alone: CPU tensors, one row an example in each."""
        raise NotImplementedError

    def errors(self, *rows: Any) -> Any:
        """(b,) float32, the error of each example; `rows` are draw's tensors on the device, b rows of each."""
        raise NotImplementedError

    # A step ---------------------------------------------------------------------------------------------------------

    def advance(self, share: float) -> float:
        """One optimiser step; `share` of the budget is used. Returns the loss, the mean over the batch.

        Raises: ResourceError when not even one example at a time fits the device; the state is that before the step.
        """
        torch = load_torch()
        # warm up over 200 steps, then fall to a twentieth over the last third of the budget
        warm, cool = min(1.0, (self.step + 1) / 200), max(0.05, min(1.0, 3 * (1 - share)))
        self.optimizer.param_groups[0]["lr"] = self.rate * warm * cool
        rank, world = self.machine.process_index, self.machine.num_processes
        loss = self._gradients([x[rank::world] for x in self.draw()])
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self._torn = True
        self.optimizer.step()
        self.step += 1
        decay = min(EMA, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.net.parameters()), 1 - decay)
        self._torn = False
        return loss

    def _gradients(self, mine: Sequence[Any]) -> float:
        """Leave the gradient of the whole batch's mean error in the parameters; returns that mean."""
        torch = load_torch()
        count = len(mine[0])
        while True:
            at_once = min(self.micro or count, count)
            self.optimizer.zero_grad(set_to_none=True)
            total, short = 0.0, False
            try:
                for start in range(0, count, max(at_once, 1)):
                    rows = [x[start : start + at_once].to(self.device) for x in mine]
                    with self.machine.autocast():
                        part = self.errors(*rows).float().sum() / self.batch
                    self.machine.backward(part)
                    total += float(part.detach())
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                short = True
            # one process that is short of memory makes all begin the step again
            if not self._any(short):
                return self._summed(total)
            if at_once <= 1:
                raise ResourceError(
                    f"The device's memory is too small for {self.name}, even one film at a time.",
                    "Choose a smaller --size or --width, or another device.",
                )
            self.micro = (at_once + 1) // 2
            if self.machine.device.type == "cuda":
                torch.cuda.empty_cache()

    def _any(self, short: bool) -> bool:
        if self.machine.num_processes == 1:
            return short
        flag = load_torch().tensor([float(short)], device=self.device)
        return bool(self.machine.reduce(flag, reduction="sum").item())

    def _summed(self, total: float) -> float:
        """Sum gradients and loss over the processes."""
        if self.machine.num_processes == 1:
            return total
        torch = load_torch()
        parameters = list(self.net.parameters())
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten().float() for p in parameters]
            + [torch.tensor([total], device=self.device)]
        )
        flat = self.machine.reduce(flat, reduction="sum")
        start = 0
        for p in parameters:
            p.grad = flat[start : start + p.numel()].view_as(p).clone(memory_format=torch.preserve_format)
            start += p.numel()
        return float(flat[-1])

    # A run ----------------------------------------------------------------------------------------------------------

    def run(
        self, budget: Budget, checkpoint: Path | None = None, progress: Progress = silent, on_checkpoint: Any = None
    ) -> None:
        """Train until the budget is used; the first process writes the checkpoint every minute and at the end.

        on_checkpoint: called with the loop after each checkpoint (sample grids); its time is not the budget's.
        Raises: Cancelled from `progress`, after writing a checkpoint; ResourceError when memory or disk is too small,
        with the last checkpoint as it was.
        """
        first = self.machine.is_main_process
        checkpoint = checkpoint if first else None
        if checkpoint is not None:
            for left in checkpoint.parent.glob(f".{checkpoint.name}.*.tmp"):  # of a process that was killed
                left.unlink(missing_ok=True)
        last = saved = time.monotonic()
        try:
            while (share := self._agreed(budget.share(self.step, self.seconds))) < 1:
                self.recent.append(self.advance(share))
                now = time.monotonic()
                self.seconds += now - last
                last = now
                if self.step % LOG_EVERY == 0:
                    self.losses.append((self.step, float(np.mean(self.recent))))
                    self.recent = []
                    if first:
                        progress(round(1000 * share), 1000, f"training {self.name}, step {self.step}")
                if checkpoint is not None and now - saved >= CHECKPOINT_SECONDS:
                    self.write(checkpoint)
                    if on_checkpoint is not None:
                        on_checkpoint(self)
                    saved = last = time.monotonic()
        except BaseException:
            # between two steps all is whole; a disk that is full says so by the error that is on its way
            if checkpoint is not None and not self._torn:
                with contextlib.suppress(ResourceError):
                    self.write(checkpoint)
            raise
        if checkpoint is not None:
            self.write(checkpoint)
        if first and on_checkpoint is not None:
            on_checkpoint(self)
        if first:
            progress(1000, 1000, f"{self.name} trained for {self.step} steps")

    def _agreed(self, share: float) -> float:
        """The first process's share of the budget, so that all stop at the same step and have the same rate."""
        if self.machine.num_processes == 1:
            return share
        from accelerate.utils import broadcast

        told = load_torch().tensor([share], dtype=load_torch().float64, device=self.device)
        return float(broadcast(told, from_process=0).item())

    def write(self, path: Path) -> None:
        """The whole state, atomically. Raises: ResourceError when the disk is full; what lay at `path` stays."""
        state = {
            "net": self.net.state_dict(), "ema": self.ema.state_dict(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "seconds": self.seconds, "losses": self.losses, "recent": self.recent,
            "seed": self.seed, "batch": self.batch, "micro": self.micro,
        }  # fmt: skip
        packed = io.BytesIO()  # torch's own writer turns a full disk into an error that does not say so
        load_torch().save(state, packed)
        with atomic_write(path) as stream:
            stream.write(packed.getbuffer())

    def restore(self, path: Path) -> None:
        """Go on from what `write` wrote."""
        state = load_torch().load(path, map_location=self.device, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.losses = [(int(step), float(loss)) for step, loss in state["losses"]]
        self.recent = [float(loss) for loss in state.get("recent", [])]
        # what once did not fit will not fit again, and the same sums give the same losses
        known = int(state.get("micro", 0))
        self.micro = min(self.micro or known, known) if known else self.micro
