"""Plug-ins: one metric a file. See docs/architecture.md."""

from ..registry import Registry

METRICS = Registry("metric", "cars.metrics")
