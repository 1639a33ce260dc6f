"""Every registered generator keeps the contract of cars/generators: a new one is tested on arrival."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_pipelines

from cars.errors import CarsError, DataError, MissingDependency, SettingError
from cars.generators import GENERATORS, MODES, EditRequest, modes_of
from cars.schema import FINDINGS

pytestmark = pytest.mark.parametrize("name", GENERATORS.names())


#: Generators whose weights no project may carry: small random ones of the same classes, by name.
RANDOM: dict[str, Path] = {}


@pytest.fixture(scope="module", autouse=True)
def random_weights(tmp_path_factory):
    root = tmp_path_factory.mktemp("released")
    RANDOM["radedit"] = tiny_pipelines.radedit(root / "radedit")
    RANDOM["diffusers"] = RANDOM["roentgen-v2"] = tiny_pipelines.pipeline(root / "pipeline")


def loaded(name: str):
    try:
        return GENERATORS.get(name)(*filter(None, [RANDOM.get(name)])).load("cpu")
    except MissingDependency as error:
        if name == "cars" or name in RANDOM:  # these weights are here: their absence is a failure
            raise
        pytest.skip(f"{name}: {error.message} {error.hint}")


def request(size: int, **changes) -> EditRequest:
    y, x = np.mgrid[:size, :size] / size
    masks = np.stack([abs(x - c) < 0.14 for c in (0.7, 0.3, 0.5)]) & (abs(y - 0.5) < 0.3)
    rng = np.random.default_rng(0)
    before, after = np.full(14, -2, np.int8), np.full(14, -2, np.int8)
    before[FINDINGS.index("Pneumothorax")], after[FINDINGS.index("Pneumothorax")] = 0, 1
    given = {
        "image": rng.integers(0, 256, (size, size), dtype=np.uint8), "roi": masks[0], "masks": masks,
        "vector_from": before, "vector_to": after, "view": "PA", "sex": "F", "age": 60.0, "steps": 3,
    }  # fmt: skip
    return EditRequest(**{**given, **changes})


def test_declares_what_it_is(name):
    kind = GENERATORS.get(name)
    assert kind.size % 8 == 0
    assert set(kind.findings) <= set(FINDINGS) - {"No Finding"}
    assert kind.findings
    assert isinstance(kind.licence, str)
    assert kind.licence
    assert set(modes_of(kind)) <= set(MODES)
    assert modes_of(kind)
    assert getattr(kind, "baseline", False) in (True, False)


@pytest.mark.parametrize("mode", MODES)
def test_changes_the_roi_and_nothing_else(name, mode):
    generator = loaded(name)
    if mode not in modes_of(generator):
        pytest.skip(f"{name} does not edit by {mode}")
    asked = request(generator.size, mode=mode)
    [result] = generator.edit([asked])
    assert result.edited.shape == asked.image.shape
    assert result.edited.dtype == np.float32
    assert result.edited.min() >= 0
    assert result.edited.max() <= 255
    assert np.abs(result.edited - asked.image)[~asked.roi].max() < 0.01
    assert np.abs(result.edited - asked.image)[asked.roi].max() > 0.5
    assert result.drift >= 0


@pytest.mark.parametrize("mode", MODES)
def test_the_seed_decides_and_neighbours_in_the_batch_do_not(name, mode):
    generator = loaded(name)
    if mode not in modes_of(generator):
        pytest.skip(f"{name} does not edit by {mode}")
    one, other = request(generator.size, mode=mode, seed=1), request(generator.size, mode=mode, seed=2)
    [alone] = generator.edit([one])
    together = generator.edit([other, one])
    np.testing.assert_allclose(together[1].edited, alone.edited, atol=0.05)
    if getattr(generator, "deterministic", False):
        np.testing.assert_allclose(together[0].edited, alone.edited, atol=0.05)
    else:
        assert np.abs(together[0].edited - alone.edited).max() > 0.5


def test_a_revision_names_the_weights(name):
    assert len(loaded(name).revision) >= 8


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"mode": "paint"}, SettingError),
        ({"guidance": -1.0}, SettingError),
        ({"skip": 1.0}, SettingError),
        ({"roi": np.zeros((8, 8), bool)}, DataError),
        ({"vector_to": np.zeros(3, np.int8)}, DataError),
    ],
)
def test_wrong_requests_are_refused_with_a_hint(name, changes, kind):
    generator = loaded(name)
    with pytest.raises(kind) as caught:
        generator.edit([request(generator.size, **changes)])
    assert isinstance(caught.value, CarsError)
    assert caught.value.hint
