"""ConvNeXt of 2, 2, 4 and 2 blocks, 32 to 256 wide, for CPUs (Liu et al. 2022, arXiv 2201.03545)."""

from typing import Any, ClassVar

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("convnext_mini")
class ConvNeXtMini(TimmBackbone):
    """convnext_atto of timm with its sizes cut down, see `options`."""

    name = "convnext_mini"
    timm_name = "convnext_atto"
    options: ClassVar[dict[str, Any]] = {"depths": (2, 2, 4, 2), "dims": (32, 64, 128, 256)}
    dim = 256
    size = 64
