"""Swin of 2 blocks a stage, 32 to 256 wide, in windows of 4 (Liu et al. 2021, arXiv 2103.14030), for CPUs."""

from typing import Any, ClassVar

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("swin_mini")
class SwinMini(TimmBackbone):
    """swin_tiny_patch4_window7_224 of timm with its sizes cut down, see `options`."""

    name = "swin_mini"
    timm_name = "swin_tiny_patch4_window7_224"
    options: ClassVar[dict[str, Any]] = {
        "window_size": 4, "embed_dim": 32, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8),
    }  # fmt: skip
    dim = 256
    size = 64
    sized = True
