"""`cars synth --generator diffusers:<folder>` on a workspace: planned, edited, gated, filed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_pipelines
from click.testing import CliRunner
from PIL import Image

from cars.cli import cars
from cars.imaging import decode
from cars.phantom.tree import write_tree
from cars.synth.data import fitted, shrink
from cars.workspace import Workspace


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A workspace with a plan of two insertions and two deletions."""
    root = tmp_path_factory.mktemp("synth-models")
    write_tree(root / "tree", n_films=60, seed=11, size=128, workers=1)
    run("ingest", "phantom", str(root / "tree"), "--workspace", str(root / "ws"), "--workers", "1")
    edits = "insert:Pleural Effusion,delete:Pleural Effusion,insert:Consolidation,delete:Cardiomegaly"
    run("plan", "--workspace", str(root / "ws"), "--balanced", "1", "--no-screen", "--edits", edits)
    return Workspace.open(root / "ws")


def run(*words: str) -> str:
    done = CliRunner().invoke(cars, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(("sample", "levels"), [(16, 2), (32, 4)], ids=["32 px", "256 px"])
def test_edits_are_made_gated_and_filed(planned, tmp_path, sample, levels):
    """At 32 px outlines and ROI are shrunk to the model's size, at 256 px they are enlarged."""
    folder = tiny_pipelines.pipeline(tmp_path / "chest-model", sample=sample, levels=levels, seed=sample)
    (folder / "README.md").write_text("---\nlicense: openrail++\n---\n")
    place = ["--workspace", str(planned.path), "--steps", "2", "--json"]
    told = json.loads(run("synth", *place, "--generator", f"diffusers:{folder}").splitlines()[-1])
    assert told["requested"] == 4
    assert told["edited"] >= 2, told["errors"]
    edits = planned.read("edits")
    edits = edits[edits["error"].isna() & edits["film_path"].notna()]
    edits = edits[edits["generator_revision"].str.startswith(revision_of(folder))]
    assert len(edits) == told["edited"]
    assert set(edits["generator"]) == {"diffusers:chest-model"}, "where the weights lie stays on this machine"
    assert set(edits["generator_licence"]) == {"openrail++"}
    films = planned.read("films").set_index("dicom_id")
    for edit in edits.to_dict("records"):
        edited, roi = (np.asarray(Image.open(planned.path / edit[k])) for k in ("film_path", "roi_path"))
        source = decode(films.loc[edit["source_dicom_id"], "path"])
        assert (edited == source)[roi == 0].all()
        assert (edited != source)[roi > 0].any()
        note = Image.open(planned.path / edit["film_path"]).text
        assert note["GeneratorLicence"] == "openrail++"
        assert str(folder) not in json.dumps(note)
    gates = planned.read("gates")
    assert set(edits["edit_id"]) <= set(gates["edit_id"])


def revision_of(folder):
    from cars.generators import GENERATORS

    return GENERATORS.get("diffusers")(folder).revision


def test_a_missing_model_stops_the_command_with_a_hint(planned, monkeypatch):
    monkeypatch.delenv("CARS_MODELS", raising=False)
    done = CliRunner().invoke(cars, ["synth", "--workspace", str(planned.path), "--generator", "radedit"])
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "microsoft/radedit" in said
    assert "Traceback" not in said


def test_fitting_enlarges_and_shrinks():
    mask = np.zeros((2, 8, 8), bool)
    mask[0, 2:6, 2:6] = True
    large = fitted(mask, 32)
    assert large.shape == (2, 32, 32)
    assert large.dtype == bool
    np.testing.assert_array_equal(fitted(large, 8), mask), "there and back"
    assert abs(large[0].sum() - 16 * 16) <= 16, "the area stays; corners are rounded"
    assert not large[1].any()
    np.testing.assert_array_equal(fitted(mask, 4), shrink(mask, 4))
    ramp = np.repeat(np.arange(8, dtype=np.float32)[None], 8, axis=0)
    grown = fitted(ramp, 16)
    assert grown.dtype == np.float32
    np.testing.assert_allclose(grown[0, 2:6], [0.75, 1.25, 1.75, 2.25])
    np.testing.assert_array_equal(fitted(np.full((8, 8), 200, np.uint8), 24), np.full((24, 24), 200, np.uint8))
