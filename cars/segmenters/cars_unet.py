"""The segmenter that CARS ships: a UNet of 0.26 M parameters. Its card lies beside its weights."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..nets import packaged
from ..torchbox import device as choose_device
from . import SEGMENTERS, Masks
from ._shape import to_masks


@SEGMENTERS.register("cars")
class CarsSegmenter:
    """Left lung, right lung and heart of frontal films.

    folder: weights to use in place of the packaged ones.
    """

    size = 128

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.device = "cpu"
        self.net: Any = None

    @cached_property
    def revision(self) -> str:
        """First 12 hex digits of the SHA-256 of the weights."""
        from ..provenance import file_digest

        return file_digest(self._folder / "model.safetensors", 12)

    @property
    def _folder(self) -> Path:
        return Path(self.folder) if self.folder else packaged("segmenter")

    def load(self, device: str = "auto") -> CarsSegmenter:
        """Read the weights. Raises: MissingDependency when they are not there."""
        from ..nets.segmenter import load

        self.device = choose_device(device)
        self.net, _ = load(self._folder, self.device)
        return self

    def masks(self, images: np.ndarray) -> Masks:
        """images: (B, H, W) uint8, square → masks (B, 3, H, W) bool and confidence (B,), see _shape.to_masks."""
        from ..nets.segmenter import to_input, torch

        if images.ndim != 3 or images.dtype != np.uint8:
            raise DataError(
                f"A segmenter takes uint8 (B, H, W), not {images.dtype} {images.shape}.", "Use imaging.square first."
            )
        if self.net is None:
            self.load()
        probabilities = []
        with torch.inference_mode():
            for start in range(0, len(images), 32):
                logits = self.net(to_input(images[start : start + 32], self.device))
                probabilities.append(torch.sigmoid(logits).float().cpu().numpy())
        found = np.concatenate(probabilities) if probabilities else np.zeros((0, 3, self.size, self.size), np.float32)
        return to_masks(found, *images.shape[1:])
