"""Backbones whose body is a timm model (Wightman, PyTorch Image Models). Weights in timm's names load as they are."""

from __future__ import annotations

from typing import Any, ClassVar

from ..torchbox import torch as load_torch
from ._base import Backbone


class TimmBackbone(Backbone):
    """A timm model under its own name, without its classifier; `sized` models are told the side that they run at."""

    sized: ClassVar[bool] = False

    @classmethod
    def body(cls, side: int) -> Any:
        """The timm model with random weights, average-pooled: (B, 3, side, side) → (B, dim)."""
        load_torch()
        import timm

        options: dict[str, Any] = {"img_size": side} if cls.sized else {}
        return timm.create_model(cls.name, pretrained=False, num_classes=0, **options)
