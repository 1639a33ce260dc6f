"""Editing with a released latent diffusion model: prompts in, the same two edit modes as the cars editor.

The film's latent is edited, not the film (Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
Models", arXiv 2112.10752). Inversion is edit-friendly DDPM inversion (Huberman-Spiegelglas et al. 2023, "An Edit
Friendly DDPM Noise Space", arXiv 2304.06140); inpainting draws the ROI from noise (Lugmayr et al. 2022, "RePaint",
arXiv 2201.09865, without its resampling). In both, guidance leads from the source prompt to the target prompt, and
after every step the latent outside the ROI is replaced by the film's own latent of the same noise level (compare
RadEdit: Pérez-García et al. 2023, arXiv 2312.12865).

An autoencoder loses fine texture. So the result is not the decoded latent: it is the film plus what the edit changed,
decode(edited latent) − decode(source latent), inside the ROI. Equal latents give the film itself, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import DataError, ResourceError, SettingError
from ..schema import EDITABLE
from ..torchbox import device as choose_device
from ..torchbox import out_of_memory
from . import MODES, EditRequest, EditResult, check, in_groups
from ._folder import Layout, Parts, Released, check_folder, folder_of, load_parts
from ._prompts import Style, prompts
from ._sampler import Walk

G = TypeVar("G", bound="LatentGenerator")


class LatentGenerator:
    """Edits frontal films with a Stable-Diffusion-type model in a local folder. A subclass names the model.

    folder: the model's folder; without one, where `_folder.folder_of` looks.
    """

    size = 512
    findings = EDITABLE
    licence = ""
    uses: str | None = None
    modes: Sequence[str] = MODES
    baseline = False
    deterministic = False
    released: Released
    style: Style
    #: most tokens of a prompt where the folder allows more than the model was trained with
    max_tokens: int | None = None

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = folder
        self.device = "cpu"
        self.parts: Parts | None = None

    @cached_property
    def layout(self) -> Layout:
        """The folder, found and checked. Raises: MissingDependency, DataError."""
        return check_folder(folder_of(self.released, self.folder), self.released)

    @cached_property
    def revision(self) -> str:
        """12 hex digits of the model's files, and 6 of the words it is told."""
        return f"{self.layout.digest}-{self.style.revision}"

    def load(self: G, device: str = "auto") -> G:
        """Read the weights. Raises: MissingDependency when they are not there, DataError when they are wrong."""
        layout = self.layout
        self.device = choose_device(device)
        self.parts = load_parts(layout, self.device, self.max_tokens)
        self.size = self.parts.size
        return self

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        """The edits, in the order asked for; requests of one mode and number of steps go through the networks together.

        Raises: DataError and SettingError as `generators.check`; SettingError for more steps than the model was trained
        with, and for a prompt that is too long for it; ResourceError when the batch does not fit the device.
        """
        if self.parts is None:
            self.load()
        check(requests, self.size)
        return in_groups(requests, self.keeps, self._edit)

    def keeps(self, request: EditRequest) -> bool:
        """Whether a request's result is its source: an inversion under an unchanged vector (tests walk it)."""
        return request.mode == "inversion" and np.array_equal(request.vector_from, request.vector_to)

    def _edit(self, requests: list[EditRequest], mode: str, steps: int, skip: float) -> list[EditResult]:
        from ..torchbox import torch

        parts, module = self.parts, torch()
        assert parts is not None
        if steps > len(parts.alphas):
            raise SettingError(f"steps = {steps}, but the model has {len(parts.alphas)}.", "Choose fewer steps.")
        told = [prompts(request, self.style) for request in requests]
        try:
            with module.inference_mode():
                walk = _Walk(parts, requests, told, steps, self.device)
                return walk.results(walk.inversion(skip) if mode == "inversion" else walk.inpaint())
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise ResourceError(
                f"The device's memory is too small for {len(requests)} edits at once.", "Choose a smaller batch."
            ) from None


