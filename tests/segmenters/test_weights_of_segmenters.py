"""The shipped segmenter on phantom and real films, and the one that needs a local file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cars import phantom
from cars.errors import MissingDependency
from cars.imaging import decode, square
from cars.nets.segmenter import SegmenterNet, load, save, to_input, torch
from cars.segmenters import SEGMENTERS, dice
from cars.segmenters.cars_unet import CarsSegmenter


def test_outlines_match_the_phantoms_own_masks() -> None:
    rng = np.random.default_rng(99)
    films = []
    for k in range(16):
        anatomy = phantom.sample_anatomy(rng, "FM"[k % 2], int(rng.integers(20, 90)))
        films.append(phantom.render(phantom.sample_film(rng, anatomy, "PA" if k % 4 else "AP"), 128, masks=False))
    found = CarsSegmenter().load("cpu").masks(np.stack([film.image for film in films]))
    scores = np.array([[dice(found.masks[n, o], films[n].masks[o]) for o in range(3)] for n in range(16)])
    assert scores[:, :2].mean() > 0.95
    assert scores[:, 2].mean() > 0.92
    assert found.trusted.mean() > 0.9


@pytest.mark.parametrize("what", ["lateral", "upside down", "on its side", "inverted"])
def test_films_that_are_no_upright_frontal_chest_are_not_trusted(what: str) -> None:
    rng = np.random.default_rng(17)
    films = []
    for k in range(8):
        anatomy = phantom.sample_anatomy(rng, "FM"[k % 2], 30 + 6 * k)
        spec = phantom.sample_film(rng, anatomy, "LATERAL" if what == "lateral" else "PA")
        films.append(phantom.render(spec, 128, masks=False).image)
    images = np.stack(films)
    if what == "upside down":
        images = images[:, ::-1]
    elif what == "on its side":
        images = np.rot90(images, axes=(1, 2))
    elif what == "inverted":
        images = 255 - images
    found = CarsSegmenter().load("cpu").masks(np.ascontiguousarray(images))
    assert found.trusted.mean() <= 1 / 8


def test_real_films_are_mostly_trusted_and_look_like_chests(open_cxr: Path) -> None:
    """Real films have no truth here: symmetry of areas and a sane cardiothoracic ratio stand in for it."""
    from cars.segmenters import ctr

    paths = sorted((open_cxr / "files").rglob("*.jpg"))[::45]
    found = CarsSegmenter().load("cpu").masks(np.stack([square(decode(path, 128), 128) for path in paths]))
    assert found.trusted.mean() > 0.85
    trusted = found.masks[found.trusted]
    ratio = trusted[:, 0].sum(axis=(1, 2)) / trusted[:, 1].sum(axis=(1, 2))
    assert 0.6 < np.median(ratio) < 1.1  # the left lung is the smaller one
    assert 0.38 < np.median([ctr(masks) for masks in trusted]) < 0.62


def test_weights_survive_a_round_trip_to_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = SegmenterNet().eval()
    save(net, tmp_path, {"steps": 0})
    again, config = load(tmp_path)
    assert config["widths"] == list(net.widths)
    films = np.random.default_rng(0).integers(0, 256, (2, 128, 128), dtype=np.uint8)
    with torch.inference_mode():
        a, b = (torch.sigmoid(n(to_input(films))).numpy() for n in (net, again))
    assert np.abs(a - b).max() < 5e-3
    assert (tmp_path / "model.safetensors").stat().st_size < 800_000


def test_the_revision_is_the_weights_hash(tmp_path: Path) -> None:
    for seed in (0, 1):
        torch.manual_seed(seed)
        save(SegmenterNet(), tmp_path / str(seed), {})
    revisions = {CarsSegmenter(tmp_path / str(seed)).revision for seed in (0, 1)}
    assert len(revisions) == 2
    assert all(len(revision) == 12 for revision in revisions)


def test_missing_weights_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingDependency, match="no segmenter weights"):
        CarsSegmenter(tmp_path).load("cpu")
    monkeypatch.delenv("CARS_XRV_PSPNET", raising=False)
    with pytest.raises(MissingDependency, match="CARS_XRV_PSPNET"):
        SEGMENTERS.get("xrv_pspnet")().load("cpu")
    monkeypatch.setenv("CARS_XRV_PSPNET", str(tmp_path / "absent.pth"))
    with pytest.raises(MissingDependency, match=r"absent\.pth"):
        SEGMENTERS.get("xrv_pspnet")().load("cpu")


def test_pspnet_reads_a_local_file_and_keeps_the_contract(tmp_path: Path) -> None:
    """Random weights of the released architecture and naming: shapes and order, not quality."""
    from cars.errors import DataError
    from cars.torchbox import torch as load_torch

    load_torch()
    from torchxrayvision.baseline_models.chestx_det.ptsemseg.pspnet import pspnet

    torch.manual_seed(0)
    file = tmp_path / "pspnet.pth"
    torch.save({f"module.{name}": value for name, value in pspnet(14).state_dict().items()}, file)
    segmenter = SEGMENTERS.get("xrv_pspnet")(file).load("cpu")
    segmenter.size = 256  # the contract does not hang on the size, and 512 takes seconds a film
    found = segmenter.masks(np.random.default_rng(0).integers(0, 256, (1, 96, 96), dtype=np.uint8))
    assert found.masks.shape == (1, 3, 96, 96)
    assert found.trusted.tolist() == [False]
    torch.save({"something": torch.zeros(1)}, file)
    with pytest.raises(DataError, match="does not hold PSPNet weights"):
        SEGMENTERS.get("xrv_pspnet")(file).load("cpu")


def test_a_verb_takes_a_segmenter_with_a_folder_of_weights(tmp_path: Path) -> None:
    from cars.errors import SettingError
    from cars.synth.models import workspace_segmenter

    torch.manual_seed(1)
    save(SegmenterNet(), tmp_path, {})
    assert workspace_segmenter(f"cars:{tmp_path}", "cpu").revision == CarsSegmenter(tmp_path).revision
    assert workspace_segmenter("cars", "cpu").revision == CarsSegmenter().revision
    loaded = CarsSegmenter()
    assert workspace_segmenter(loaded) is loaded
    with pytest.raises(SettingError, match="chexmask"):
        workspace_segmenter(f"carz:{tmp_path}")
