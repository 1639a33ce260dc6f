"""DenseNet with blocks of 3, 6, 8 and 4 layers and a growth of 16 (Huang et al. 2016, arXiv 1608.06993), for CPUs."""

from typing import Any, ClassVar

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("densenet_mini")
class DenseNetMini(TimmBackbone):
    """densenet121 of timm with its sizes cut down, see `options`."""

    name = "densenet_mini"
    timm_name = "densenet121"
    options: ClassVar[dict[str, Any]] = {"growth_rate": 16, "block_config": (3, 6, 8, 4)}
    dim = 162
    size = 64
