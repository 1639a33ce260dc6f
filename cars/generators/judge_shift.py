"""Baseline: move the film along the judge's own gradient until the judge sees the change.

Latent shift (Cohen et al. 2021, "Gifsplanation via Latent Shift", arXiv 2102.09475) moves an autoencoder's code along
the gradient of a classifier. CARS ships no autoencoder of films, so the code here is a grid of 16 × 16 brightness
values over the film, decoded by bicubic interpolation and added inside the ROI. The classifier is the judge that also
gates the edit, so a flip says less here than elsewhere; what counts is how far from the truth the film ends.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingDependency
from ..nets import packaged
from ..schema import EDITABLE, FINDINGS, PRESENT
from ..torchbox import device as choose_device
from . import GENERATORS, EditRequest, EditResult, check

#: Side of the grid that is shifted.
GRID = 16
#: Largest change in grey levels that is tried, in order, until the judge is past its threshold by MARGIN.
STEPS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
MARGIN = 0.05


@GENERATORS.register("judge-shift")
class JudgeShift:
    """The smallest shift of STEPS that convinces the judge. folder: a judge's folder in place of the packaged one."""

    size = 64
    findings = EDITABLE
    licence = "Apache-2.0"
    uses = "judge"
    modes: Sequence[str] = ("inversion",)
    baseline = True
    deterministic = True

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = folder
        self.device = "cpu"
        self.net: Any = None

    @property
    def _folder(self) -> Path:
        return Path(self.folder) if self.folder else packaged("judge")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The judge's config.json. Raises: MissingDependency when there is none."""
        file = self._folder / "config.json"
        if not file.is_file():
            raise MissingDependency(f"There is no judge in {self._folder}.", "Train one with `cars train-generator`.")
        return json.loads(file.read_text(encoding="utf-8"))

    @property
    def revision(self) -> str:
        """First 12 hex digits of the SHA-256 of the judge's weights."""
        return str(self.config["weights_sha256"])[:12]

    def load(self, device: str = "auto") -> JudgeShift:
        """Read the judge. Raises: MissingDependency when it is not there."""
        from safetensors.torch import load_file

        from ..nets.judge import build

        self.device = choose_device(device)
        net = build(self.config["arch"])
        state = load_file(self._folder / "model.safetensors")
        net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        self.net = net.eval().to(self.device)
        return self

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        """The edits, in the order asked for; where the vectors agree the source itself."""
        if self.net is None:
            self.load()
        check(requests, self.size)
        return [EditResult(self._shifted(request), 0.0) for request in requests]

    def _shifted(self, request: EditRequest) -> np.ndarray:
        from ..nets.judge import torch

        source = request.image.astype(np.float32)
        changed = [
            n for n, f in enumerate(FINDINGS) if f in EDITABLE and request.vector_to[n] != request.vector_from[n]
        ]
        if not changed:
            return source
        film = torch.from_numpy(source)[None, None].to(self.device)
        roi = torch.from_numpy(request.roi.astype(np.float32))[None, None].to(self.device)
        sign = torch.tensor([1.0 if request.vector_to[n] == PRESENT else -1.0 for n in changed], device=self.device)
        known = self.config["validation"]
        threshold = torch.tensor([known.get(FINDINGS[n], {}).get("threshold", 0.5) for n in changed]).to(sign)

        def decoded(grid: Any) -> Any:
            return roi * torch.nn.functional.interpolate(grid, self.size, mode="bicubic", align_corners=False)

        def logits(x: Any) -> Any:
            size = int(self.config["size"])
            seen = torch.nn.functional.interpolate(x, (size, size), mode="bilinear", antialias=True)
            return self.net(seen / 127.5 - 1)[:, changed]

        grid = torch.zeros((1, 1, GRID, GRID), device=self.device, requires_grad=True)
        (slope,) = torch.autograd.grad((sign * logits(film + decoded(grid))).sum(), grid)
        with torch.no_grad():
            shift = decoded(slope)
            shift = shift / shift.abs().max().clamp(min=1e-12)
            films = (film + torch.tensor(STEPS, device=self.device)[:, None, None, None] * shift).clamp(0, 255)
            beyond = (sign * (torch.sigmoid(logits(films)) - threshold)).min(dim=1).values >= MARGIN
            best = int(beyond.float().argmax()) if bool(beyond.any()) else len(STEPS) - 1
        return films[best, 0].cpu().numpy()
