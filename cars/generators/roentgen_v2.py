"""RoentGen-v2: Stanford's chest-radiograph model, Stable Diffusion 2.1 fine-tuned on MIMIC-CXR with demographics.

Moroianu et al. 2025, "Improving Performance, Robustness, and Fairness of Radiographic AI Models with
Finely-Controllable Synthetic Data", arXiv 2508.16783. A diffusers pipeline folder; scheduler and prediction type are
read from it.
"""

from __future__ import annotations

from . import GENERATORS
from ._folder import Released
from ._latent import LatentGenerator
from ._prompts import ROENTGEN_V2

RELEASED = Released(
    name="roentgen-v2",
    ask="https://huggingface.co/stanfordmimi/RoentGen-v2",
    terms=(
        "Its terms are those of its model card at the time; it was trained on MIMIC-CXR (access to the first RoentGen "
        "was given to researchers credentialed for that), and starts from Stable Diffusion 2.1 (CreativeML Open "
        "RAIL++-M)."
    ),
    layout="the whole repository as it is: model_index.json, unet/, vae/, text_encoder/, tokenizer/, scheduler/",
)


@GENERATORS.register("roentgen-v2")
class RoentGenV2(LatentGenerator):
    """RoentGen-v2 at 512 px; told age and sex, never a race."""

    licence = "See the model card; based on Stable Diffusion 2.1 (CreativeML Open RAIL++-M)"
    released = RELEASED
    style = ROENTGEN_V2
