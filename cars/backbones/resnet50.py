"""ResNet-50 (He et al. 2015, Deep Residual Learning for Image Recognition, arXiv 1512.03385)."""

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("resnet50")
class ResNet50(TimmBackbone):
    """resnet50 of timm."""

    name = "resnet50"
    dim = 2048
