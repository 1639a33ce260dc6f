import pytest

from cars.backbones import BACKBONES
from cars.datasets import DATASETS
from cars.errors import SettingError
from cars.registry import Registry


def test_names_objects_and_wrong_names():
    registry = Registry("toy", "cars.datasets")
    registry._discovered = True
    thing = object()
    registry.register("alpha")(thing)
    assert registry.get("alpha") is thing
    assert registry.get("alpha:/a/folder") is thing
    assert registry.get(thing) is thing
    with pytest.raises(SettingError, match=r"no toy called 'alhpa'.*Did you mean 'alpha'.*alpha"):
        registry.get("alhpa")
    with pytest.raises(SettingError, match="Two toys"):
        registry.register("alpha")(object())


def test_the_registered_plug_ins():
    assert {"mimic-cxr-jpg", "folder", "xrv", "phantom"} <= set(DATASETS.names())
    seven = {
        "densenet121", "resnet50", "inception_v3", "efficientnet_b0", "convnext_tiny", "vit_small_patch16_224",
        "swin_tiny_patch4_window7_224",
    }  # fmt: skip
    assert seven | {"efficientnet_lite0", "xrv_densenet121"} <= set(BACKBONES.names())
