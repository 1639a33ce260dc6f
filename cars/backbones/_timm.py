"""Backbones whose body is a timm model (Wightman, PyTorch Image Models). Weights in timm's names load as they are."""

from __future__ import annotations

from typing import Any, ClassVar

from ..torchbox import torch as load_torch
from ._base import Backbone


class TimmBackbone(Backbone):
    """A timm model without its classifier.

    timm_name: what timm calls it, where that is not `name`. options: other arguments of `timm.create_model`.
    sized: whether the model is told the side that it runs at.
    """

    timm_name: ClassVar[str] = ""
    options: ClassVar[dict[str, Any]] = {}
    sized: ClassVar[bool] = False

    @classmethod
    def architecture(cls, side: int) -> tuple[str, dict[str, Any]]:
        """(timm's name, the arguments that make this body for films of that side)."""
        return cls.timm_name or cls.name, {**cls.options, **({"img_size": side} if cls.sized else {})}

    @classmethod
    def body(cls, side: int) -> Any:
        """The timm model with random weights, average-pooled: (B, 3, side, side) → (B, dim)."""
        load_torch()
        import timm

        name, options = cls.architecture(side)
        return timm.create_model(name, pretrained=False, num_classes=0, **options)
