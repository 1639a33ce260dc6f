"""Plug-ins: one backbone a file. See docs/architecture.md."""

from ..registry import Registry

BACKBONES = Registry("backbone", "cars.backbones")
