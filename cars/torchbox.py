"""The one place that imports torch for everybody: threads, device, and torchvision on a CPU-only torch.

PyPI's torchvision is built for CUDA. Beside a CPU-only torch its import fails with "operator torchvision::nms does not
exist"; declaring the two operators first lets everything but those two operators work, and CARS uses neither.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

_keep_alive: list[Any] = []


@lru_cache(maxsize=1)
def torch() -> Any:
    """The torch module, with torchvision importable. Call this before timm, diffusers or torchxrayvision."""
    import torch as module

    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
            del sys.modules[name]
        library = module.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _keep_alive.append(library)
        import torchvision  # noqa: F401
    return module


def device(wanted: str = "auto") -> str:
    """ "cuda" where there is a GPU and it is wanted, else "cpu"."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch().cuda.is_available() else "cpu"


def autocast(name: str) -> Any:
    """bf16 autocast on a GPU; nothing on the CPU, where bf16 is slower."""
    module = torch()
    return module.autocast(device_type=name.split(":")[0], dtype=module.bfloat16, enabled=name.startswith("cuda"))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on this machine."""
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    # the CPU's allocator and some CUDA libraries raise plain RuntimeErrors
    words = str(error).lower()
    return isinstance(error, torch().OutOfMemoryError) or any(
        sign in words for sign in ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
    )
