"""Plug-ins: one generator a file. See docs/architecture.md."""

from ..registry import Registry

GENERATORS = Registry("generator", "cars.generators")
