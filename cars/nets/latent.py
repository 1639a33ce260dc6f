"""The space that an editor's diffusion runs in: the film's own pixels, or the latents of an autoencoder.

At 64 and 128 px the network sees pixels. At 256 px and more it sees the latents of diffusers' AutoencoderKL (Rombach et
al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models", arXiv 2112.10752). Both spaces answer to the
same five methods, so sampler and trainer do not ask which one it is.

An autoencoder loses fine texture. So an edit in latents is not the decoded latent: it is the film plus what the edit
changed, decode(edited) − decode(source). Equal latents give the film itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingDependency
from ..torchbox import torch as load_torch
from ..workspace import atomic_write, write_json

torch = load_torch()

#: Channels of the levels of an autoencoder of our own; each level but the last halves the side.
VAE_WIDTHS = (16, 32, 64, 128)
LATENT_CHANNELS = 4
WEIGHTS = "diffusion_pytorch_model.safetensors"


class Pixels:
    """The film itself. Films are (B, 1, S, S) in [-1, 1]."""

    channels = 1
    factor = 1

    def encode(self, films: Any) -> Any:
        """Films → what is noised and denoised: (B, channels, S / factor, S / factor)."""
        return films

    def cells(self, roi: Any) -> Any:
        """(B, 1, S, S) in {0, 1} → (B, 1, s, s): a cell may change if any of its pixels may."""
        return roi

    def shares(self, masks: Any) -> Any:
        """(B, K, S, S) in [0, 1] → (B, K, s, s): the share of a cell that a mask covers."""
        return masks

    def bounded(self, clean: Any) -> Any:
        """A prediction of the film without noise, kept to what a film can be."""
        return clean.clamp(-1.2, 1.2)

    def film(self, final: Any, source: Any, films: Any, cells: Any) -> Any:
        """The edited film, (B, 1, S, S) in [-1, 1], from where the sampler ended; `source` is encode(films)."""
        return final.clamp(-1, 1)


PIXELS = Pixels()


class Latents:
    """An autoencoder's latents, shifted and scaled to about mean 0 and standard deviation 1.

    vae: diffusers' AutoencoderKL in evaluation mode; its config has scaling_factor and shift_factor.
    """

    def __init__(self, vae: Any) -> None:
        self.vae = vae.eval().requires_grad_(False)
        self.vae.enable_slicing()  # one film at a time: less memory, and no film depends on its neighbours
        self.channels = int(vae.config.latent_channels)
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)

    def encode(self, films: Any) -> Any:
        """As Pixels.encode; the posterior's mode, so that nothing is drawn."""
        config = self.vae.config
        with torch.no_grad(), self._plain(films):
            latents = self.vae.encode(films.float().repeat(1, config.in_channels, 1, 1)).latent_dist.mode()
        return (latents - (config.shift_factor or 0.0)) * config.scaling_factor

    def decode(self, latents: Any) -> Any:
        """Latents → (B, 1, S, S), about [-1, 1]: the mean of the decoder's channels."""
        config = self.vae.config
        with torch.no_grad(), self._plain(latents):
            films = self.vae.decode(latents.float() / config.scaling_factor + (config.shift_factor or 0.0)).sample
        return films.mean(dim=1, keepdim=True)

    def cells(self, roi: Any) -> Any:
        """As Pixels.cells."""
        return torch.nn.functional.max_pool2d(roi, self.factor)

    def shares(self, masks: Any) -> Any:
        """As Pixels.shares."""
        return torch.nn.functional.avg_pool2d(masks, self.factor)

    def bounded(self, clean: Any) -> Any:
        """Latents have no bounds."""
        return clean

    def film(self, final: Any, source: Any, films: Any, cells: Any) -> Any:
        """The film plus the decoded difference that the cells of the ROI make."""
        edited = cells * final + (1 - cells) * source
        return (films + self.decode(edited) - self.decode(source)).clamp(-1, 1)

    def _plain(self, x: Any) -> Any:
        """float32 even inside autocast: an edit is a difference of two decoded films."""
        return torch.autocast(device_type=x.device.type, enabled=False)


def new_vae(widths: tuple[int, ...] = VAE_WIDTHS) -> Any:
    """An untrained AutoencoderKL for grey films, its factor 2 ** (levels − 1). Without attention, so any size fits."""
    from diffusers import AutoencoderKL

    levels = len(widths)
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(widths),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def save_vae(vae: Any, folder: Path, half: bool = True) -> None:
    """Write an autoencoder as diffusers reads it; config.json goes last. half: float16 weights."""
    from safetensors.torch import save as to_bytes

    state = {n: v.detach().cpu().contiguous() for n, v in vae.state_dict().items()}
    with atomic_write(Path(folder) / WEIGHTS) as stream:
        stream.write(to_bytes({n: v.half() if half else v.float() for n, v in state.items()}))
    write_json(Path(folder) / "config.json", json.loads(vae.to_json_string()))


def load_vae(folder: Path, device: str = "cpu") -> Any:
    """The AutoencoderKL of a local folder, or of its subfolder vae/, as float32.

    Raises: MissingDependency when there is none; DataError when it is another network or its weights do not fit.
    """
    from diffusers import AutoencoderKL

    folder = Path(folder)
    folder = folder / "vae" if (folder / "vae" / "config.json").is_file() else folder
    if not (folder / "config.json").is_file():
        raise MissingDependency(
            f"There is no autoencoder in {folder}.", "Name a folder with config.json and weights, or --vae train."
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("_class_name") != "AutoencoderKL" or config.get("in_channels", 3) not in (1, 3):
        raise DataError(
            f"{folder} holds a {config.get('_class_name')} of {config.get('in_channels', 3)} channels.",
            "Expected an AutoencoderKL of 1 or 3 channels.",
        )
    safe = any(folder.glob("*.safetensors"))
    try:
        vae, about = AutoencoderKL.from_pretrained(
            folder, torch_dtype=torch.float32, low_cpu_mem_usage=False, local_files_only=True, use_safetensors=safe,
            output_loading_info=True,
        )  # fmt: skip
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"The autoencoder in {folder} cannot be loaded: {error}", "Get its files anew.") from None
    if about["missing_keys"]:
        raise DataError(f"The autoencoder in {folder} lacks {about['missing_keys'][0]!r}.", "Get its files anew.")
    return vae.to(device)