def embed(parts: Parts, texts: Sequence[str], device: str) -> dict[str, Any]:
    """Prompt → (1, tokens, width), as StableDiffusionPipeline makes it: padded to the full length.

    Raises: SettingError for a prompt that would be cut off, DataError for words that the vocabulary lacks.
    """
    found = {}
    tokenizer, encoder = parts.tokenizer, parts.text_encoder
    for text in dict.fromkeys(texts):
        length = len(tokenizer(text).input_ids)
        if length > parts.max_tokens:
            raise SettingError(
                f"The prompt {text!r} has {length} tokens; the model takes {parts.max_tokens}.",
                "Change fewer findings in one edit.",
            )
        batch = tokenizer(text, padding="max_length", max_length=parts.max_tokens, return_tensors="pt")
        unknown = tokenizer.unk_token_id
        if unknown not in (tokenizer.eos_token_id, tokenizer.pad_token_id) and (batch.input_ids == unknown).any():
            raise DataError(f"The model's vocabulary lacks words of {text!r}.", "The tokenizer is of another model.")
        mask = batch.attention_mask.to(device) if getattr(encoder.config, "use_attention_mask", False) else None
        found[text] = encoder(batch.input_ids.to(device), attention_mask=mask)[0]
    return found


class _Walk(Walk):
    """One batch of requests. Latents are (B, C, h, w) float32, h = S / the VAE's factor; pixels: the films' ROI."""

    def __init__(
        self, parts: Parts, requests: list[EditRequest], told: list[tuple[str, str]], steps: int, device: str
    ) -> None:
        from ..torchbox import torch

        self.parts, self.torch = parts, torch()
        words = embed(parts, [text for pair in told for text in pair], device)
        self.before = self.torch.cat([words[source] for source, _ in told])
        self.after = self.torch.cat([words[target] for _, target in told])
        films = np.stack([r.image for r in requests]).astype(np.float32)[:, None]
        self.films = self.torch.from_numpy(films).to(device)
        self.pixels = self.torch.from_numpy(np.stack([r.roi for r in requests])[:, None]).to(device).float()
        self.source = self._encode(self.films / 127.5 - 1)
        # a latent cell may change if any of its pixels may
        factor = self.films.shape[-1] // self.source.shape[-1]
        self.roi = self.torch.nn.functional.max_pool2d(self.pixels, factor)
        self.guidance = self.torch.tensor([r.guidance for r in requests], device=device)[:, None, None, None]
        parts.scheduler.set_timesteps(steps)
        self.steps = [int(t) for t in parts.scheduler.timesteps]
        self.alpha = [parts.alphas[t] for t in self.steps] + [1.0]
        self.prediction = parts.prediction
        self.noise = self.draw([r.seed for r in requests], device)

    def _encode(self, films: Any) -> Any:
        """(B, 1, S, S) in [-1, 1] → latents: the posterior's mode, so that nothing is drawn."""
        config = self.parts.vae.config
        latents = self.parts.vae.encode(films.repeat(1, config.in_channels, 1, 1)).latent_dist.mode()
        return (latents - (config.shift_factor or 0.0)) * config.scaling_factor

    def _decode(self, latents: Any) -> Any:
        """Latents → (B, 1, S, S) grey films, about [-1, 1]: the mean of the decoder's channels."""
        config = self.parts.vae.config
        films = self.parts.vae.decode(latents / config.scaling_factor + (config.shift_factor or 0.0)).sample
        return films.mean(dim=1, keepdim=True)

    def results(self, final: Any) -> list[EditResult]:
        """Films plus the decoded difference inside the ROI; `drift` is the decoded difference outside it."""
        difference = 127.5 * (self._decode(self.blend(final, self.source)) - self._decode(self.source))
        outside = 1 - self.pixels
        drift = (difference.abs() * outside).sum((1, 2, 3)) / outside.sum((1, 2, 3)).clamp(min=1)
        edited = (self.films + difference * self.pixels).clamp(0, 255)
        return [EditResult(e, d) for e, d in zip(edited[:, 0].float().cpu().numpy(), drift.tolist())]

    def network(self, x: Any, steps: Any, condition: Any, rows: Any) -> Any:
        kind = self.parts.dtype
        return self.parts.unet(x.to(kind), steps, encoder_hidden_states=condition.to(kind)).sample
