"""Any Stable-Diffusion-type pipeline in a local folder: `--generator diffusers:/path/to/folder`.

The folder is what diffusers' `StableDiffusionPipeline.save_pretrained` writes. Nothing is known of what the model was
trained on, so its prompts are plain report sentences; the gates say whether it understood them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TypeVar

from ..errors import MissingDependency
from . import GENERATORS
from ._folder import Layout, check_folder
from ._latent import LatentGenerator
from ._prompts import GENERIC

D = TypeVar("D", bound="DiffusersFolder")


@GENERATORS.register("diffusers")
class DiffusersFolder(LatentGenerator):
    """A pipeline folder of the user's own."""

    licence = "Named in the folder's README.md"
    style = GENERIC

    @cached_property
    def layout(self) -> Layout:
        """The folder, checked. Raises: MissingDependency without a folder, DataError for a wrong one."""
        if not self.folder:
            raise MissingDependency(
                "The generator diffusers needs a folder.",
                "Name a pipeline folder that you have: `--generator diffusers:/path/to/folder`.",
            )
        return check_folder(self.folder)

    def load(self: D, device: str = "auto") -> D:
        """Read the weights, and the licence from the model card."""
        self.licence = self.layout.licence
        return super().load(device)
