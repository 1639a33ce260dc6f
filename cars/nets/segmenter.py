"""The small UNet that outlines both lungs and the heart.

Input (B, 1, 128, 128) float32 in [-1, 1]; output (B, 3, 128, 128) logits for left lung, right lung, heart. The three
are independent sigmoids, not a softmax, because the heart's shadow overlaps the lungs on a frontal film. The
normalisation is per film (GroupNorm), so a film's masks do not depend on its neighbours in the batch. After
Ronneberger et al. 2015, "U-Net" (arXiv 1505.04597), with far fewer channels; the first level works on 2 × 2 pixels as
four channels, which costs an eighth of the time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingDependency
from ..torchbox import torch as load_torch
from ..workspace import atomic_write, write_json

torch = load_torch()
nn = torch.nn

SIZE = 128
WIDTHS = (16, 32, 48, 80)


class Block(nn.Module):  # type: ignore[name-defined]  # torch comes through torchbox, which mypy cannot see
    """Two 3 × 3 convolutions, each with GroupNorm and SiLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        layers: list[Any] = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.GroupNorm(8, outputs), nn.SiLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class SegmenterNet(nn.Module):  # type: ignore[name-defined]  # torch comes through torchbox, which mypy cannot see
    """Encoder of len(widths) levels, decoder with skips; 0.26 M parameters at the default widths."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.widths = widths
        self.down = nn.ModuleList(Block(a, b) for a, b in zip((4, *widths[:-1]), widths, strict=True))
        self.up = nn.ModuleList(Block(widths[k] + widths[k - 1], widths[k - 1]) for k in range(len(widths) - 1, 0, -1))
        self.head = nn.Conv2d(widths[0], 12, 3, padding=1)

    def forward(self, x: Any) -> Any:
        """x: (B, 1, S, S) float32 in [-1, 1], S a multiple of 16 → logits (B, 3, S, S)."""
        skips = []
        x = nn.functional.pixel_unshuffle(x, 2)
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for block, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = block(torch.cat([nn.functional.interpolate(x, scale_factor=2.0), skip], dim=1))
        return nn.functional.pixel_shuffle(self.head(x), 2)


def save(net: SegmenterNet, folder: Path, config: dict[str, Any]) -> None:
    """Write model.safetensors (float16) and config.json; the weights go first, so a config never lies alone."""
    from safetensors.torch import save as to_bytes

    half = {name: value.detach().cpu().half().contiguous() for name, value in net.state_dict().items()}
    with atomic_write(Path(folder) / "model.safetensors") as stream:
        stream.write(to_bytes(half))
    write_json(Path(folder) / "config.json", {"size": SIZE, "widths": net.widths, **config})


def load(folder: Path, device: str = "cpu") -> tuple[SegmenterNet, dict[str, Any]]:
    """The network in evaluation mode and its config. Raises: MissingDependency when the folder holds no weights."""
    from safetensors.torch import load_file

    folder = Path(folder)
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise MissingDependency(
            f"There are no segmenter weights in {folder}.",
            "They come with CARS under data/weights/segmenter; data/weights/train_segmenter.py makes them anew.",
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    net = SegmenterNet(tuple(config["widths"]))
    net.load_state_dict({name: value.float() for name, value in load_file(folder / "model.safetensors").items()})
    return net.eval().to(device), config


def to_input(images: np.ndarray, device: str = "cpu") -> Any:
    """uint8 (B, H, W) → float32 (B, 1, 128, 128) in [-1, 1], area-averaged when shrunk."""
    x = torch.from_numpy(np.ascontiguousarray(images)).to(device).float()[:, None]
    if x.shape[-2:] != (SIZE, SIZE):
        x = nn.functional.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)
    return x / 127.5 - 1


def shrink(x: Any, share: float) -> Any:
    """(B, C, S, S) shrunk to a share of its size about the centre; its own edge fills the rest."""
    theta = torch.tensor([[1 / share, 0, 0], [0, 1 / share, 0]], dtype=x.dtype, device=x.device).expand(len(x), 2, 3)
    grid = nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
    return nn.functional.grid_sample(x, grid, align_corners=False, padding_mode="border")
