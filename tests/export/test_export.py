"""The export as others read it: mlcroissant, TorchXRayVision, sha256sum; and what may never be in it."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cars import schema
from cars.errors import Cancelled, DataError, ResourceError, SettingError, WorkspaceError
from cars.export import ExportSettings, export, stream
from cars.export.archive import check_name, zip_chunks
from cars.export.listing import LABELS, new_ids
from cars.export.manifest import FIELDS
from cars.imaging import save_jpeg, save_png
from cars.workspace import Workspace, write_json

SIDE = 40
REAL, ACCEPTED = 12, 3


def make_workspace(path: Path, licence: str = "Test Licence 1.0", patient_derived: bool = True) -> Workspace:
    """12 films of 6 patients (PNG and JPEG) and 5 edits: one failed a gate, one was rejected by a person."""
    rng = np.random.default_rng(0)
    workspace = Workspace.create(path)
    films = []
    for n in range(REAL):
        dicom_id = "-".join(f"{n * 7 + k:08x}" for k in range(5))
        file = path / "source" / f"{n}.{'png' if n % 2 else 'jpg'}"
        image = rng.integers(0, 255, (SIDE, SIDE + n)).astype(np.uint8)
        (save_png if n % 2 else save_jpeg)(file, image)
        codes = rng.choice([1, 0, -1, -2], len(LABELS))
        films.append(
            {
                "dicom_id": dicom_id, "subject_id": f"1000000{n // 2}", "study_id": f"5000000{n:01d}"[:8] + f"{n}"[1:],
                "split": ("train", "train", "train", "train", "validate", "test")[n // 2],
                "view": "PA" if n % 3 else "AP", "view_position": "PA" if n % 3 else "AP", "sex": "F", "age": 61.0,
                "age_band": "60–79", "race": "unknown", **dict(zip(LABELS, codes)), "path": str(file), "on_disk": True,
                "rows": SIDE, "columns": SIDE + n, "study_date": "21500101", "report": None, "dataset": "test",
                "origin": "real",
            }
        )  # fmt: skip
    table = pd.DataFrame(films)
    table["study_id"] = [f"5000{n:04d}" for n in range(REAL)]
    workspace.write_part("films", "0", table)
    edits, gates = [], []
    for k in range(5):
        source, edit_id = table.iloc[k].to_dict(), f"edit{k:04d}"
        film = f"films/synthetic/ed/{edit_id}.png"
        save_png(workspace.path / film, rng.integers(0, 255, (SIDE, SIDE + k)).astype(np.uint8))
        save_png(workspace.path / film.replace(".png", ".roi.png"), np.full((SIDE, SIDE + k), 255, np.uint8))
        after = schema.after_edit({f: int(source[s]) for f, s in schema.COLUMN_OF.items()}, {"Pneumothorax": "insert"})
        edits.append(
            {
                **{name: source[name] for name in ("view", "view_position", "sex", "age", "age_band", "race")},
                "rows": source["rows"], "columns": source["columns"],
                "edit_id": edit_id, "plan_id": "p", "item": k, "gap_id": "g", "source_dicom_id": source["dicom_id"],
                "source_subject_id": source["subject_id"], "source_study_id": source["study_id"],
                "findings": '{"Pneumothorax": "insert"}', "finding": "Pneumothorax", "direction": "insert",
                **{schema.COLUMN_OF[f]: code for f, code in after.items()}, "split": "train", "generator": "toy",
                "generator_revision": "r1", "segmenter": "s", "judge": "j", "mode": "inversion", "seed": k, "steps": 20,
                "guidance": 3.0, "film_path": film, "roi_path": film.replace(".png", ".roi.png"), "sham_path": None,
                "passed": k != 4, "error": None, "origin": "synthetic", "created": 1.7e9 + k, "code_version": "test",
            }
        )  # fmt: skip
        gate = {"edit_id": edit_id, "gate": "judge", "measure": "probability", "value": 0.9, "low": 0.5, "high": np.nan}
        gates.append({**gate, "passed": k != 4})
    workspace.write_part("edits", "0", pd.DataFrame(edits))
    workspace.write_part("gates", "0", pd.DataFrame(gates))
    workspace.records.decide("edit0003", "reject", "not plausible")
    workspace.records.decide("edit0000", "accept", "good")
    about = {"adapter": "test", "licence": licence, "terms": "No sharing.", "citation": "Nobody 2026"}
    write_json(
        workspace.path / "dataset.json", {**about, "patient_derived": patient_derived, "source": "/secret/place"}
    )
    return workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("export") / "ws")


@pytest.fixture(scope="module")
def result(workspace):
    return export(workspace, ExportSettings())


@pytest.fixture(scope="module")
def unpacked(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(result["path"]) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder


def table(folder, name):
    return pd.read_csv(folder / name, dtype={"subject_id": str, "study_id": str, "split_group": str})


def test_counts(result, unpacked):
    assert (result["films"], result["real"], result["synthetic"]) == (REAL + ACCEPTED, REAL, ACCEPTED)
    assert hashlib.sha256(Path(result["path"]).read_bytes()).hexdigest() == result["sha256"]
    assert len(list(unpacked.glob("files/*/*/*/*.jpg"))) == REAL + ACCEPTED
    for name in ("mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-split.csv.gz", "files/metadata.csv"):
        assert len(table(unpacked, name)) == REAL + ACCEPTED
    counts = pd.read_csv(unpacked / "counts.csv").set_index(["finding", "split", "origin"])
    assert counts.loc[("all", "train", "synthetic")].tolist() == [2, 3], "3 edits of 2 patients"
    assert counts.loc[("Pneumothorax", "train", "synthetic"), "films"] == ACCEPTED


def test_rejected_and_failed_edits_are_nowhere(result, unpacked):
    with zipfile.ZipFile(result["path"]) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            text = gzip.decompress(data) if name.endswith(".gz") else data
            assert b"edit0003" not in text, name
            assert b"edit0004" not in text, name
    lines = [json.loads(line) for line in (unpacked / "provenance.jsonl").read_text().splitlines()]
    assert [line["edit_id"] for line in lines] == ["edit0000", "edit0001", "edit0002"]


def test_an_edit_has_ids_of_its_own_and_stays_with_its_source(unpacked):
    films = table(unpacked, "files/metadata.csv")
    real, synthetic = films[films["origin"] == "real"], films[films["origin"] == "synthetic"]
    for name in ("dicom_id", "subject_id", "study_id"):
        assert synthetic[name].is_unique
        assert not set(synthetic[name]) & set(real[name])
    assert synthetic["subject_id"].str.fullmatch(r"9\d{7}").all()
    assert synthetic["study_id"].str.fullmatch(r"8\d{7}").all()
    assert synthetic["dicom_id"].str.fullmatch(r"([0-9a-f]{8}-){4}[0-9a-f]{8}").all()
    assert set(synthetic["split"]) == {"train"}
    source = real.set_index("dicom_id").loc[synthetic["source_dicom_id"]]
    assert synthetic["split_group"].tolist() == source["subject_id"].tolist()
    assert films.groupby("split_group")["split"].nunique().max() == 1


def test_mimic_values(unpacked, workspace):
    labels = table(unpacked, "mimic-cxr-2.0.0-chexpert.csv.gz").set_index("study_id")
    assert list(labels.columns) == ["subject_id", *schema.FINDINGS]
    for film in workspace.read("films").to_dict("records"):
        for finding, slug in schema.COLUMN_OF.items():
            value = labels.loc[film["study_id"], finding]
            assert np.isnan(value) if film[slug] == -2 else value == film[slug]
    text = gzip.decompress((unpacked / "mimic-cxr-2.0.0-chexpert.csv.gz").read_bytes()).decode()
    assert "1.0" in text
    assert "-2" not in text
    metadata = table(unpacked, "mimic-cxr-2.0.0-metadata.csv.gz")
    assert list(metadata.columns)[:9] == [
        "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns",
        "StudyDate", "StudyTime",
    ]  # fmt: skip


def test_mlcroissant_loads_it(unpacked, caplog):
    import mlcroissant

    dataset = mlcroissant.Dataset(str(unpacked / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    assert str(dataset.metadata.ctx.conforms_to.value).endswith("/1.1")
    records = list(dataset.records("films"))
    films = table(unpacked, "files/metadata.csv")
    assert len(records) == len(films) == REAL + ACCEPTED
    by_id = films.set_index("dicom_id")
    for record in records:
        row = by_id.loc[record["films/dicom_id"].decode()]
        value = record["films/pneumothorax"]
        assert (value is None or np.isnan(value)) if np.isnan(row["Pneumothorax"]) else value == row["Pneumothorax"]
        assert record["films/origin"].decode() == row["origin"]
    images = {r["images/dicom_id"].decode(): r["images/image"] for r in dataset.records("images")}
    assert set(images) == set(by_id.index)
    for dicom_id, image in images.items():
        assert image.size == (by_id.loc[dicom_id, "columns"], by_id.loc[dicom_id, "rows"])


def test_croissant_says_whose_it_is(unpacked):
    document = json.loads((unpacked / "croissant.json").read_text())
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert document["license"] == "Test Licence 1.0"
    assert "PATIENT-DERIVED" in document["description"]
    assert document["prov:wasDerivedFrom"]["prov:value"] == "Nobody 2026"
    assert document["prov:wasGeneratedBy"]["prov:used"] == ["toy@r1"]
    for entry in document["distribution"]:
        if entry["@type"] == "cr:FileObject":
            data = (unpacked / entry["contentUrl"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
            assert entry["contentSize"] == f"{len(data)} B"
    fields = [field["name"] for field in document["recordSet"][0]["field"]]
    assert fields == list(table(unpacked, "files/metadata.csv").columns) == [*FIELDS, *schema.FINDINGS]
    readme = (unpacked / "README.md").read_text()
    assert "PATIENT-DERIVED" in readme
    assert "Test Licence 1.0" in readme
    assert "No sharing." in readme


def test_nothing_says_where_the_source_lies(result):
    with zipfile.ZipFile(result["path"]) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            text = gzip.decompress(data) if name.endswith(".gz") else data
            assert b"/secret/place" not in text
            assert b"/ws/" not in text, name


def test_a_computed_data_set_is_not_called_patient_derived(tmp_path):
    workspace = make_workspace(tmp_path / "ws", patient_derived=False)
    with zipfile.ZipFile(export(workspace, ExportSettings())["path"]) as archive:
        assert b"PATIENT-DERIVED" not in archive.read("README.md")
    (workspace.path / "dataset.json").unlink()
    with zipfile.ZipFile(export(workspace, ExportSettings())["path"]) as archive:
        assert b"PATIENT-DERIVED" in archive.read("README.md"), "unknown means patient-derived"


def test_torchxrayvision_loads_it(unpacked):
    from cars.torchbox import torch

    torch()
    import torchxrayvision as xrv

    films = xrv.datasets.MIMIC_Dataset(
        imgpath=str(unpacked / "files"),
        csvpath=str(unpacked / "mimic-cxr-2.0.0-chexpert.csv.gz"),
        metacsvpath=str(unpacked / "mimic-cxr-2.0.0-metadata.csv.gz"),
        views=["PA", "AP"],
        unique_patients=True,
    )
    known = table(unpacked, "files/metadata.csv").set_index("dicom_id")
    synthetic = set(known.index[known["origin"] == "synthetic"])
    assert synthetic <= set(films.csv["dicom_id"]), "one film a subject, and no edit is lost"
    assert len(films) == 6 + ACCEPTED
    column = films.pathologies.index("Pneumothorax")
    for n, dicom_id in enumerate(films.csv["dicom_id"]):
        sample = films[n]
        assert sample["img"].shape == (1, known.loc[dicom_id, "rows"], known.loc[dicom_id, "columns"])
        expected = known.loc[dicom_id, "Pneumothorax"]
        if dicom_id in synthetic:
            assert sample["lab"][column] == 1
        elif known.loc[dicom_id, "No Finding"] != 1:
            assert sample["lab"][column] == expected or (np.isnan(sample["lab"][column]) and not expected >= 0)


def test_films_are_the_source_s_own(unpacked, workspace):
    for film in workspace.read("films").to_dict("records"):
        where = f"files/p{film['subject_id'][:2]}/p{film['subject_id']}/s{film['study_id']}/{film['dicom_id']}.jpg"
        data, source = (unpacked / where).read_bytes(), Path(film["path"]).read_bytes()
        if film["path"].endswith(".jpg"):
            assert data == source, "a JPEG is not compressed again"
        else:
            there, here = (np.asarray(Image.open(io.BytesIO(d))).astype(int) for d in (data, source))
            assert there.shape == here.shape
            assert np.abs(there - here).mean() < 6


def test_lossless_films_and_regions(unpacked, workspace):
    lines = [json.loads(line) for line in (unpacked / "provenance.jsonl").read_text().splitlines()]
    for line in lines:
        for kind, suffix in (("film", ".png"), ("roi", ".roi.png")):
            data = (unpacked / line["lossless"][kind]["file"]).read_bytes()
            assert data == (workspace.path / f"films/synthetic/ed/{line['edit_id']}{suffix}").read_bytes()
            assert hashlib.sha256(data).hexdigest() == line["lossless"][kind]["sha256"]


def test_provenance_of_each_edit(unpacked, workspace):
    films = workspace.read("films").set_index("dicom_id")
    for line in map(json.loads, (unpacked / "provenance.jsonl").read_text().splitlines()):
        source = films.loc[line["prov:wasDerivedFrom"]["dicom_id"]]
        assert line["prov:wasDerivedFrom"]["subject_id"] == source["subject_id"]
        assert line["from"] == {f: schema.FINDING_VALUES[source[s]] for f, s in schema.COLUMN_OF.items()}
        assert line["to"]["Pneumothorax"] == "present"
        assert line["change"] == {"Pneumothorax": "insert"}
        assert line["prov:wasGeneratedBy"]["generator_revision"] == "r1"
        assert line["gates"] == [
            {"gate": "judge", "measure": "probability", "value": 0.9, "low": 0.5, "high": None, "passed": True}
        ]
        assert hashlib.sha256((unpacked / line["file"]).read_bytes()).hexdigest() == line["sha256"]
        assert line["decision"] == ("accept" if line["edit_id"] == "edit0000" else None)


def test_every_sum_holds(unpacked):
    listed = dict(line.split("  ")[::-1] for line in (unpacked / "SHA256SUMS").read_text().splitlines())
    files = {str(p.relative_to(unpacked)) for p in unpacked.rglob("*") if p.is_file()}
    assert set(listed) == files - {"SHA256SUMS"}
    for name, value in listed.items():
        assert hashlib.sha256((unpacked / name).read_bytes()).hexdigest() == value


# Settings ---------------------------------------------------------------------------------------------------------


def test_synthetic_only(workspace, tmp_path):
    result = export(workspace, ExportSettings(films="synthetic", lossless=False, out=str(tmp_path / "s.zip")))
    assert (result["films"], result["synthetic"]) == (ACCEPTED, ACCEPTED)
    with zipfile.ZipFile(result["path"]) as archive:
        films = [name for name in archive.namelist() if name.endswith((".jpg", ".png"))]
        assert len(films) == ACCEPTED
        assert all(name.startswith("files/p9") for name in films)


def test_tables_only(workspace, tmp_path):
    result = export(workspace, ExportSettings(films="none", out=str(tmp_path / "t.zip")))
    assert result["films"] == REAL + ACCEPTED
    with zipfile.ZipFile(result["path"]) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".jpg", ".png")) or name.startswith("files")]
        import mlcroissant

        dataset = mlcroissant.Dataset(json.loads(archive.read("croissant.json")))
        assert not dataset.metadata.ctx.issues.errors


def test_small_counts_are_suppressed(workspace, tmp_path):
    path = export(workspace, ExportSettings(suppress_below=3, out=str(tmp_path / "c.zip")))["path"]
    with zipfile.ZipFile(path) as archive:
        counts = pd.read_csv(io.BytesIO(archive.read("counts.csv")), dtype=str)
    assert not counts[["patients", "films"]].isin(["1", "2"]).any(axis=None)
    assert (counts["patients"] == "<3").any()
    assert (counts["films"] == "0").any(), "zero is not a person"


def test_the_same_bytes_twice_and_as_a_stream(workspace, result, tmp_path):
    again = export(workspace, ExportSettings(out=str(tmp_path / "again.zip")))
    assert again["sha256"] == result["sha256"]
    assert hashlib.sha256(b"".join(stream(workspace, ExportSettings()))).hexdigest() == result["sha256"]
    assert export(workspace, ExportSettings())["path"] == result["path"]


def test_a_new_decision_makes_another_zip(tmp_path):
    workspace = make_workspace(tmp_path / "ws")
    first = export(workspace, ExportSettings())
    workspace.records.decide("edit0001", "reject")
    second = export(workspace, ExportSettings())
    assert second["synthetic"] == first["synthetic"] - 1
    assert second["path"] != first["path"]


def test_no_edits_at_all(tmp_path):
    workspace = make_workspace(tmp_path / "ws")
    for k in range(3):
        workspace.records.decide(f"edit{k:04d}", "reject")
    assert export(workspace, ExportSettings())["synthetic"] == 0
    with pytest.raises(WorkspaceError, match="nothing to export with films = 'synthetic'"):
        export(workspace, ExportSettings(films="synthetic"))


# What goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["dicom_id", "subject_id", "study_id"])
@pytest.mark.parametrize("hostile", ["../../etc/passwd", "/abs", "a\\b", "..", "a/b", "", "x\n", "c:d"])
def test_a_hostile_id_is_refused_and_quoted(tmp_path, column, hostile):
    workspace = make_workspace(tmp_path / "ws")
    films = workspace.read("films")
    films.loc[REAL - 1, column] = hostile
    workspace.write_part("films", "0", films)
    with pytest.raises(DataError, match=re.escape(repr(hostile))):
        export(workspace, ExportSettings())
    assert not list(workspace.path.glob("exports/*"))


@pytest.mark.parametrize("column", ["film_path", "roi_path"])
def test_an_edit_cannot_bring_in_a_file_from_outside(tmp_path, column):
    workspace = make_workspace(tmp_path / "ws")
    secret = tmp_path / "secret.png"
    save_png(secret, np.zeros((8, 8), np.uint8))
    edits = workspace.read("edits")
    edits.loc[0, column] = "../secret.png"
    workspace.write_part("edits", "0", edits)
    with pytest.raises(DataError, match=r"'../secret.png' is not inside the workspace"):
        export(workspace, ExportSettings())
    assert not list(workspace.path.glob("exports/*"))


@pytest.mark.parametrize("name", ["../x", "/x", "a/../b", "a//b", "./a", "a\\b", "c:/x", ""])
def test_the_zip_itself_takes_no_name_that_leads_out(name):
    with pytest.raises(DataError):
        check_name(name)
    with pytest.raises(DataError):
        list(zip_chunks([(name, b"")]))


@pytest.mark.parametrize("split", ["test", "validate"])
def test_an_edit_of_a_held_out_patient_is_refused(tmp_path, split):
    workspace = make_workspace(tmp_path / "ws")
    edits, films = workspace.read("edits"), workspace.read("films")
    source = films[films["split"] == split].iloc[0]
    edits.loc[1, ["source_dicom_id", "source_subject_id"]] = [source["dicom_id"], source["subject_id"]]
    workspace.write_part("edits", "0", edits)
    with pytest.raises(DataError, match="'edit0001'"):
        export(workspace, ExportSettings())


def test_an_edit_that_names_another_patient_is_refused(tmp_path):
    workspace = make_workspace(tmp_path / "ws")
    edits = workspace.read("edits")
    edits.loc[1, "source_subject_id"] = "10000003"
    workspace.write_part("edits", "0", edits)
    with pytest.raises(DataError, match="'edit0001'"):
        export(workspace, ExportSettings())


def test_different_labels_within_a_study_are_refused(tmp_path):
    workspace = make_workspace(tmp_path / "ws")
    films = workspace.read("films")
    films.loc[1, ["subject_id", "study_id"]] = films.loc[0, ["subject_id", "study_id"]]
    workspace.write_part("films", "0", films)
    with pytest.raises(DataError, match="study '50000000' have different labels"):
        export(workspace, ExportSettings())


def test_a_missing_film_and_too_many_bytes(tmp_path):
    workspace = make_workspace(tmp_path / "ws")
    with pytest.raises(SettingError, match="max_gib = 1e-06"):
        export(workspace, ExportSettings(max_gib=1e-6))
    with pytest.raises(SettingError, match="is a folder"):
        export(workspace, ExportSettings(out=str(tmp_path)))
    Path(workspace.read("films")["path"].iloc[0]).unlink()
    with pytest.raises(WorkspaceError, match=r"0\.jpg is no longer there"):
        export(workspace, ExportSettings())


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    workspace = make_workspace(tmp_path / "ws")
    out = tmp_path / "there" / "out.zip"
    out.parent.mkdir()
    out.write_bytes(b"an older export")

    def full(entries):
        yield b"PK"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cars.export.run.zip_chunks", full)
    with pytest.raises(ResourceError, match="full"):
        export(workspace, ExportSettings(out=str(out)))
    assert [p.name for p in out.parent.iterdir()] == ["out.zip"]
    assert out.read_bytes() == b"an older export"


def test_cancelling_leaves_no_half_file(tmp_path):
    workspace = make_workspace(tmp_path / "ws")

    def stop(done, total, message=""):
        if done == 3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        export(workspace, ExportSettings(), stop)
    assert not list((workspace.path / "exports").iterdir())


def test_new_ids_avoid_those_that_are_taken():
    first = new_ids(["a", "b"], "subject", "9", set())
    moved = new_ids(["a", "b"], "subject", "9", {first[0]})
    assert moved[0] == f"9{(int(first[0][1:]) + 1) % 10**7:07d}"
    assert moved[1] == first[1]
    assert new_ids(["b", "a"], "subject", "9", set()) == first[::-1]


def test_a_large_zip_is_readable_as_zip64(monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    entries = [(f"{n}.jpg", bytes([n]) * 600) for n in range(5)]
    data = b"".join(zip_chunks(entries))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert [(name, archive.read(name)) for name in archive.namelist()] == entries
