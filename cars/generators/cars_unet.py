"""The generator that CARS ships: concept-conditioned diffusion on pixels or latents, with two ways to edit.

Inversion (edit-friendly DDPM inversion: Huberman-Spiegelglas et al. 2023, "An Edit Friendly DDPM Noise Space",
arXiv 2304.06140): noise the film independently to every level, read off the noise that the sampler would have needed
to walk through exactly these, and walk again with that noise under the target vector. What the vectors agree on stays.

Inpainting: draw the ROI from fresh noise under the target vector, guided away from the source vector, while the
outside follows the film (Lugmayr et al. 2022, "RePaint", arXiv 2201.09865, without its resampling).

In both, the latent outside the ROI is replaced by the film's own latent of the same noise level after every step.

The packaged editor works on 64 × 64 pixels; `cars train-generator --size` makes editors for other sizes, from 256 px
on in the latents of an autoencoder. nets/latent.py carries films there and back; the sampler is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ResourceError
from ..nets import packaged
from ..schema import EDITABLE
from ..torchbox import autocast, out_of_memory
from ..torchbox import device as choose_device
from . import GENERATORS, MODES, EditRequest, EditResult, check, in_groups
from ._sampler import Walk


@GENERATORS.register("cars")
class CarsGenerator:
    """Edits frontal films at 64 px, or at the size that its editor was trained for.

    folder: an editor's folder to use in place of the packaged one.
    """

    size = 64
    findings = EDITABLE
    licence = "Apache-2.0"
    #: which of a workspace's own models it takes: models/generator/CURRENT
    uses: str | None = "generator"
    modes: Sequence[str] = MODES
    baseline = False
    deterministic = False

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = folder
        self.device = "cpu"
        self.net: Any = None

    @property
    def _folder(self) -> Path:
        return Path(self.folder) if self.folder else packaged("editor")

    @cached_property
    def revision(self) -> str:
        """First 12 hex digits of the SHA-256 of the weights, those of an autoencoder included."""
        from ..nets.concept_unet import WEIGHTS
        from ..provenance import digest, file_digest

        sums = [file_digest(path, 12) for part in ("unet", "vae") if (path := self._folder / part / WEIGHTS).is_file()]
        return sums[0] if len(sums) == 1 else digest(sums, length=12)

    def load(self, device: str = "auto") -> CarsGenerator:
        """Read the weights. Raises: MissingDependency when they are not there."""
        from ..nets.concept_unet import load

        self.device = choose_device(device)
        self.net, config = load(self._folder, self.device)
        self.size = int(config["size"])
        self.licence = str(config.get("licence", self.licence))
        return self

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        """The edits, in the order asked for; requests of one mode and number of steps go through the network together.

        Raises: DataError and SettingError as `generators.check`, ResourceError when the batch does not fit the device.
        """
        if self.net is None:
            self.load()
        check(requests, self.size)
        return in_groups(requests, self.keeps, self._edit)

    def keeps(self, request: EditRequest) -> bool:
        """Whether a request's result is its source, so that nothing need be walked.

        An inversion under an unchanged vector walks the film's own way (tests prove it).
        """
        return request.mode == "inversion" and np.array_equal(request.vector_from, request.vector_to)

    def walked(self, walk: Walk, mode: str, skip: float) -> Any:
        """The films that a walk ends in, (B, 1, S, S)."""
        return walk.inversion(skip) if mode == "inversion" else walk.inpaint()

    def _edit(self, requests: list[EditRequest], mode: str, steps: int, skip: float) -> list[EditResult]:
        from ..nets.concept_unet import torch

        try:
            with torch.inference_mode(), autocast(self.device):
                walk = _Walk(self.net, requests, steps, self.device)
                final = self.walked(walk, mode, skip)
                return walk.results(final)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise ResourceError(
                f"The device's memory is too small for {len(requests)} edits at once.", "Choose a smaller batch."
            ) from None


class _Walk(Walk):
    """One batch of requests.

    grey, films: (B, 1, S, S) float32, the films in grey levels and in [-1, 1]; pixels: their ROI. source: the films in
    the network's space, and roi: the cells of it that may change. Where the network works on pixels they are the same.
    """

    def __init__(self, net: Any, requests: list[EditRequest], steps: int, device: str) -> None:
        from ..nets.concept_unet import context_of, encode, scheduler, torch

        self.net, self.torch = net, torch

        def tensor(name: str) -> Any:
            stacked = np.stack([getattr(r, name) for r in requests]).astype(np.float32)
            return torch.from_numpy(stacked).to(device)

        def tokens(name: str) -> Any:
            vectors = np.stack([getattr(r, name) for r in requests])
            ages = [float("nan") if r.age is None else r.age for r in requests]
            codes = encode(vectors, [r.view for r in requests], [r.sex for r in requests], ages)
            return torch.from_numpy(codes).to(device)

        self.grey, self.pixels = tensor("image")[:, None], tensor("roi")[:, None]
        self.films = self.grey / 127.5 - 1
        self.source, self.roi = net.codec.encode(self.films), net.codec.cells(self.pixels)
        hide = torch.tensor([r.hide_masks for r in requests], device=device)
        self.context = context_of(self.source, self.roi, net.codec.shares(tensor("masks")), hide)
        self.before, self.after = tokens("vector_from"), tokens("vector_to")
        self.guidance = torch.tensor([r.guidance for r in requests], device=device)[:, None, None, None]
        plan = scheduler()
        plan.set_timesteps(steps)
        self.steps = [int(t) for t in plan.timesteps]
        self.alpha = [float(plan.alphas_cumprod[t]) for t in self.steps] + [1.0]
        self.noise = self.draw([r.seed for r in requests], device)

    def results(self, final: Any) -> list[EditResult]:
        """Put the source back outside the ROI, and say how far the network had drifted from it there."""
        final = self.net.codec.film(final, self.source, self.films, self.roi)
        outside = 1 - self.pixels
        drift = (127.5 * (final - self.films).abs() * outside).sum((1, 2, 3)) / outside.sum((1, 2, 3)).clamp(min=1)
        edited = self.torch.where(self.pixels > 0, 127.5 * (final + 1), self.grey)
        return [EditResult(e, d) for e, d in zip(edited[:, 0].float().cpu().numpy(), drift.tolist())]

    def bounded(self, clean: Any) -> Any:
        return self.net.codec.bounded(clean)

    def network(self, x: Any, steps: Any, condition: Any, rows: Any) -> Any:
        return self.net(x, steps, condition, self.context[rows])
