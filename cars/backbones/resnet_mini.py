"""ResNet-18 at half its width (He et al. 2015, Deep Residual Learning, arXiv 1512.03385), for CPUs."""

from typing import Any, ClassVar

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("resnet_mini")
class ResNetMini(TimmBackbone):
    """resnet18 of timm with its sizes cut down, see `options`."""

    name = "resnet_mini"
    timm_name = "resnet18"
    options: ClassVar[dict[str, Any]] = {"channels": (32, 64, 128, 256)}
    dim = 256
    size = 64
