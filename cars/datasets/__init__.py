"""Plug-ins: one data set adapter a file. See docs/architecture.md."""

from ..registry import Registry

DATASETS = Registry("data set adapter", "cars.datasets")
