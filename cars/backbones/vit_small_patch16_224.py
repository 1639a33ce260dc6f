"""ViT-S/16 (Dosovitskiy et al. 2020, An Image is Worth 16x16 Words, arXiv 2010.11929)."""

from typing import Any

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("vit_small_patch16_224")
class ViTSmall(TimmBackbone):
    """vit_small_patch16_224 of timm: 16-pixel patches; at other sizes its position table is interpolated."""

    name = "vit_small_patch16_224"
    dim = 384
    mean = std = (0.5, 0.5, 0.5)
    multiple = 16
    sized = True

    @classmethod
    def translate(cls, state: dict[str, Any], body: Any) -> dict[str, Any]:
        """The state with its position table interpolated to the body's grid of patches."""
        from timm.models.vision_transformer import checkpoint_filter_fn

        return checkpoint_filter_fn(state, body)
