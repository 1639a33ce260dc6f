"""ConvNeXt-Tiny (Liu et al. 2022, A ConvNet for the 2020s, arXiv 2201.03545)."""

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("convnext_tiny")
class ConvNeXtTiny(TimmBackbone):
    """convnext_tiny of timm."""

    name = "convnext_tiny"
    dim = 768
