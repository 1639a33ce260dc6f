"""What backbones share: weights from local files only, a revision, features of films, and a classifier to fine-tune."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..errors import DataError, SettingError
from ..torchbox import device as choose_device
from ..torchbox import torch as load_torch
from . import RANDOM

#: ImageNet's mean and standard deviation, per channel of values in [0, 1].
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone:
    """Films → feature vectors. A subclass states the class attributes and gives `body`.

    name: as registered. dim: length D of a feature vector. size: default side of the films in pixels.
    mean, std: the normalisation, one value per input channel, of grey levels in [0, 1].
    multiple, least: the body runs at the next multiple of `multiple` that is at least `least`.

    Args:
        weights: a safetensors or torch file or a folder with one, "random", or None: what comes with the backbone
            (`packaged`), and seeded random weights where nothing does. Nothing is ever downloaded.
        size: side of the films in pixels.
        seed: of random weights.
    """

    name: ClassVar[str] = ""
    dim: ClassVar[int] = 0
    size: int = 224
    mean: ClassVar[tuple[float, ...]] = IMAGENET_MEAN
    std: ClassVar[tuple[float, ...]] = IMAGENET_STD
    multiple: ClassVar[int] = 32
    least: ClassVar[int] = 32

    def __init__(self, weights: str | Path | None = None, size: int | None = None, seed: int = 0) -> None:
        self.weights = weights
        self.size = size or type(self).size
        self.seed = seed
        self.device = "cpu"
        self.net: Any = None

    # For subclasses ----------------------------------------------------------------------------------------------

    @classmethod
    def body(cls, side: int) -> Any:
        """A new torch module, float (B, C, side, side) normalised → (B, dim), with random weights."""
        raise NotImplementedError(f"{cls.__name__} has no body")

    @classmethod
    def packaged(cls) -> Path | None:
        """The file of the weights that come with this backbone, or None. May raise MissingDependency."""
        return None

    @classmethod
    def translate(cls, state: dict[str, Any], body: Any) -> dict[str, Any]:
        """The names (and sizes) of a file's tensors, as `body` wants them."""
        return state

    # For everybody -----------------------------------------------------------------------------------------------

    @classmethod
    def side_of(cls, size: int) -> int:
        """The side that the body runs at for films of `size` pixels: films are resized where it differs."""
        return max(cls.least, -(-size // cls.multiple) * cls.multiple)

    @classmethod
    def source(cls, weights: str | Path | None) -> Path | None:
        """The file that `weights` means, None for random weights. Raises: MissingDependency when it is not there."""
        if weights == RANDOM:
            return None
        if weights is None:
            return cls.packaged()
        from ..nets.encoder import weights_file

        return weights_file(weights)

    @classmethod
    def build(
        cls, num_classes: int, weights: str | Path | None = None, in_size: int | None = None, seed: int = 0,
        dropout: float = 0.0,
    ) -> Any:  # fmt: skip
        """A torch module (nets.encoder.FilmNet) to train: float (B, 1, S, S) in [0, 255] → logits (B, num_classes).

        It normalises inside and has `.features(x)` → (B, dim). Random weights, the head's included, follow from `seed`
        alone; torch's own generator is left as it was. dropout: the share of the features that are dropped before the
        head in training mode.

        Raises: MissingDependency (no such file), DataError (weights of another network), SettingError (a bad size).
        """
        in_size = in_size or cls.size
        if in_size < 16:
            raise SettingError(f"in_size = {in_size} is too small for {cls.name}.", "Use 64 pixels or more.")
        torch = load_torch()
        from ..nets.encoder import FilmNet, load_body, read_state

        file, side = cls.source(weights), cls.side_of(in_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body = cls.body(side)
            net = FilmNet(body, cls.dim, num_classes, side, cls.mean, cls.std, dropout)
        if file is not None:
            load_body(body, cls.translate(read_state(file), body), file)
        return net.to(memory_format=torch.channels_last)

    @cached_property
    def revision(self) -> str:
        """Which weights: the first 12 hex digits of the file's SHA-256, or "random-seed0"."""
        from ..provenance import file_digest

        file = self.source(self.weights)
        return f"random-seed{self.seed}" if file is None else file_digest(file, 12)

    @property
    def label(self) -> str:
        """What figures write: the name, and which weights; random ones are never hidden."""
        return f"{self.name} ({self.revision.replace('-', ' weights, ', 1)})"

    def load(self, device: str = "auto") -> Backbone:
        """Make the network and put it on `device`; returns itself."""
        self.device = choose_device(device)
        self.net = self.build(0, self.weights, self.size, self.seed).eval().to(self.device)
        return self

    def embed(self, images: np.ndarray) -> np.ndarray:
        """uint8 (B, S, S) → float32 (B, dim). A film's vector does not depend on the others of its batch.

        Raises: DataError for another type or shape.
        """
        if images.dtype != np.uint8 or images.ndim != 3:
            raise DataError(
                f"A backbone takes uint8 (B, S, S), not {images.dtype} {images.shape}.", "Use imaging.square first."
            )
        if not len(images):
            return np.zeros((0, self.dim), np.float32)
        if self.net is None:
            self.load()
        torch = load_torch()
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).float()[:, None]
            # one film alone would take other kernels than a batch of them: float32 keeps the difference below 1e-4
            return self.net.features(x).float().cpu().numpy()
