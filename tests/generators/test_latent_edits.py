"""Editing in latent space, against diffusers' own pipeline and scheduler and against an oracle network."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tiny_pipelines

from cars.errors import DataError, ResourceError, SettingError
from cars.generators import GENERATORS, MODES
from cars.generators._latent import _Walk, embed
from cars.generators._prompts import prompts
from cars.torchbox import torch


@pytest.fixture(scope="module")
def generator(pipelines):
    return GENERATORS.get("diffusers")(pipelines["clip"]).load("cpu")


def walk_of(generator, requests):
    told = [prompts(r, generator.style) for r in requests]
    return _Walk(generator.parts, requests, told, requests[0].steps, "cpu")


@pytest.mark.parametrize("encoder", ["clip", "bert"])
def test_prompts_are_embedded_as_the_pipeline_does(pipelines, encoder):
    torch()
    from diffusers import StableDiffusionPipeline

    reference = StableDiffusionPipeline.from_pretrained(pipelines[encoder], safety_checker=None)
    generator = GENERATORS.get("diffusers")(pipelines[encoder]).load("cpu")
    # a tokenizer of BERT's that names no length is padded to what the encoder can take
    reference.tokenizer.model_max_length = generator.parts.max_tokens
    text = "PA chest radiograph, 60 year old female. Left pneumothorax."
    wanted, _ = reference.encode_prompt(text, "cpu", 1, False)
    np.testing.assert_allclose(embed(generator.parts, [text], "cpu")[text].numpy(), wanted.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_a_step_is_diffusers_ddim_step_with_eta_one(tmp_path, request_of, prediction, spacing):
    plan = tiny_pipelines.scheduler("DDIMScheduler", prediction, timestep_spacing=spacing)
    generator = GENERATORS.get("diffusers")(tiny_pipelines.pipeline(tmp_path / "p", plan=plan)).load("cpu")
    walk = walk_of(generator, [request_of(steps=5)])
    plan.set_timesteps(5)
    assert walk.steps == [int(t) for t in plan.timesteps]
    x, output, noise = torch().randn(3, 1, 4, 16, 16).unbind(0)
    for level, step in enumerate(walk.steps):
        wanted = plan.step(output, step, x, eta=1.0, variance_noise=noise).prev_sample
        found = walk.mean(x, output, level) + walk.spread(level) * noise
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=2e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_network_that_knows_the_answer_draws_it_in_the_roi_only(tmp_path, request_of, mode, prediction):
    """An oracle sees the film's latent in the source prompt and another one in the target prompt."""
    plan = tiny_pipelines.scheduler("DDIMScheduler", prediction)
    generator = GENERATORS.get("diffusers")(tiny_pipelines.pipeline(tmp_path / "p", plan=plan)).load("cpu")
    walk = walk_of(generator, [request_of(guidance=1.0, steps=6)])
    wanted = walk.source + 1.5
    alphas = generator.parts.alphas

    def oracle(x, steps, encoder_hidden_states):
        a = torch().tensor([alphas[int(t)] for t in steps])[:, None, None, None]
        target = (encoder_hidden_states == walk.after).flatten(1).all(1)[:, None, None, None]
        clean = torch().where(target, wanted, walk.source)
        noise = (x - a**0.5 * clean) / (1 - a) ** 0.5
        return SimpleNamespace(sample=noise if prediction == "epsilon" else a**0.5 * noise - (1 - a) ** 0.5 * clean)

    walk.parts = SimpleNamespace(unet=oracle, dtype=torch().float32)
    final = walk.blend(walk.inversion(0.0) if mode == "inversion" else walk.inpaint(), walk.source)
    inside = walk.roi.bool().expand_as(final)
    np.testing.assert_allclose(final[inside].numpy(), wanted[inside].numpy(), atol=1e-3)
    np.testing.assert_array_equal(final[~inside].numpy(), walk.source[~inside].numpy())


@pytest.mark.parametrize(
    ("kind", "prediction"),
    [("DDIMScheduler", "epsilon"), ("DDPMScheduler", "v_prediction"), ("PNDMScheduler", "epsilon"),
     ("EulerDiscreteScheduler", "v_prediction"), ("DPMSolverMultistepScheduler", "epsilon")],
)  # fmt: skip
def test_a_sham_walks_back_to_the_film_whatever_the_autoencoder_loses(tmp_path, request_of, kind, prediction):
    """Walked in full, not short-cut. The autoencoder is random, so that its own reconstruction is far off."""
    more = {"skip_prk_steps": True} if kind == "PNDMScheduler" else {}
    plan = tiny_pipelines.scheduler(kind, prediction, **more)
    generator = GENERATORS.get("diffusers")(tiny_pipelines.pipeline(tmp_path / "p", plan=plan)).load("cpu")
    sham = request_of(steps=6).sham()
    with torch().inference_mode():
        walk = walk_of(generator, [sham])
        lossy = 127.5 * (walk._decode(walk.source) + 1)
        [walked] = walk.results(walk.inversion(0.0))
    assert np.abs(lossy[0, 0].numpy() - sham.image).mean() > 10
    np.testing.assert_allclose(walked.edited, sham.image, atol=0.05)
    [short] = generator.edit([sham])
    np.testing.assert_array_equal(short.edited, sham.image)
    assert short.drift == 0


def test_equal_latents_give_the_film_itself_to_the_bit(generator, request_of):
    with torch().inference_mode():
        walk = walk_of(generator, [request_of(), request_of(seed=9)])
        results = walk.results(walk.source.clone())
    for result in results:
        np.testing.assert_array_equal(result.edited, request_of().image)
        assert result.drift == 0


