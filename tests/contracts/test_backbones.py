"""What every registered backbone promises; a new one is tested as soon as its file exists."""

from __future__ import annotations

import numpy as np
import pytest

from cars.backbones import BACKBONES, RANDOM
from cars.errors import DataError, MissingDependency
from cars.torchbox import torch as load_torch

SIZE = 64


@pytest.fixture(scope="module", params=BACKBONES.names())
def backbone(request):
    return BACKBONES.get(request.param)(weights=RANDOM, size=SIZE).load("cpu")


@pytest.fixture(scope="module")
def films():
    return np.random.default_rng(5).integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)


@pytest.fixture(scope="module")
def classifier(backbone):
    """The same body with a head of 14, to train."""
    return type(backbone).build(14, RANDOM, SIZE, seed=0)


@pytest.fixture(scope="module")
def vectors(backbone, films):
    return backbone.embed(films)


def test_says_what_it_is(backbone):
    assert BACKBONES.get(backbone.name) is type(backbone)
    assert type(backbone).size >= 32
    assert len(backbone.mean) == len(backbone.std) in (1, 3)
    assert backbone.__doc__


def test_gives_float32_vectors_of_its_dim(backbone, vectors, films):
    assert vectors.shape == (len(films), backbone.dim)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert backbone.embed(films[:0]).shape == (0, backbone.dim)


def test_a_vector_does_not_depend_on_its_batch(backbone, vectors, films):
    alone = np.concatenate([backbone.embed(film[None]) for film in films])
    np.testing.assert_allclose(alone, vectors, atol=1e-4 * max(1.0, float(np.abs(vectors).max())))


def test_different_films_have_different_vectors(vectors):
    gap = np.linalg.norm(vectors[0] - vectors[1]) / np.linalg.norm(vectors[0])
    assert gap > 1e-4


def test_the_order_of_films_moves_with_them(backbone, vectors, films):
    np.testing.assert_allclose(backbone.embed(films[::-1]), vectors[::-1], rtol=1e-3, atol=1e-4)


def test_random_weights_follow_from_the_seed_and_are_called_random(backbone, classifier):
    torch = load_torch()
    state = torch.random.get_rng_state()
    other = type(backbone).build(0, RANDOM, SIZE, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random numbers are left alone"
    own = next(iter(backbone.net.parameters()))
    assert torch.equal(own, next(iter(classifier.parameters())))
    assert not torch.equal(own, next(iter(other.parameters())))
    assert backbone.revision == "random-seed0"
    assert "random" in backbone.label


def test_weights_from_a_file_are_the_weights_that_run(backbone, classifier, films, vectors, tmp_path):
    from safetensors.torch import save_file

    state = {name: value.contiguous() for name, value in classifier.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    again = type(backbone)(weights=str(tmp_path), size=SIZE, seed=9)
    np.testing.assert_allclose(again.embed(films), vectors, rtol=1e-3, atol=1e-4)
    assert again.revision != backbone.revision
    assert "random" not in again.label


def test_refuses_weights_of_another_network_and_missing_ones(backbone, tmp_path):
    from safetensors.torch import save_file

    save_file({"other": load_torch().zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="tensor"):
        type(backbone)(weights=tmp_path, size=SIZE).load("cpu")
    with pytest.raises(MissingDependency, match="nowhere"):
        type(backbone)(weights=tmp_path / "nowhere").load("cpu")


def test_refuses_films_that_are_not_uint8(backbone):
    with pytest.raises(DataError, match="float32"):
        backbone.embed(np.zeros((1, SIZE, SIZE), np.float32))


def test_builds_a_classifier_that_learns(backbone, classifier, films):
    torch = load_torch()
    net = classifier.train()  # moves BatchNorm's statistics, so this test is the last one of the file
    x = torch.from_numpy(films).float()[:, None]
    assert net.features(x).shape == (len(films), backbone.dim)
    logits = net(x)
    assert logits.shape == (len(films), 14)
    logits.square().mean().backward()
    first = next(p for name, p in net.named_parameters() if name.startswith("body."))
    assert first.grad is not None
    assert float(first.grad.abs().sum()) > 0
