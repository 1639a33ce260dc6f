"""Editors in pixels and in latents: what a saved folder holds, the way there and back, and where an edit may reach."""

from __future__ import annotations

import json

import numpy as np
import pytest
from synth_toys import SIZE

from cars.errors import DataError, MissingDependency
from cars.generators.cars_unet import CarsGenerator
from cars.nets import packaged
from cars.nets.concept_unet import ConceptUNet, block_of, context_of, load, torch
from cars.nets.latent import PIXELS, Latents, load_vae, new_vae, save_vae


@pytest.fixture(scope="module")
def latents() -> Latents:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    vae = new_vae((8, 16, 16))
    vae.register_to_config(scaling_factor=2.5, shift_factor=-0.3)
    return Latents(vae)


def test_the_first_level_never_has_more_than_32_cells_a_side(latents):
    eight = Latents(new_vae((8, 8, 8, 8)))
    assert [block_of(size) for size in (32, 64, 128)] == [2, 2, 4]
    assert [block_of(size, eight) for size in (256, 512)] == [1, 2]
    assert (latents.factor, eight.factor) == (4, 8)
    with pytest.raises(DataError, match="96 pixels"):
        ConceptUNet(96, (8, 8, 8), eight, block=8)


@pytest.mark.parametrize(("size", "space"), [(32, "pixels"), (128, "pixels"), (64, "latents"), (128, "latents")])
def test_a_prediction_has_the_shape_of_what_is_noised(latents, size, space):
    codec = PIXELS if space == "pixels" else latents
    net = ConceptUNet(size, (8, 16, 24), codec)
    side = size // codec.factor
    noisy = torch.randn(2, codec.channels, side, side)
    roi, masks = torch.ones(2, 1, side, side), torch.zeros(2, 3, side, side)
    context = context_of(noisy, roi, masks, torch.tensor([True, False]))
    assert net(noisy, torch.tensor([3, 900]), torch.zeros(2, 17, dtype=torch.long), context).shape == noisy.shape
    # an autoencoder is no part of the network: it is neither trained nor averaged with it
    assert not [name for name, _ in net.named_parameters() if "vae" in name]


def test_latents_are_shifted_and_scaled_and_come_back(latents):
    films = torch.rand(2, 1, 32, 32) * 2 - 1
    codes = latents.encode(films)
    assert codes.shape == (2, 4, 8, 8)
    with torch.no_grad():
        own = latents.vae.encode(films).latent_dist.mode()
        torch.testing.assert_close(codes, (own + 0.3) * 2.5, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(latents.decode(codes), latents.vae.decode(own).sample, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(latents.encode(films[1:]), codes[1:], atol=1e-5, rtol=1e-4)  # whatever the batch


def test_a_cell_may_change_if_any_of_its_pixels_may(latents):
    roi = torch.zeros(1, 1, 16, 16)
    roi[0, 0, 5, 11] = 1
    cells = latents.cells(roi)
    assert cells.nonzero().tolist() == [[0, 0, 1, 2]]
    assert latents.shares(roi)[0, 0, 1, 2] == 1 / 16


def test_equal_latents_give_the_film_itself(latents):
    films = torch.rand(1, 1, 32, 32) * 2 - 1
    source = latents.encode(films)
    cells = torch.zeros(1, 1, 8, 8)
    cells[..., :4, :4] = 1
    torch.testing.assert_close(latents.film(source.clone(), source, films, cells), films, atol=1e-5, rtol=0)
    # what the sampler left outside the cells never reaches the film
    away = torch.where(cells.bool(), source, source + 5)
    torch.testing.assert_close(latents.film(away, source, films, cells), films, atol=1e-5, rtol=0)
    assert (latents.film(source + 5, source, films, cells) - films).abs().max() > 0.01


# The saved folder ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tiny_editor", "latent_editor"])
def test_each_part_loads_with_diffusers_own_loader(request, kind):
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DModel

    folder = request.getfixturevalue(kind)
    net, _ = load(folder)
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    assert {k for k, v in index.items() if isinstance(v, list)} == {"unet", "scheduler"} | (
        {"vae"} if kind == "latent_editor" else set()
    )
    unet = UNet2DModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False)
    own = net.unet.state_dict()
    assert unet.state_dict().keys() == own.keys()
    assert all(torch.equal(value, own[name]) for name, value in unet.state_dict().items())
    side, channels = unet.config.sample_size, unet.config.in_channels
    given = torch.randn(1, channels, side, side), torch.tensor([500]), torch.zeros(1, 32)
    with torch.no_grad():
        torch.testing.assert_close(unet(given[0], given[1], given[2]).sample, net.unet(*given).sample)
    assert DDIMScheduler.from_pretrained(folder / "scheduler").config.prediction_type == "v_prediction"
    if kind == "latent_editor":
        vae = AutoencoderKL.from_pretrained(folder / "vae", low_cpu_mem_usage=False)
        assert (vae.config.scaling_factor, vae.config.shift_factor) == (1.7, 0.2)
        film = torch.rand(1, 1, SIZE, SIZE)
        with torch.no_grad():
            expected = (vae.encode(film).latent_dist.mode() - 0.2) * 1.7
        torch.testing.assert_close(net.codec.encode(film), expected)


def test_a_folder_of_before_still_loads(tiny_editor, tmp_path):
    """config.json without block, no model_index.json: what earlier versions wrote, the packaged editor among them."""
    import shutil

    folder = shutil.copytree(tiny_editor, tmp_path / "old")
    (folder / "model_index.json").unlink()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["block"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    old, new = load(folder)[0], load(tiny_editor)[0]
    assert old.block == 2
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters()))
    assert load(packaged("editor"))[0].size == 64


def test_the_revision_names_the_autoencoder_too(latent_editor, tmp_path):
    import shutil

    folder = shutil.copytree(latent_editor, tmp_path / "other")
    assert CarsGenerator(folder).revision == CarsGenerator(latent_editor).revision
    vae = load_vae(folder)
    with torch.no_grad():
        next(vae.parameters()).add_(1)
    save_vae(vae, folder / "vae", half=False)
    assert CarsGenerator(folder).revision != CarsGenerator(latent_editor).revision


def test_another_network_is_no_autoencoder(tiny_editor, tmp_path):
    with pytest.raises(DataError, match="UNet2DModel"):
        load_vae(tiny_editor / "unet")
    with pytest.raises(MissingDependency, match="no autoencoder"):
        load_vae(tmp_path)
    save_vae(new_vae((8, 8)), tmp_path / "vae")
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"not weights")
    with pytest.raises(DataError, match="cannot be loaded"):
        load_vae(tmp_path)


# Edits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["inversion", "inpaint"])
def test_an_edit_in_latents_leaves_every_pixel_outside_the_roi(latent_editor, request_of, mode):
    generator = CarsGenerator(latent_editor).load("cpu")
    asked = request_of(mode=mode, steps=3)
    [result], [again] = generator.edit([asked]), generator.edit([request_of(seed=4), asked])[1:]
    np.testing.assert_array_equal(result.edited[~asked.roi], asked.image[~asked.roi])
    assert np.abs(result.edited - asked.image)[asked.roi].mean() > 0.1
    assert 0 < result.drift < 60  # the decoder reaches beyond the cells
    np.testing.assert_allclose(result.edited, again.edited, atol=0.05)
