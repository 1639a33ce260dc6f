"""Swin-T (Liu et al. 2021, Hierarchical Vision Transformer using Shifted Windows, arXiv 2103.14030)."""

from typing import Any

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("swin_tiny_patch4_window7_224")
class SwinTiny(TimmBackbone):
    """swin_tiny_patch4_window7_224 of timm: windows of at most 7 × 7; smaller films have smaller windows."""

    name = "swin_tiny_patch4_window7_224"
    dim = 768
    sized = True

    @classmethod
    def translate(cls, state: dict[str, Any], body: Any) -> dict[str, Any]:
        """The state with its tables of relative positions resized to the body's windows."""
        from timm.models.swin_transformer import checkpoint_filter_fn

        return checkpoint_filter_fn(state, body)
