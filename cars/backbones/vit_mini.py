"""ViT of 4 blocks, 96 wide, on patches of 8 pixels (Dosovitskiy et al. 2020, arXiv 2010.11929), for CPUs."""

from typing import Any, ClassVar

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("vit_mini")
class ViTMini(TimmBackbone):
    """vit_tiny_patch16_224 of timm with its sizes cut down, see `options`."""

    name = "vit_mini"
    timm_name = "vit_tiny_patch16_224"
    options: ClassVar[dict[str, Any]] = {"patch_size": 8, "depth": 4, "embed_dim": 96, "num_heads": 3}
    dim = 96
    size = 64
    mean = std = (0.5, 0.5, 0.5)
    multiple = 8
    sized = True
