"""Fine-tuned units leave as folders that timm loads in the three lines of the docs, and say what CARS said."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest

from cars import schema
from cars.errors import DataError, WorkspaceError
from cars.evaluate import ExportModelsSettings, FinetuneSettings, export_models, finetune
from cars.evaluate.calibration import scaled
from cars.evaluate.export_models import LOAD, exported_models, is_timm, loading
from cars.filmcache import film_cache
from cars.provenance import file_digest
from cars.torchbox import torch

from .conftest import make_workspace

ROOT = Path(__file__).parents[2]
NAMES = ["densenet_mini", "vit_mini", "inception_mini", "swin_mini"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace with one quick unit a backbone, films at a size that most networks resize."""
    workspace = make_workspace(tmp_path_factory.mktemp("export") / "ws", patients=20)
    plan = dict(arms="real", seeds=1, size=40, steps=2, check_every=2, batch=4, device="cpu")
    finetune(workspace, FinetuneSettings(",".join([*NAMES, "toy"]), **plan))
    return workspace


def three_lines():
    text = (ROOT / "docs" / "science-evaluation.md").read_text(encoding="utf-8")
    lines = re.search(r"```python\n(.*?local-dir.*?)```", text, re.S).group(1).strip().splitlines()
    assert len(lines) == 3
    return "\n".join(lines)


@pytest.mark.parametrize("name", NAMES)
def test_the_three_lines_of_the_docs_give_the_probabilities_of_the_table(trained, name):
    result = export_models(trained, ExportModelsSettings(backbone=name))
    (folder,) = map(Path, result["models"])
    assert {p.name for p in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    found = {}
    exec(three_lines().replace("FOLDER", str(folder)), found)
    model, about = found["model"], found["about"]
    assert about["sha256"] == file_digest(folder / "model.safetensors")
    assert about["label_names"] == list(schema.FINDINGS)

    rows = trained.read("predictions")
    unit = trained.read("units").set_index("backbone").loc[name]
    rows = rows[(rows["unit"] == unit["unit"]) & (rows["split"] == "test")]
    films = film_cache(trained, 40).images(rows["dicom_id"].tolist())
    cut = about["pretrained_cfg"]
    x = torch().from_numpy(films).float()[:, None]
    x = torch().nn.functional.interpolate(x, tuple(cut["input_size"][1:]), mode="bilinear", antialias=True)
    mean, std = (torch().tensor(cut[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    with torch().inference_mode():
        prob = (model((x / 255 - mean) / std) / about["temperature"]).sigmoid().numpy()
    theirs = scaled(rows[[f"prob_{slug}" for slug in schema.COLUMN_OF.values()]].to_numpy(), unit["temperature"])
    np.testing.assert_allclose(prob, theirs, atol=1e-4)
    assert about["thresholds"] == json.loads(unit["thresholds"])
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Not a medical device" in card
    assert unit["unit"] in card


def test_a_backbone_that_timm_does_not_have_is_named(trained):
    with pytest.raises(WorkspaceError, match="timm has no model of: toy"):
        export_models(trained, ExportModelsSettings(backbone="toy"))
    with pytest.raises(WorkspaceError, match="no such unit"):
        export_models(trained, ExportModelsSettings(seed=7))


def test_all_of_a_run_to_a_folder_of_ones_own(trained, tmp_path):
    result = export_models(trained, ExportModelsSettings(out=str(tmp_path / "out")))
    assert len(result["models"]) == len(NAMES)
    assert result["skipped"] == ["toy"]
    assert {p.parent.name for p in (tmp_path / "out").glob("*/config.json")} == {Path(m).name for m in result["models"]}


def test_weights_of_other_shapes_and_pickled_models_stop_a_run_with_their_name(trained, tmp_path):
    state = {k: v for k, v in _net("densenet_mini").state_dict().items()}
    state["features.conv0.weight"] = torch().zeros(32, 1, 7, 7)  # one grey channel, as torchxrayvision has it
    torch().save(state, tmp_path / "grey.pth")
    torch().save(_net("densenet_mini"), tmp_path / "whole.pth")
    plan = dict(arms="real", seeds=1, size=40, steps=1, check_every=1, batch=4, device="cpu")
    shape, pickled = r"another shape of tensor 'features\.conv0\.weight'", r"whole\.pth cannot be read as weights"
    for file, says in (("grey.pth", shape), ("whole.pth", pickled)):
        with pytest.raises(DataError, match=says):
            finetune(trained, FinetuneSettings("densenet_mini", weights=str(tmp_path / file), **plan))


def _net(name):
    from cars.backbones import BACKBONES

    return BACKBONES.get(name).body(64)


def test_the_page_and_the_card_have_the_lines_of_the_docs():
    assert three_lines() == LOAD
    folder = r'/a "b"\c'
    found = loading(folder)
    assert [ast.literal_eval(text) for text in re.findall(r'"(?:[^"\\]|\\.)*"', found)] == [
        f"local-dir:{folder}", f"{folder}/config.json", "utf-8",
    ]  # fmt: skip
    assert len(found.splitlines()) == 3


def test_what_was_exported_is_listed_and_loads(trained):
    assert is_timm("vit_mini")
    assert not is_timm("toy")
    export_models(trained, ExportModelsSettings(backbone="vit_mini"))
    broken = trained.folder("models", "finetuned", "half")
    (broken / "config.json").write_text("{}")
    found = exported_models(trained)
    row = found[found["backbone"] == "vit_mini"].iloc[0]
    assert (row["arm"], row["seed"]) == ("real", 0)
    assert row["bytes"] == (Path(row["folder"]) / "model.safetensors").stat().st_size
    assert row["unit"] in row["folder"]
    assert "half" not in {Path(folder).name for folder in found["folder"]}
    names = {}
    exec(loading(row["folder"]), names)
    assert names["about"]["unit"] == row["unit"]
