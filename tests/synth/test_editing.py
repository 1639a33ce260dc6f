"""The sampler of the "cars" generator, on a tiny untrained network: what must hold whatever the weights."""

from __future__ import annotations

import numpy as np
import pytest
from synth_toys import SIZE, vector

from cars.generators import composite
from cars.generators.cars_unet import _Walk
from cars.imaging import Placement


@pytest.mark.parametrize("guidance", [0.0, 3.0])
def test_inversion_gives_the_source_back_under_an_unchanged_vector(tiny_generator, request_of, guidance):
    asked = request_of(guidance=guidance).sham()
    # the walk itself, not the generator's short cut
    from cars.nets.concept_unet import torch

    with torch.inference_mode():
        walk = _Walk(tiny_generator.net, [asked], asked.steps, "cpu")
        [result] = walk.results(walk.inversion(0.0))
    assert np.abs(result.edited - asked.image).max() < 0.05
    assert result.drift < 0.05
    [short] = tiny_generator.edit([asked])
    np.testing.assert_array_equal(short.edited, asked.image.astype(np.float32))


def test_inversion_without_guidance_gives_the_source_back_under_any_vector(tiny_generator, request_of):
    asked = request_of(guidance=0.0)
    [result] = tiny_generator.edit([asked])
    assert np.abs(result.edited - asked.image).max() < 0.05


def test_a_changed_vector_changes_the_roi(tiny_generator, request_of):
    for mode in ("inversion", "inpaint"):
        [result] = tiny_generator.edit([request_of(mode=mode)])
        assert np.abs(result.edited - request_of().image)[request_of().roi].mean() > 0.5


def test_an_inpainting_sham_redraws_the_roi(tiny_generator, request_of):
    [result] = tiny_generator.edit([request_of(mode="inpaint").sham()])
    assert np.abs(result.edited - request_of().image)[request_of().roi].mean() > 0.5


@pytest.mark.parametrize("mode", ["inversion", "inpaint"])
def test_outside_the_roi_each_latent_is_the_sources_own(tiny_generator, request_of, monkeypatch, mode):
    """What the network is shown at a level must be, outside the ROI, the source noised to that level."""
    from cars.nets.concept_unet import torch

    asked = request_of(mode=mode)
    with torch.inference_mode():
        walk = _Walk(tiny_generator.net, [asked], asked.steps, "cpu")
        seen = []
        real = walk._v

        def spy(x, level, tokens):
            seen.append((level, x.clone()))
            return real(x, level, tokens)

        monkeypatch.setattr(walk, "_v", spy)
        walk.inversion(0.0) if mode == "inversion" else walk.inpaint()
        assert {level for level, _ in seen} == set(range(asked.steps))
        outside = walk.roi[0, 0] == 0
        for level, x in seen:
            # at the noisiest level there is nothing but noise
            expected = walk._latent(level)
            torch.testing.assert_close(x[0, 0][outside], expected[0, 0][outside], atol=1e-3, rtol=0)


def test_hidden_outlines_do_not_reach_the_network(tiny_generator, request_of):
    """With outlines hidden, two hearts that differ only inside the ROI give the same edit."""
    asked = request_of()
    other = asked.masks.copy()
    other[2] = asked.roi
    roi = asked.roi | asked.masks[2]

    def edits(hide: bool) -> list[np.ndarray]:
        requests = [request_of(masks=m, roi=roi, hide_masks=hide) for m in (asked.masks, other)]
        return [result.edited for result in tiny_generator.edit(requests)]

    np.testing.assert_allclose(*edits(hide=True), atol=1e-3)
    shown = edits(hide=False)
    assert np.abs(shown[0] - shown[1]).max() > 0.01


@pytest.mark.parametrize("shape", [(90, 120), (120, 90), (64, 64), (20, 31)])
def test_composite_leaves_every_pixel_without_weight_as_it_was(shape):
    rng = np.random.default_rng(1)
    film = rng.integers(0, 256, shape, dtype=np.uint8)
    source, edited = rng.uniform(0, 255, (2, SIZE, SIZE))
    weights = np.zeros(shape, np.float32)
    weights[shape[0] // 3 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = 0.7
    place = Placement(*shape, SIZE)
    result = composite(film, source, edited, weights, place)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result[weights == 0], film[weights == 0])
    assert (result[weights > 0] != film[weights > 0]).any()


def test_composite_adds_the_difference_at_full_weight():
    film = np.full((64, 64), 100, np.uint8)
    source = np.full((SIZE, SIZE), 40.0)
    result = composite(film, source, source + 25, np.ones((64, 64), np.float32), Placement(64, 64, SIZE))
    np.testing.assert_array_equal(result, 125)


def test_tokens_tell_absent_present_and_unknown_apart():
    from cars.nets.concept_unet import TOKENS, UNKNOWN, encode

    codes = np.stack([vector(edema=value) for value in (0, 1, -1, -2)])
    ages = [30.0, 85.0, float("nan"), None]
    tokens = encode(codes, ["PA", "AP", "lateral", "unknown"], ["F", "M", "unknown", "?"], ages)
    edema = list(TOKENS).index("Edema")
    assert tokens[:, edema].tolist() == [0, 1, 2, 2]
    assert tokens[:, -3].tolist() == [0, 1, 2, 2]
    assert tokens[2].tolist() == UNKNOWN.tolist()
