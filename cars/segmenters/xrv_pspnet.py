"""TorchXRayVision's PSPNet, trained on ChestX-Det (Lian et al. 2021, arXiv 2104.10326), with weights from a local file.

CARS never downloads: fetch the file that `torchxrayvision.baseline_models.chestx_det.PSPNet` names on a machine with
internet access and name its place in the environment variable CARS_XRV_PSPNET, or as `weights`. torchxrayvision is
Apache-2.0; see its page for the terms of the weights.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, MissingDependency
from ..torchbox import device as choose_device
from ..torchbox import torch as load_torch
from . import SEGMENTERS, Masks, refuse_wrong_films
from ._shape import to_masks

VARIABLE = "CARS_XRV_PSPNET"
#: Where left lung, right lung and heart stand among the 14 targets of the released network.
TARGETS = [4, 5, 8]
#: ImageNet's mean and standard deviation, per channel of values in [0, 1].
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@SEGMENTERS.register("xrv_pspnet")
class XrvPspnet:
    """Left lung, right lung and heart out of PSPNet's 14 targets, at 512 px.

    weights: the state_dict file (read with weights_only=True). Left empty, the environment variable names it.
    """

    size = 512

    def __init__(self, weights: Path | str | None = None) -> None:
        self.weights = weights
        self.device = "cpu"
        self.net: Any = None

    @property
    def _file(self) -> Path:
        named = self.weights or os.environ.get(VARIABLE)
        if not named or not Path(named).is_file():
            what = f"The PSPNet weights {str(named)!r} are not there." if named else "No PSPNet weights are named."
            raise MissingDependency(
                what, f"Put the file on this machine and set {VARIABLE} to its path, or use the segmenter 'cars'."
            )
        return Path(named)

    @property
    def revision(self) -> str:
        """First 12 hex digits of the SHA-256 of the weights."""
        from ..provenance import file_digest

        return file_digest(self._file, 12)

    def load(self, device: str = "auto") -> XrvPspnet:
        """Read the weights. Raises: MissingDependency without the file or the package, DataError for a wrong file."""
        torch = load_torch()
        file = self._file
        try:
            from torchxrayvision.baseline_models.chestx_det.ptsemseg.pspnet import pspnet
        except ImportError:
            raise MissingDependency(
                "The segmenter xrv_pspnet needs torchxrayvision.", "Run `pip install torchxrayvision`."
            ) from None
        net = pspnet(14)
        state = torch.load(file, map_location="cpu", weights_only=True)
        try:
            # the released file was saved from DataParallel, whose names begin with "module."
            net.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
        except RuntimeError as error:
            raise DataError(
                f"{file} does not hold PSPNet weights: {str(error).splitlines()[0]}", "Name the released file."
            ) from None
        self.device = choose_device(device)
        self.net = net.eval().to(self.device)
        return self

    def masks(self, images: np.ndarray) -> Masks:
        """images: (B, H, W) uint8, square → masks (B, 3, H, W) bool and confidence (B,), see _shape.to_masks."""
        torch = load_torch()
        refuse_wrong_films(images)
        if self.net is None:
            self.load()
        found = []
        with torch.inference_mode():
            for image in images:
                x = torch.from_numpy(image.copy()).to(self.device).float()[None, None] / 255
                x = torch.nn.functional.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
                x = torch.cat([(x - mean) / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)], dim=1)
                found.append(torch.sigmoid(self.net(x)[:, TARGETS]).float().cpu().numpy()[0])
        return to_masks(np.stack(found) if found else np.zeros((0, 3, 8, 8), np.float32), *images.shape[1:])
