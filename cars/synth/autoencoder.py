"""The autoencoder of an editor in latents: trained on the workspace's train films, or read from a folder.

Loss: mean absolute error plus a small Kullback-Leibler term (Kingma & Welling 2014, "Auto-Encoding Variational Bayes",
arXiv 1312.6114) on random crops. There is no perceptual or adversarial term, so decoded films are smooth; an edit takes
only their difference, and the film's own texture stays (nets/latent.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..progress import Progress, silent
from ..provenance import file_digest
from ..workspace import Workspace, atomic_write
from .data import refuse_other_splits
from .loop import Budget, Loop

#: Side of the crops that it learns from, pixels, and weight of the Kullback-Leibler term.
CROP, KL = 64, 1e-4
BATCH, RATE = 16, 1e-3
#: Films whose latents lie in one file.
SHARD = 512


@dataclass(frozen=True)
class Films:
    """Films of train patients at the editor's size. cache: FilmCache; ids, subject_id: (N,) str."""

    cache: Any
    ids: np.ndarray
    subject_id: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> int:
        """Side of the films, pixels."""
        return int(self.cache.size)

    def images(self, rows: Any) -> np.ndarray:
        """uint8 (n, S, S)."""
        return self.cache.images(self.ids[rows].tolist())


@dataclass
class VaeTrainer(Loop):
    """An AutoencoderKL in training. net: the autoencoder. data: Films, or anything with len, size and images(rows)."""

    name = "the autoencoder"

    def draw(self) -> tuple[Any, ...]:
        from ..torchbox import torch as load_torch

        torch, rng = load_torch(), np.random.default_rng([self.seed, self.step, 1])
        films = self.data.images(rng.integers(len(self.data), size=self.batch))
        side = min(CROP, films.shape[-1])
        y, x = rng.integers(films.shape[-1] - side + 1, size=(2, self.batch))
        crops = np.stack([f[j : j + side, i : i + side] for f, j, i in zip(films, y, x)]).astype(np.float32)
        turned = rng.random(self.batch) < 0.5
        crops[turned] = crops[turned, :, ::-1]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        small = side // 2 ** (len(self.net.config.block_out_channels) - 1)
        noise = torch.randn((self.batch, self.net.config.latent_channels, small, small), generator=generator)
        return torch.from_numpy(crops)[:, None] / 127.5 - 1, noise

    def errors(self, *rows: Any) -> Any:
        films, noise = rows
        seen = self.net.encode(films).latent_dist
        decoded = self.net.decode(seen.mean + seen.std * noise).sample
        divergence = 0.5 * (seen.mean.float() ** 2 + seen.var.float() - 1 - seen.logvar.float())
        return (decoded.float() - films).abs().mean((1, 2, 3)) + KL * divergence.mean((1, 2, 3))


def train_vae(
    workspace: Workspace,
    films: Films,
    budget: Budget,
    checkpoint: Path,
    seed: int = 0,
    device: str = "cpu",
    micro: int = 0,
    progress: Progress = silent,
) -> Any:
    """An autoencoder trained on these films, its latents' mean and spread in its config (shift and scaling factor).

    Returns: the averaged network in evaluation mode. Raises: DataError when a patient has a film outside train.
    """
    from ..nets.latent import new_vae
    from ..torchbox import torch as load_torch

    refuse_other_splits(workspace, sorted(set(films.subject_id.tolist())))
    torch = load_torch()
    torch.manual_seed(seed)
    trainer = VaeTrainer(new_vae(), films, BATCH, RATE, seed, device, micro)
    if checkpoint.exists():
        trainer.restore(checkpoint)
    trainer.run(budget, checkpoint, progress)
    scaled(trainer.ema, films, trainer.device)
    return trainer.ema


def scaled(vae: Any, films: Any, device: str, most: int = 64) -> None:
    """Set scaling and shift factor, so that latents have about mean 0 and standard deviation 1."""
    from ..nets.latent import Latents

    vae.register_to_config(scaling_factor=1.0, shift_factor=0.0)
    codec = Latents(vae)
    rows = np.random.default_rng(0).permutation(len(films))[:most]
    values = np.concatenate([encoded(codec, films.images(rows[k : k + 8]), device) for k in range(0, len(rows), 8)])
    spread = float(values.std())
    if not np.isfinite(spread) or spread < 1e-6:
        raise DataError("The autoencoder tells no film from another.", "Train it longer: --vae-minutes.")
    vae.register_to_config(scaling_factor=1 / spread, shift_factor=float(values.mean()))


def encoded(codec: Any, images: np.ndarray, device: str) -> np.ndarray:
    """uint8 (n, S, S) → float32 latents (n, C, s, s)."""
    from ..torchbox import torch as load_torch

    films = load_torch().from_numpy(images.astype(np.float32))[:, None] / 127.5 - 1
    return codec.encode(films.to(device)).cpu().numpy()


def latents_of(
    codec: Any, films: Films, folder: Path, device: str, progress: Progress = silent, rank: int = 0, world: int = 1
) -> None:
    """Write the latents of all films, float16, in shards; those that are there stay. A process makes each world-th."""
    for number, start in enumerate(range(0, len(films), SHARD)):
        path = folder / f"{number:05d}.npy"
        if number % world != rank or path.exists():
            continue
        rows = np.arange(start, min(start + SHARD, len(films)))
        made = []
        for k in range(0, len(rows), 8):
            progress(start + k, len(films), "films into latents")
            made.append(encoded(codec, films.images(rows[k : k + 8]), device).astype(np.float16))
        with atomic_write(path) as stream:
            np.save(stream, np.concatenate(made))


def read_latents(folder: Path, films: int) -> np.ndarray:
    """(N, C, s, s) float16, as `latents_of` wrote them. Raises: DataError when shards are missing."""
    shards = sorted(folder.glob("*.npy"))
    latents = np.concatenate([np.load(path, allow_pickle=False) for path in shards]) if shards else np.zeros(0)
    if len(latents) != films:
        raise DataError(f"{folder} holds the latents of {len(latents)} films, not {films}.", "Delete that folder.")
    return latents


def revision(folder: Path) -> str:
    """12 hex digits of the weights of an autoencoder's folder, or of its subfolder vae/; "" without safetensors."""
    files = [f for place in (folder, folder / "vae") for f in sorted(place.glob("*.safetensors"))]
    return file_digest(files[0], 12) if files else ""
