"""Plug-ins: one backbone a file. See docs/adding-a-backbone.md and `_base.Backbone`, which most of them extend."""

from ..registry import Registry

BACKBONES = Registry("backbone", "cars.backbones")

#: `weights="random"`: seeded random weights, on purpose. Their revision and label say so.
RANDOM = "random"