def test_without_guidance_an_inversion_follows_the_source_prompt(generator, request_of):
    [kept] = generator.edit([request_of(guidance=0.0)])
    np.testing.assert_allclose(kept.edited, request_of().image, atol=0.05)
    [weak], [strong] = generator.edit([request_of(guidance=0.3)]), generator.edit([request_of(guidance=3.0)])
    change = [np.abs(r.edited - request_of().image).mean() for r in (weak, strong)]
    assert 0.05 < change[0] < change[1]


@pytest.mark.parametrize("mode", MODES)
def test_the_target_and_the_person_matter(generator, request_of, mode):
    asked = [
        request_of(mode=mode),
        request_of({"pneumothorax": 0}, {"pneumothorax": 1, "edema": 1}, mode=mode),
        request_of(mode=mode, sex="M", age=20.0),
    ]
    first, second, third = (r.edited for r in generator.edit(asked))
    assert np.abs(first - second).max() > 0.5
    assert np.abs(first - third).max() > 0.5


def test_mixed_requests_come_back_in_order(generator, request_of):
    asked = [request_of(mode="inpaint"), request_of(), request_of().sham(), request_of(mode="inpaint", steps=3)]
    together = generator.edit(asked)
    for request, result in zip(asked, together):
        np.testing.assert_allclose(result.edited, generator.edit([request])[0].edited, atol=0.05)


def test_a_skipped_start_changes_less(generator, request_of):
    change = [
        np.abs(generator.edit([request_of(steps=10, skip=skip)])[0].edited - request_of().image).mean()
        for skip in (0.0, 0.8)
    ]
    assert change[1] < change[0]


def test_a_grey_autoencoder_works_too(tmp_path, request_of):
    folder = tiny_pipelines.pipeline(tmp_path / "grey", channels=1)
    generator = GENERATORS.get("diffusers")(folder).load("cpu")
    [result] = generator.edit([request_of()])
    assert np.abs(result.edited - request_of().image)[request_of().roi].max() > 0.5


def test_the_size_is_the_folders(tmp_path):
    folder = tiny_pipelines.pipeline(tmp_path / "large", sample=8, levels=4)
    assert GENERATORS.get("roentgen-v2")(folder).load("cpu").size == 8 * 2**3


def test_a_full_device_is_a_resource_error(generator, request_of, monkeypatch):
    def full(*args, **kwargs):
        raise torch().OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(generator.parts.unet, "forward", full)
    with pytest.raises(ResourceError, match="2 edits"):
        generator.edit([request_of(), request_of(seed=1)])


def test_more_steps_than_the_model_has_are_refused(generator, request_of):
    with pytest.raises(SettingError, match="1000"):
        generator.edit([request_of(steps=1001)])


def test_a_prompt_is_refused_rather_than_cut_off(pipelines, request_of):
    generator = GENERATORS.get("diffusers")(pipelines["clip"]).load("cpu")
    generator.parts.max_tokens = 20
    with pytest.raises(SettingError, match="tokens; the model takes 20"):
        generator.edit([request_of()])


def test_words_that_the_vocabulary_lacks_are_refused(radedit_folder):
    generator = GENERATORS.get("radedit")(radedit_folder).load("cpu")
    with pytest.raises(DataError, match="vocabulary lacks"):
        embed(generator.parts, ["Left hippopotamus."], "cpu")


@pytest.mark.parametrize("mode", MODES)
def test_half_precision_networks_draw_nearly_the_same(pipelines, request_of, mode):
    """What a GPU runs: UNet and text encoder in bf16, the sampler and the autoencoder in float32."""
    full = GENERATORS.get("diffusers")(pipelines["clip"]).load("cpu")
    half = GENERATORS.get("diffusers")(pipelines["clip"]).load("cpu")
    half.parts.dtype = torch().bfloat16
    half.parts.unet.to(half.parts.dtype)
    half.parts.text_encoder.to(half.parts.dtype)
    one, other = (g.edit([request_of(mode=mode, guidance=1.0)])[0].edited for g in (full, half))
    assert other.dtype == np.float32
    # a random network's answer to a prompt is weak, so bf16's rounding shows in it; the edit is the same one
    change = [(edited - request_of().image)[request_of().roi] for edited in (one, other)]
    assert np.corrcoef(*change)[0, 1] > 0.9


def test_latents_are_scaled_as_the_autoencoder_says(generator, request_of):
    """Encoded to the UNet's scale and back: the autoencoder's own reconstruction, grey."""
    vae = generator.parts.vae
    with torch().inference_mode():
        walk = walk_of(generator, [request_of()])
        film = (walk.films / 127.5 - 1).repeat(1, 3, 1, 1)
        mode = vae.encode(film).latent_dist.mode()
        np.testing.assert_allclose(walk.source.numpy(), 0.5 * mode.numpy(), atol=1e-6)
        wanted = vae.decode(mode).sample.mean(dim=1, keepdim=True)
        np.testing.assert_allclose(walk._decode(walk.source).numpy(), wanted.numpy(), atol=1e-4)


def test_inpainting_starts_from_noise_alone_inside_and_the_noised_film_outside(generator, request_of, monkeypatch):
    walk = walk_of(generator, [request_of(mode="inpaint")])
    seen = []

    def network(x, steps, condition, rows):
        assert x.shape[0] == 2 == len(condition)  # the source's prompt and the target's, together
        seen.append(x[:1])
        return torch().zeros_like(x)

    monkeypatch.setattr(walk, "network", network)
    walk.inpaint()
    inside = walk.roi.bool().expand_as(seen[0])
    np.testing.assert_array_equal(seen[0][inside].numpy(), walk.noise[0][inside].numpy())
    assert len(seen) == len(walk.steps)
    for level, x in enumerate(seen):
        np.testing.assert_array_equal(x[~inside].numpy(), walk.latent(level)[~inside].numpy())
