"""Small things that the tests of editing share: a tiny random editor, and requests on a drawn thorax."""

from __future__ import annotations

import numpy as np
import pytest
from synth_toys import SIZE, thorax, vector

from cars.generators import EditRequest


@pytest.fixture(scope="session")
def tiny_editor(tmp_path_factory):
    """The folder of an untrained editor at 32 pixels; its output layer is not zero, so that it changes something."""
    from cars.nets.concept_unet import ConceptUNet, save, torch

    torch.set_num_threads(1)
    torch.manual_seed(5)
    net = ConceptUNet(SIZE, (8, 16, 24))
    folder = tmp_path_factory.mktemp("editor")
    save(net, folder, "untrained", half=False)
    return folder


@pytest.fixture(scope="session")
def latent_editor(tmp_path_factory):
    """The same in the latents of an untrained autoencoder that halves the side."""
    from cars.nets.concept_unet import ConceptUNet, save, torch
    from cars.nets.latent import Latents, new_vae

    torch.set_num_threads(1)
    torch.manual_seed(6)
    vae = new_vae((8, 16))
    vae.register_to_config(scaling_factor=1.7, shift_factor=0.2)
    folder = tmp_path_factory.mktemp("latent-editor")
    save(ConceptUNet(SIZE, (8, 16, 24), Latents(vae)), folder, "untrained", half=False)
    return folder


@pytest.fixture(scope="session", params=["tiny_editor", "latent_editor"])
def tiny_generator(request):
    from cars.generators.cars_unet import CarsGenerator

    return CarsGenerator(request.getfixturevalue(request.param)).load("cpu")


@pytest.fixture
def request_of():
    def make(seed: int = 0, **changes) -> EditRequest:
        masks = thorax()
        rng = np.random.default_rng(100 + seed)
        image = np.clip(120 - 70 * masks[:2].any(0) + rng.normal(0, 8, (SIZE, SIZE)), 0, 255).astype(np.uint8)
        roi = masks[0]
        given = {
            "image": image, "roi": roi, "masks": masks, "vector_from": vector(pneumothorax=0),
            "vector_to": vector(pneumothorax=1), "view": "PA", "sex": "F", "age": 50.0, "seed": seed, "steps": 6,
        }  # fmt: skip
        return EditRequest(**{**given, **changes})

    return make
