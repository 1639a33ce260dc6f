"""ingest: tables, versions, checks of films on disk, resuming, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from cars import ingest as module
from cars.datasets import Adapter
from cars.datasets._tables import Quarantine, batches
from cars.errors import Cancelled, DataError, SettingError
from cars.imaging import decode, save_jpeg
from cars.ingest import IngestSettings, ingest
from cars.workspace import Workspace


@pytest.fixture
def tree(tmp_path, tiny_mimic):
    """A copy of the small tree that a test may break."""
    shutil.copytree(tiny_mimic, tmp_path / "tree")
    return tmp_path / "tree"


@pytest.fixture
def workspace(tmp_path):
    return Workspace.create(tmp_path / "ws")


def run(workspace, source, progress=lambda *_: None, adapter="mimic-cxr-jpg", **more):
    return ingest(workspace, IngestSettings(adapter, str(source), **{"workers": 1, **more}), progress)


def parts(workspace):
    return {str(p): p.stat().st_mtime_ns for p in (workspace.path / "tables").rglob("*.parquet")}


def test_the_tables_and_the_counts(workspace, tree):
    result = run(workspace, tree)
    films = workspace.read("films")
    assert result["films"] == len(films) == 60
    assert result["patients"] == films["subject_id"].nunique()
    assert result["studies"] == films["study_id"].nunique()
    assert (result["quarantined"], result["missing_files"], result["on_disk"]) == (0, 0, 60)
    assert set(films["rows"]) == set(films["columns"]) == {64}
    patients = films.drop_duplicates("subject_id")["split"].value_counts()
    assert result["splits"] == patients.to_dict()
    assert workspace.has("quarantine")
    assert workspace.has("missing_files")


def test_sizes_come_from_the_file_not_from_the_table(workspace, tree):
    path = sorted(tree.glob("files/*/*/*/*.jpg"))[0]
    save_jpeg(path, np.random.default_rng(0).integers(0, 255, (50, 40), dtype=np.uint8))
    run(workspace, tree)
    film = workspace.read("films").set_index("dicom_id").loc[path.stem]
    assert (film["rows"], film["columns"]) == (50, 40)


def test_the_same_input_again_makes_nothing(workspace, tree):
    first = run(workspace, tree)
    before = parts(workspace)
    note = (workspace.path / "dataset.json").read_text()
    second = run(workspace, tree, workers=2)  # workers change how, not what
    assert not first["unchanged"]
    assert second["unchanged"]
    assert parts(workspace) == before
    assert (workspace.path / "dataset.json").read_text() == note


def test_a_film_that_arrives_later_makes_a_new_version(workspace, tree):
    path = sorted(tree.glob("files/*/*/*/*.jpg"))[3]
    kept = path.read_bytes()
    path.unlink()
    first = run(workspace, tree)
    assert (first["missing_files"], first["on_disk"], first["films"]) == (1, 59, 60)
    assert workspace.read("missing_files").to_dict("records") == [{"dicom_id": path.stem, "path": str(path)}]
    path.write_bytes(kept)
    second = run(workspace, tree)
    assert (second["missing_files"], second["on_disk"], second["films"]) == (0, 60, 60)
    assert second["version"] != first["version"]
    assert len(workspace.read("films")) == 60  # readers see one version only


@pytest.mark.parametrize("how", ["header", "full", "none"])
def test_broken_films_go_to_quarantine(workspace, tree, how):
    paths = sorted(tree.glob("files/*/*/*/*.jpg"))
    paths[0].write_bytes(b"")
    paths[1].write_bytes(paths[1].read_bytes()[:-500])
    paths[2].write_text("<html>404</html>")
    save_jpeg(paths[3], np.full((64, 64), 9, np.uint8))
    films = pd.concat([pd.read_csv(tree / "mimic-cxr-2.0.0-metadata.csv.gz")]).set_index("dicom_id")
    frontal = next(p for p in paths[4:] if films.loc[p.stem, "ViewPosition"] == "PA")
    save_jpeg(frontal, 255 - decode(frontal))
    lateral = next(p for p in paths[4:] if films.loc[p.stem, "ViewPosition"] == "LATERAL")
    save_jpeg(lateral, 255 - decode(lateral))  # the signs of inversion are a frontal film's: not judged
    expected = {
        "none": {},
        "header": {paths[0]: "zero-byte", paths[1]: "truncated", paths[2]: "not an image"},
    }
    inverted = "looks inverted (air bright, bone dark)"
    expected["full"] = {**expected["header"], paths[3]: "blank", frontal: inverted}
    result = run(workspace, tree, check_films=how)
    quarantine = workspace.read("quarantine")
    found = dict(zip(quarantine["dicom_id"], quarantine["reason"]))
    assert found == {path.stem: reason for path, reason in expected[how].items()}
    assert result["films"] == 60 - len(found)
    assert not set(workspace.read("films")["dicom_id"]) & set(found)
    assert set(quarantine["column"]) <= {"path"}


def test_it_goes_on_where_it_was_stopped(workspace, tree, monkeypatch):
    monkeypatch.setattr(module, "FILMS_PER_PART", 10)

    def stop(done, total, message):
        if message == "looking at films" and len(parts(workspace)) >= 6:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        run(workspace, tree, stop)
    assert not workspace.has("films")  # nothing half-made is published
    half = parts(workspace)
    assert 6 <= len(half) < 18
    # a kill between two tables of a part: that part is made anew
    os.unlink(next(path for path in half if "quarantine" in path))
    result = run(workspace, tree)
    assert result["films"] == 60
    assert workspace.read("films")["dicom_id"].is_unique
    after = parts(workspace)
    assert len(after) == 18
    assert sum(after[path] == stamp for path, stamp in half.items() if path in after) >= 3


def test_an_interrupted_run_leaves_the_published_tables(workspace, tree):
    run(workspace, tree)

    def stop(done, total, message):
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        run(workspace, tree, stop, limit=5)
    assert len(workspace.read("films")) == 60


def test_dataset_json_says_what_under_which_terms_from_which_files(workspace, tree):
    result = run(workspace, tree)
    about = json.loads((workspace.path / "dataset.json").read_text())
    assert about["adapter"] == "mimic-cxr-jpg"
    assert about["source"] == str(tree)
    assert about["patient_derived"] is True
    assert "Credentialed" in about["licence"]
    assert about["version"] == result["version"] == workspace.version("films")
    assert about["counts"]["films"] == 60
    inputs = about["provenance"]["inputs"]
    assert set(inputs) == {
        "mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-split.csv.gz", "mimic-cxr-2.0.0-chexpert.csv.gz",
        "patients.csv.gz", "admissions.csv.gz",
    }  # fmt: skip
    assert all(len(value) == 64 for value in inputs.values())


def test_the_phantom_is_drawn_into_the_workspace_and_is_nobodys(workspace):
    result = run(workspace, "n=12,seed=1,size=48", adapter="phantom")
    assert result["films"] == result["on_disk"] == 12
    films = workspace.read("films")
    assert set(films["dataset"]) == {"phantom"}
    assert all(path.startswith(str(workspace.path)) for path in films["path"])
    assert json.loads((workspace.path / "dataset.json").read_text())["patient_derived"] is False
    with pytest.raises(SettingError, match="'seed=x'"):
        run(workspace, "n=12,seed=x", adapter="phantom")


def test_settings_that_the_adapter_would_ignore_are_refused(workspace, tmp_path):
    with pytest.raises(SettingError, match="patients") as caught:
        run(workspace, "siim", adapter="xrv", patients=str(tmp_path))
    assert "limit" in caught.value.hint
    with pytest.raises(SettingError, match="mimic-cxr-jpg"):
        run(workspace, "x", adapter="mimic-cxr-jpeg")


def test_a_source_without_one_good_film_says_why(workspace, tree):
    path = tree / "mimic-cxr-2.0.0-split.csv.gz"
    table = pd.read_csv(path, dtype=str)
    table.assign(split="training").to_csv(path, index=False)
    with pytest.raises(DataError) as caught:
        run(workspace, tree)
    assert "no film" in caught.value.message
    assert "split is not one of train, validate, test" in caught.value.hint
    assert not workspace.has("films")


def test_an_adapter_object_may_be_given(workspace):
    class Mine(Adapter):
        licence = terms = citation = "mine"

        def files(self, source, workspace, **options):
            return []

        def read(self, source, workspace, progress=None, **options):
            yield from batches(
                pd.DataFrame({"dicom_id": ["a"], "subject_id": ["p"], "study_id": ["s"], "split": ["train"]}),
                Quarantine(),
                "mine",
            )

    result = ingest(workspace, IngestSettings(Mine(), "anything", workers=1))
    assert (result["films"], result["on_disk"]) == (1, 0)
    assert json.loads((workspace.path / "dataset.json").read_text())["adapter"] == "Mine"


def test_open_cxr_in_full(workspace, open_cxr):
    result = run(workspace, open_cxr, workers=2)
    assert (result["films"], result["patients"], result["quarantined"]) == (1346, 1115, 0)
    assert result["on_disk"] == 1346
    films = workspace.read("films")
    assert films["rows"].max() <= 512
    assert films["age"].notna().all()
