"""TorchXRayVision's DenseNet-121, trained on radiographs (Cohen et al. 2021, arXiv 2111.00595), from a local file.

CARS never downloads, and reads no pickled models: on a machine with internet access run
`torch.save(torchxrayvision.models.DenseNet(weights="densenet121-res224-all").state_dict(), "xrv.pth")`, bring the file
here and name it in the setting `weights` or in the environment variable CARS_XRV_DENSENET121. torchxrayvision is
Apache-2.0; see its page for the terms of each set of weights.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import MissingDependency
from ..torchbox import torch as load_torch
from . import BACKBONES
from ._base import Backbone

VARIABLE = "CARS_XRV_DENSENET121"


@BACKBONES.register("xrv_densenet121")
class XrvDenseNet121(Backbone):
    """One grey channel, 224 px, values in [−1024, 1024] as TorchXRayVision normalises. Random only when asked for."""

    name = "xrv_densenet121"
    dim = 1024
    mean = (0.5,)
    std = (1 / 2048,)

    @classmethod
    def body(cls, side: int) -> Any:
        """Its convolutional part under its own names, then ReLU and average pooling: (B, 1, side, side) → (B, 1024)."""
        nn = load_torch().nn
        try:
            from torchxrayvision.models import DenseNet
        except ImportError:
            raise MissingDependency(
                "The backbone xrv_densenet121 needs torchxrayvision.", "Run `pip install torchxrayvision`."
            ) from None
        body = nn.Sequential()
        body.add_module("features", DenseNet(weights=None, in_channels=1).features)
        body.add_module("relu", nn.ReLU())
        body.add_module("pool", nn.AdaptiveAvgPool2d(1))
        body.add_module("flatten", nn.Flatten())
        return body

    @classmethod
    def packaged(cls) -> Path:
        """The file that the environment variable names. Raises: MissingDependency when there is none."""
        named = os.environ.get(VARIABLE)
        if not named or not Path(named).is_file():
            what = f"The weights {named!r} are not there." if named else "No weights are named for xrv_densenet121."
            raise MissingDependency(
                what, f"Set `weights` or {VARIABLE} to a local file, or `weights` to 'random' on purpose."
            )
        return Path(named)
