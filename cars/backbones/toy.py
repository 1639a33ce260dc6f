"""A tiny seeded convolutional network: for tests and trials of the path, not for figures."""

from __future__ import annotations

from typing import Any

from ..torchbox import torch as load_torch
from . import BACKBONES
from ._base import Backbone


@BACKBONES.register("toy")
class Toy(Backbone):
    """Three strided convolutions and average pooling, 32 features, at 32 px."""

    name = "toy"
    dim = 32
    size = 32
    mean = (0.5,)
    std = (0.25,)
    multiple = 8

    @classmethod
    def body(cls, side: int) -> Any:
        """(B, 1, side, side) → (B, 32)."""
        nn = load_torch().nn
        layers: list[Any] = []
        for before, after in ((1, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
