"""The segmenter that CARS ships: a UNet of 0.26 M parameters. Its card lies beside its weights."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..nets import packaged
from ..torchbox import device as choose_device
from . import SEGMENTERS, Masks, refuse_wrong_films
from ._shape import to_masks

#: How far a film is shrunk to see whether its outlines follow.
SHRUNK = 0.75


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
        """images: (B, H, W) uint8, square → masks (B, 3, H, W) bool and confidence (B,).

        The confidence is that of _shape.to_masks times the least Dice of an organ between the outlines, shrunk to
        SHRUNK of their size, and the outlines of the film shrunk alike. A network that has learnt where organs lie
        draws them there in a lateral or blank film too; those outlines do not follow when the film shrinks.
        """
        from ..nets.segmenter import shrink, to_input, torch

        refuse_wrong_films(images)
        if self.net is None:
            self.load()
        found = np.zeros((len(images), 3, self.size, self.size), dtype=np.float32)
        steady = np.zeros(len(images), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), 32):
                x = to_input(images[start : start + 32], self.device)
                first = torch.sigmoid(self.net(x)).float()
                again = torch.sigmoid(self.net(shrink(x, SHRUNK))).float() > 0.5
                follows = shrink(first, SHRUNK) > 0.5
                both = (again & follows).sum(dim=(2, 3))
                overlap = 2 * both / (again.sum(dim=(2, 3)) + follows.sum(dim=(2, 3))).clamp(min=1)
                found[start : start + len(x)] = first.cpu().numpy()
                steady[start : start + len(x)] = overlap.amin(dim=1).cpu().numpy()
        masks = to_masks(found, *images.shape[1:])
        return Masks(masks.masks, masks.confidence * steady)
