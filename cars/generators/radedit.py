"""RadEdit: Microsoft's chest-radiograph model, trained from scratch on MIMIC-CXR, NIH ChestX-ray14 and CheXpert.

Pérez-García et al. 2023, "RadEdit: stress-testing biomedical vision models via diffusion image editing", arXiv
2312.12865. Its release is the UNet alone; autoencoder and text encoder (BioViL-T, arXiv 2301.04558) are published
apart, and the noise schedule stands in its model card. BioViL-T's own code is not run: its body is a plain BERT.
"""

from __future__ import annotations

from . import GENERATORS
from ._folder import Released
from ._latent import LatentGenerator
from ._prompts import RADEDIT

RELEASED = Released(
    name="radedit",
    ask="https://huggingface.co/microsoft/radedit",
    terms="It is for research and development only, not for clinical use, and asks you to agree to that first.",
    layout=(
        "unet/ from microsoft/radedit, vae/ from stabilityai/sdxl-vae, text_encoder/ from microsoft/BiomedVLP-BioViL-T "
        "with its vocabulary"
    ),
    scheduler={
        "num_train_timesteps": 1000,
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "prediction_type": "epsilon",
        "timestep_spacing": "trailing",
        "steps_offset": 1,
    },
    index=False,
)


@GENERATORS.register("radedit")
class RadEdit(LatentGenerator):
    """RadEdit's UNet, SDXL's autoencoder and BioViL-T, at 512 px."""

    licence = "RadEdit's own terms: research and development only, not clinical use"
    released = RELEASED
    style = RADEDIT
    max_tokens = 128
