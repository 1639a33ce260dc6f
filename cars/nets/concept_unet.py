"""The diffusion network of the "cars" editor: a small UNet that denoises a film under a clinical feature vector.

Input channels: the noisy film, the film with the ROI cut out, the ROI, and the outlines of left lung, right lung and
heart. The vector enters by FiLM (Perez et al. 2018, arXiv 1709.07871): the sum of one embedding a token is added to the
time embedding, which scales and shifts every residual block. The network predicts v (Salimans & Ho 2022, arXiv
2202.00512). The first level works on blocks of pixels as channels: 2 × 2 at 64 px, which costs a quarter of the time,
and 4 × 4 at 128 px, where a step then costs a third of what a fourth level would (measured: docs/synthesis.md). At 256
px and more films are latents of an autoencoder (latent.py), and all else is the same.

A saved editor is a folder in the manner of diffusers: model_index.json, scheduler/, unet/ (config and float16
safetensors), vae/ where it edits latents, concepts.safetensors, README.md (the card) and config.json, which is written
last and says that the folder is complete.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, MissingDependency
from ..schema import AGE_BANDS, FINDINGS, SEXES, age_band
from ..torchbox import torch as load_torch
from ..workspace import atomic_write, write_json
from .latent import PIXELS, WEIGHTS, Latents, load_vae, save_vae

torch = load_torch()
nn = torch.nn

#: Channels of the input, in order.
CHANNELS = ("noisy film", "film outside the ROI", "ROI", "left lung", "right lung", "heart")
WIDTHS = (32, 64, 96)
VIEWS = ("PA", "AP", "unknown")
BANDS = (*AGE_BANDS, "unknown")
#: Token → how many values it has. A finding's are: 0 absent, 1 present, 2 unknown.
TOKENS: dict[str, int] = {finding: 3 for finding in FINDINGS} | {
    "view": len(VIEWS),
    "sex": len(SEXES),
    "age band": len(BANDS),
}
UNKNOWN = np.array([count - 1 for count in TOKENS.values()], np.int64)
#: Most cells to a side that the first level works on.
GRID = 32


def encode(vectors: np.ndarray, views: Sequence[str], sexes: Sequence[str], ages: Sequence[float]) -> np.ndarray:
    """Clinical feature vectors as tokens.

    Args:
        vectors: (N, 14) int8 codes of schema.FINDING_VALUES; uncertain and not mentioned both become unknown.
        views, sexes: words of the schema; a view that is not frontal and any other word count as unknown.
        ages: years; None and NaN are unknown.

    Returns: (N, 17) int64, one value per token of TOKENS.
    Raises: DataError for vectors of another shape.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or vectors.shape[1] != len(FINDINGS):
        raise DataError(f"Vectors are (N, {len(FINDINGS)}), not {vectors.shape}.", "Pass all 14 findings in order.")
    tokens = np.tile(UNKNOWN, (len(vectors), 1))
    tokens[:, : len(FINDINGS)] = np.where((vectors == 0) | (vectors == 1), vectors, 2)
    for column, (known, words) in enumerate(
        ((VIEWS, views), (SEXES, sexes), (BANDS, [age_band(a) for a in ages])), len(FINDINGS)
    ):
        tokens[:, column] = [known.index(w) if w in known else len(known) - 1 for w in words]
    return tokens


class ConceptUNet(nn.Module):  # type: ignore[name-defined]  # torch comes through torchbox, which mypy cannot see
    """diffusers' UNet2DModel with the sum of token embeddings as its class embedding.

    size: side of the film in pixels. widths: channels of the levels, multiples of 8.
    codec: the space it works in, latent.Pixels or latent.Latents. block: side of the blocks that become channels; None
    takes `block_of`. Side of the film ÷ the codec's factor ÷ block must be a multiple of 2 ** (levels − 1).
    """

    def __init__(
        self, size: int = 64, widths: tuple[int, ...] = WIDTHS, codec: Any = PIXELS, block: int | None = None
    ) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        self.size, self.widths = size, tuple(widths)
        # no part of the network: an autoencoder is not trained, averaged or counted with it
        self.codec = codec
        self.block = block or block_of(size, codec)
        levels = len(widths)
        grid, left = divmod(size, codec.factor * self.block)
        if left or grid % 2 ** (levels - 1):
            raise DataError(
                f"Films of {size} pixels do not fit {levels} levels on blocks of {codec.factor * self.block} pixels.",
                "Choose a size of 32, 64, 128, 256 or 512.",
            )
        area = self.block**2
        self.unet: Any = UNet2DModel(
            sample_size=grid,
            in_channels=area * (2 * codec.channels + 4),
            out_channels=area * codec.channels,
            layers_per_block=1,
            block_out_channels=self.widths,
            down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
            class_embed_type="identity",
            resnet_time_scale_shift="scale_shift",
            norm_num_groups=8,
            attention_head_dim=16,
        )
        width = 4 * widths[0]
        self.concepts = nn.Embedding(sum(TOKENS.values()), width)
        nn.init.normal_(self.concepts.weight, std=0.2)
        self.mix = nn.Linear(width, width)
        self.register_buffer("offsets", torch.tensor(np.cumsum([0, *TOKENS.values()])[:-1]), persistent=False)

    def forward(self, noisy: Any, steps: Any, tokens: Any, context: Any) -> Any:
        """One prediction of v.

        Args:
            noisy: (B, C, s, s) float, the encoded film at noise level `steps`; C and s = S / factor are the codec's.
            steps: (B,) int64 in [0, 1000).
            tokens: (B, 17) int64 from `encode`.
            context: (B, C + 4, s, s) float from `context_of`.

        Returns: (B, C, s, s) float.
        """
        vector = self.mix(self.concepts(tokens + self.offsets).sum(dim=1))
        x = nn.functional.pixel_unshuffle(torch.cat([noisy, context], dim=1), self.block)
        x = x.contiguous(memory_format=torch.channels_last)
        return nn.functional.pixel_shuffle(self.unet(x, steps, class_labels=vector).sample, self.block)


