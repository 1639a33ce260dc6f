"""A preview is the film that the batch would make, with its gates, and leaves the workspace as it was."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synth_toys import ToyGenerator, ToyJudge, ToySegmenter, film, workspace_of

from cars.errors import DataError, SettingError
from cars.imaging import decode, save_png
from cars.synth import PlanSettings, SynthSettings, plan, preview, synth, workspace_models
from cars.workspace import Workspace

PLAN = PlanSettings(screen=False, balanced=2, edits="insert:Pneumothorax,delete:Pleural Effusion")


class Speckled(ToyGenerator):
    """As the toy, but each seed and each strength gives a film of its own."""

    def edit(self, requests):
        results = super().edit(requests)
        for request, result in zip(requests, results):
            noise = np.random.default_rng(request.seed).normal(0, 4, request.image.shape) + request.guidance
            result.edited[request.roi] = np.clip(result.edited + noise, 0, 255)[request.roi]
        return results


SETTINGS = SynthSettings(generator=Speckled(), segmenter=ToySegmenter(), judge=ToyJudge(), steps=2, mode="inversion")


@pytest.fixture
def planned(tmp_path):
    workspace = workspace_of(tmp_path, 12)
    return workspace, workspace.records.plan_items(plan(workspace, PLAN)["plan_id"])


def files(workspace: Workspace) -> dict[Path, str]:
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in workspace.path.rglob("*") if p.is_file()}


def test_it_is_the_film_that_the_batch_makes(planned):
    workspace, items = planned
    settings = replace(SETTINGS, guidance=4.0)
    models = workspace_models(workspace, settings)
    shown = [
        preview(workspace, i["source_dicom_id"], i["findings"], i["seed"], 4.0, settings, models)
        for i in items.to_dict("records")
    ]
    synth(workspace, settings)
    edits = workspace.read("edits").set_index("item")
    gates = workspace.read("gates").set_index(["edit_id", "gate", "measure"])["value"]
    for item, made in enumerate(shown):
        edit = edits.loc[item]
        stored = decode(workspace.path / edit["film_path"])
        np.testing.assert_array_equal(made["edited"], stored)
        np.testing.assert_array_equal(made["difference"], stored.astype(int) - made["source"])
        np.testing.assert_array_equal(made["roi"], decode(workspace.path / edit["roi_path"]) > 0)
        np.testing.assert_array_equal(made["sham"], decode(workspace.path / edit["sham_path"]))
        assert made["passed"] == edit["passed"]
        assert made["labels"][edit["finding"]] == (1 if edit["direction"] == "insert" else 0)
        for row in made["gates"]:
            assert row.value == pytest.approx(gates[edit.edit_id, row.gate, row.measure], nan_ok=True)
        assert made["masks"].shape == made["masks_after"].shape == (3, 128, 128)


def test_nothing_is_written(planned):
    workspace, items = planned
    before = files(workspace)
    item = items.iloc[0]
    preview(workspace, item["source_dicom_id"], item["findings"], item["seed"], settings=SETTINGS)
    assert files(workspace) == before
    assert not workspace.has("edits")


def test_strength_and_seed_count(planned):
    workspace, items = planned
    film_id, findings = items.iloc[0][["source_dicom_id", "findings"]]
    made = {
        (seed, guidance): preview(workspace, film_id, findings, seed, guidance, SETTINGS)["edited"]
        for seed in (1, 2) for guidance in (0.5, 1.5)
    }  # fmt: skip
    again = preview(workspace, film_id, findings, 1, 0.5, SETTINGS)["edited"]
    np.testing.assert_array_equal(made[1, 0.5], again)
    assert len({image.tobytes() for image in made.values()}) == 4


def test_a_film_whose_outlines_are_not_trusted_says_so(planned):
    workspace, items = planned
    item = items.iloc[0]
    films = workspace.read("films").set_index("dicom_id")
    path = Path(films.at[item["source_dicom_id"], "path"])
    image = film(np.random.default_rng(0), False, 96)
    image[:6, :6] = 255
    save_png(path, image)
    made = preview(workspace, item["source_dicom_id"], item["findings"], settings=SETTINGS)
    assert "not trusted" in made["error"]
    assert "edited" not in made


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"dicom_id": "nobody"}, DataError, "'nobody'"),
        ({"dicom_id": "d040"}, DataError, "split 'validate'"),
        ({"findings": {"Pneumothorax": "delete"}}, SettingError, "not present"),
        ({"seed": -1}, SettingError, "-1 is no seed"),
    ],
)
def test_what_is_refused(planned, change, error, words):
    workspace, items = planned
    given = {"dicom_id": items.at[0, "source_dicom_id"], "findings": items.at[0, "findings"], "seed": 3} | change
    assert items.at[0, "findings"] == {"Pneumothorax": "insert"}
    with pytest.raises(error, match=words):
        preview(workspace, given["dicom_id"], given["findings"], given["seed"], settings=SETTINGS)
