"""The sampler of the "cars" generator, on a tiny untrained network: what must hold whatever the weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from synth_toys import SIZE, ToyGenerator, ToyJudge, ToySegmenter, film, vector

from cars.generators import composite
from cars.generators.cars_unet import _Walk
from cars.imaging import Placement, square
from cars.schema import FINDINGS
from cars.synth.editing import Models, Source, edit_films
from cars.synth.settings import SynthSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from _plain_walk import PlainGenerator


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
        real = walk.network

        def spy(x, steps, condition, rows):
            seen.extend((walk.steps.index(int(step)), each.clone()) for step, each in zip(steps, x))
            return real(x, steps, condition, rows)

        monkeypatch.setattr(walk, "network", spy)
        walk.inversion(0.0) if mode == "inversion" else walk.inpaint()
        assert {level for level, _ in seen} == set(range(asked.steps))
        outside = walk.roi[0, 0] == 0
        for level, x in seen:
            torch.testing.assert_close(x[:, outside], walk.latent(level)[0][:, outside], atol=1e-3, rtol=0)


def mixed(request_of):
    """Requests of two modes, two numbers of steps, edits and their shams, of films with guidances of their own."""
    asked = [
        request_of(0), request_of(1, mode="inpaint", guidance=1.5), request_of(2, skip=0.5, sex="M"),
        request_of(3, mode="inpaint", steps=3), request_of(4, guidance=1.0, age=None, view="AP"),
        request_of(5, mode="inpaint", vector_from=vector(edema=1), vector_to=vector(edema=0)), request_of(6, steps=3),
    ]  # fmt: skip
    return [each for request in asked for each in (request, request.sham())]


def test_batched_over_films_levels_and_conditions_it_draws_what_the_plain_way_draws(tiny_generator, request_of):
    """All requests at once against one film and one forward pass at a time, by the papers' own formulas."""
    plain = PlainGenerator(tiny_generator.folder).load("cpu")
    asked = mixed(request_of)
    for request, found, wanted in zip(asked, tiny_generator.edit(asked), plain.edit(asked)):
        if tiny_generator.keeps(request):
            np.testing.assert_array_equal(found.edited, request.image)
        else:
            assert np.abs(found.edited - request.image)[request.roi].max() > 1
        np.testing.assert_allclose(found.edited, wanted.edited, atol=0.05)
        np.testing.assert_allclose(found.drift, wanted.drift, atol=0.05)


def forwards(generator, requests, monkeypatch):
    """How many rows each forward pass of the network had."""
    rows = []
    real = generator.net.forward

    def counted(x, *rest):
        rows.append(len(x))
        return real(x, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(generator.net, "forward", counted)
        generator.edit(requests)
    return rows


def test_conditions_films_and_shams_share_their_forward_passes(tiny_generator, request_of, monkeypatch):
    inversions = [request_of(n, steps=6) for n in range(3)]
    # six levels' own latents, four levels a pass; the first step knows the source's answer already
    assert sorted(forwards(tiny_generator, inversions, monkeypatch)) == sorted([12, 6, 3, *[6] * 5])
    assert forwards(tiny_generator, [r.sham() for r in inversions], monkeypatch) == []
    inpaints = [request_of(n, steps=6, mode="inpaint") for n in range(3)]
    both = [each for r in inpaints for each in (r, r.sham())]
    # three edits under two conditions and three shams under one
    assert forwards(tiny_generator, both, monkeypatch) == [9] * 6
    # modes, steps and skips are grouped wherever they stand
    assert sorted(forwards(tiny_generator, [inversions[0], *both, inversions[1]], monkeypatch))[-6:] == [9] * 6


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
    film = rng.integers(100, 140, shape, dtype=np.uint8)  # grain without a line: nothing to take away
    source, edited = square(film, SIZE).astype(float), rng.uniform(0, 255, (SIZE, SIZE))
    weights = np.zeros(shape, np.float32)
    weights[shape[0] // 3 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = 0.7
    place = Placement(*shape, SIZE)
    result = composite(film, source, edited, weights, place)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result[weights == 0], film[weights == 0])
    assert (result[weights > 0] != film[weights > 0]).any()
    wanted = np.clip(np.rint(film + place.to_original(edited - source) * weights), 0, 255)
    np.testing.assert_array_equal(result, wanted)
    np.testing.assert_array_equal(composite(film, source, edited, np.zeros(shape, np.float32), place), film)


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


def test_a_line_that_is_gone_leaves_no_trace_and_other_detail_stays():
    rng = np.random.default_rng(0)
    plain = np.clip(120 + 3 * rng.standard_normal((256, 256)), 0, 255).astype(np.uint8)
    film = plain.copy()
    film[60:200, 129] = 200  # a pleural line, one pixel wide: far below a pixel of 64
    place = Placement(256, 256, 64)
    source, wanted = square(film, 64), square(plain, 64)
    weights = np.zeros((256, 256), np.float32)
    weights[40:220, 100:160] = 1
    made = composite(film, source, wanted.astype(np.float32), weights, place)
    line = np.abs(made[64:196, 129].astype(int) - plain[64:196, 129])
    assert line.mean() < 20  # 80 before the edit, 60 if only the difference were added
    assert np.abs(made.astype(int) - plain)[64:196, 124:135].mean() < 4
    np.testing.assert_array_equal(made[weights == 0], film[weights == 0])
    # where the edit changed little, sharp detail is the film's own
    kept = composite(film, source, np.clip(source + 2.0, 0, 255).astype(np.float32), weights, place)
    np.testing.assert_array_equal(kept[weights > 0], np.clip(film[weights > 0].astype(int) + 2, 0, 255))


@pytest.mark.parametrize(
    ("finding", "hidden"), [("Atelectasis", True), ("Cardiomegaly", True), ("Consolidation", False)]
)
def test_outlines_are_hidden_where_the_finding_moves_them(finding, hidden):
    """Collapse lifts the dome: outlines that the editor sees inside the ROI would tell it to leave the dome there."""
    asked = []

    class Listening(ToyGenerator):
        def edit(self, requests):
            asked.extend(requests)
            return super().edit(requests)

    labels = dict.fromkeys(FINDINGS, 0) | {finding: 1}
    source = Source(film(np.random.default_rng(0), True), labels, {finding: "delete"})
    edit_films([source], Models(Listening(), ToySegmenter(), ToyJudge()), SynthSettings(steps=2))
    assert {r.hide_masks for r in asked} == {hidden}
