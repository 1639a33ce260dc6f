"""EfficientNet-B0 (Tan and Le 2019, EfficientNet: Rethinking Model Scaling, arXiv 1905.11946)."""

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("efficientnet_b0")
class EfficientNetB0(TimmBackbone):
    """efficientnet_b0 of timm."""

    name = "efficientnet_b0"
    dim = 1280