def block_of(size: int, codec: Any = PIXELS) -> int:
    """Side of the blocks: at least 2 pixels or 1 latent, and so large that the first level has GRID cells a side."""
    least = 2 if codec.factor == 1 else 1
    return max(least, size // codec.factor // GRID)


def context_of(films: Any, roi: Any, masks: Any, hide: Any) -> Any:
    """What the network sees besides the noise.

    Args:
        films: (B, C, s, s) float: films in [-1, 1], or their latents.
        roi: (B, 1, s, s) float, 1 inside.
        masks: (B, 3, s, s) float.
        hide: (B,) bool: where the outlines are cut off inside the ROI. Seen there, they would give away the shape of
            a heart that is to grow.

    Returns: (B, C + 4, s, s) float: film outside the ROI, ROI, three outlines.
    """
    keep = 1 - roi * hide.to(roi.dtype)[:, None, None, None]
    return torch.cat([films * (1 - roi), roi, masks * keep], dim=1)


def scheduler() -> Any:
    """The noise schedule: 1,000 steps, cosine (Nichol & Dhariwal 2021, arXiv 2102.09672), v-prediction."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def save(net: ConceptUNet, folder: Path, card: str, half: bool = True, **config: Any) -> None:
    """Write an editor's folder; config.json goes last, so a folder without it does not count.

    half: float16 weights, for shipping; else float32, to train on from.
    """
    from safetensors.torch import save as to_bytes

    folder = Path(folder)
    groups: dict[str, dict[str, Any]] = {"unet/" + WEIGHTS: {}, "concepts.safetensors": {}}
    for name, value in net.state_dict().items():
        value = value.detach().cpu().contiguous()
        file = "unet/" + WEIGHTS if name.startswith("unet.") else "concepts.safetensors"
        groups[file][name.removeprefix("unet.")] = value.half() if half else value.float()
    for file, tensors in groups.items():
        with atomic_write(folder / file) as stream:
            stream.write(to_bytes(tensors))
    write_json(folder / "unet" / "config.json", json.loads(net.unet.to_json_string()))
    write_json(folder / "scheduler" / "scheduler_config.json", json.loads(scheduler().to_json_string()))
    with atomic_write(folder / "README.md") as stream:
        stream.write(card.encode())
    parts = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDIMScheduler"]}
    if isinstance(net.codec, Latents):
        save_vae(net.codec.vae, folder / "vae", half)
        parts["vae"] = ["diffusers", "AutoencoderKL"]
    version = json.loads(net.unet.to_json_string())["_diffusers_version"]
    write_json(
        folder / "model_index.json", {"_class_name": "ConceptUNet", "_diffusers_version": version, **parts}
    )  # fmt: skip
    write_json(
        folder / "config.json",
        {
            "_class_name": "ConceptUNet",
            **parts,
            "size": net.size,
            "widths": list(net.widths),
            "block": net.block,
            "channels": list(CHANNELS),
            "tokens": {name: count for name, count in TOKENS.items()},
            **config,
        },
    )


def load(folder: Path, device: str = "cpu") -> tuple[ConceptUNet, dict[str, Any]]:
    """The network in evaluation mode and its config.

    Raises: MissingDependency when the folder holds no editor; DataError when it was made for other tokens.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise MissingDependency(
            f"There is no editor in {folder}.", "Train one with `cars train-generator`, or check out data/weights."
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("_class_name") != "ConceptUNet" or config.get("tokens") != TOKENS:
        raise DataError(f"The editor in {folder} knows other concepts than this CARS.", "Train it again.")
    # folders of before had neither block nor latents: they work on 2 × 2 pixels
    codec: Any = Latents(load_vae(folder / "vae", device)) if "vae" in config else PIXELS
    net = ConceptUNet(config["size"], tuple(config["widths"]), codec, config.get("block", 2))
    state = {"unet." + name: value for name, value in load_file(folder / "unet" / WEIGHTS).items()}
    state |= load_file(folder / "concepts.safetensors")
    net.load_state_dict({name: value.float() for name, value in state.items()})
    return net.eval().to(device=device, memory_format=torch.channels_last), config
