"""The network around every backbone: it takes grey levels, normalises them itself, and gives features and logits.

Every consumer passes the same thing, float (B, 1, S, S) in [0, 255], so a backbone's own normalisation and channel
count cannot be got wrong in one place and right in another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import DataError, MissingDependency
from ..torchbox import torch as load_torch

torch = load_torch()

#: Names inside a folder of weights, the first one that exists is read.
FILE_NAMES = ("model.safetensors", "weights.safetensors", "pytorch_model.bin", "model.pth", "model.pt")
#: Beginnings of names that belong to a classifier's head or to its thresholds: left out when a body is loaded.
HEADS = ("head.", "classifier.", "fc.", "AuxLogits.", "op_threshs")


class FilmNet(torch.nn.Module):  # type: ignore[name-defined]  # torch comes through torchbox, which mypy cannot see
    """normalise → body → (B, D) features → dropout → linear head → (B, K) logits.

    body: any module from (B, C, side, side), C = len(mean), to (B, dim).
    side: the size that the body runs at; other sizes are resized, antialiased.
    mean, std: per channel, for grey levels in [0, 1]; a grey film is repeated over the channels.
    num_classes: 0 leaves the head out, and `forward` gives the features.
    dropout: share of the features that training drops before the head; it is where timm's `drop_rate` stands.
    """

    def __init__(
        self, body: Any, dim: int, num_classes: int, side: int, mean: tuple[float, ...], std: tuple[float, ...],
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.body = body
        self.dim = dim
        self.side = side
        self.dropout = torch.nn.Dropout(dropout) if dropout else torch.nn.Identity()
        self.head = torch.nn.Linear(dim, num_classes) if num_classes else torch.nn.Identity()
        # constants of the backbone, not weights: they move with .to(device) but stay out of the state_dict
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def features(self, x: Any) -> Any:
        """float (B, 1, S, S) in [0, 255] → (B, dim)."""
        if x.shape[-1] != self.side or x.shape[-2] != self.side:
            x = torch.nn.functional.interpolate(
                x, (self.side, self.side), mode="bilinear", antialias=True, align_corners=False
            )
        x = (x / 255 - self.mean) / self.std
        return self.body(x.contiguous(memory_format=torch.channels_last))

    def forward(self, x: Any) -> Any:
        """float (B, 1, S, S) in [0, 255] → logits (B, num_classes)."""
        return self.head(self.dropout(self.features(x)))


def weights_file(weights: str | Path) -> Path:
    """The file of weights that a path means: itself, or the first of FILE_NAMES in a folder.

    Raises: MissingDependency when there is none. Nothing is ever downloaded.
    """
    path = Path(weights)
    if path.is_file():
        return path
    found = next((path / name for name in FILE_NAMES if (path / name).is_file()), None)
    if found is None:
        raise MissingDependency(
            f"There are no weights at {str(weights)!r}.",
            f"Give a .safetensors or torch file, or a folder with one of: {', '.join(FILE_NAMES)}. "
            "CARS downloads no weights.",
        )
    return found


def read_state(weights: str | Path) -> dict[str, Any]:
    """name → tensor from a safetensors or torch file; torch files are read with weights_only=True.

    The wrappers that training scripts leave ("state_dict", "model", "module.") and FilmNet's own "body." are taken off.
    Raises: DataError for a file that holds something else than tensors.
    """
    path = weights_file(weights)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        # a damaged file makes the readers raise whatever their parsers stumble over (SafetensorError, IndexError, …)
        raise _unreadable(path, (str(error) or type(error).__name__).splitlines()[0]) from error
    state = _unwrapped(state)
    if not isinstance(state, dict) or not all(torch.is_tensor(value) for value in state.values()):
        raise _unreadable(path, "it holds more than named tensors")
    state = {name.removeprefix("module."): value for name, value in state.items()}
    if any(name.startswith("body.") for name in state):
        state = {name.removeprefix("body."): value for name, value in state.items() if name.startswith("body.")}
    return state


def _unwrapped(content: Any) -> Any:
    """The tensors inside what a training script saved."""
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    return content


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} cannot be read as weights: {why}.",
        "Save it again on the machine that made it: torch.save(model.state_dict(), file), or as safetensors.",
    )


def load_body(body: Any, state: dict[str, Any], source: str | Path) -> None:
    """Put a state into a body. Heads are left out; anything else that is missing or too much is refused.

    Raises: DataError that names the first tensor that does not fit.
    """
    own = body.state_dict()
    extra = [name for name in state if name not in own and not name.startswith(HEADS)]
    # counters that only matter while BatchNorm trains without momentum
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    shapes = [name for name in own if name in state and own[name].shape != state[name].shape]
    for names, what in ((missing, "lacks"), (extra, "has an unknown"), (shapes, "has another shape of")):
        if names:
            raise DataError(
                f"{source} {what} tensor {names[0]!r} ({len(names)} such).", "These weights are of another network."
            )
    body.load_state_dict({name: state[name] for name in own if name in state}, strict=False)
