"""Plug-ins: one segmenter a file. See docs/architecture.md."""

from ..registry import Registry

SEGMENTERS = Registry("segmenter", "cars.segmenters")
