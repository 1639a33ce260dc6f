"""The tree on disk: MIMIC-CXR-JPG's layout, readable, resumable, the same whenever it is written."""

import csv
import gzip
import json
import re

import numpy as np
import pytest
from PIL import Image

from cars.errors import DataError
from cars.phantom import render
from cars.phantom.tree import load_truth, write_tree
from cars.schema import FINDINGS

N, SIZE = 30, 64


def read(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "tree"
    calls = []
    result = write_tree(folder, N, seed=5, size=SIZE, workers=1, progress=lambda *call: calls.append(call))
    assert result["films"] == result["written"] == N
    assert calls[0][:2] == (0, N)
    assert calls[-1][:2] == (N, N)
    return folder


def test_films_lie_where_mimic_has_them(tree):
    films = sorted(str(p.relative_to(tree)) for p in (tree / "files").rglob("*.jpg"))
    assert len(films) == N
    hexes = "-".join(["[0-9a-f]{8}"] * 5)
    for film in films:
        assert re.fullmatch(rf"files/p(1\d)/p\1\d{{6}}/s5\d{{7}}/{hexes}\.jpg", film)
        with Image.open(tree / film) as image:
            assert image.mode == "L"
            assert image.size == (SIZE, SIZE)


def test_tables_agree_with_the_films(tree):
    metadata = read(tree / "mimic-cxr-2.0.0-metadata.csv.gz")
    split = {r["dicom_id"]: r["split"] for r in read(tree / "mimic-cxr-2.0.0-split.csv.gz")}
    labels = read(tree / "mimic-cxr-2.0.0-chexpert.csv.gz")
    patients = {r["subject_id"]: r for r in read(tree / "hosp" / "patients.csv.gz")}
    races = {r["subject_id"]: r["race"] for r in read(tree / "hosp" / "admissions.csv.gz")}
    assert list(labels[0]) == ["subject_id", "study_id", *FINDINGS]
    assert {r["study_id"] for r in labels} == {r["study_id"] for r in metadata}
    assert {r[f] for r in labels for f in FINDINGS} <= {"", "1.0", "0.0", "-1.0"}
    assert {r["No Finding"] for r in labels} <= {"", "1.0"}
    for row in metadata:
        where = f"files/p{row['subject_id'][:2]}/p{row['subject_id']}/s{row['study_id']}/{row['dicom_id']}.jpg"
        assert (tree / where).exists()
        assert split[row["dicom_id"]] in ("train", "validate", "test")
        assert row["ViewPosition"] in ("PA", "AP", "LATERAL")
        assert row["Rows"] == str(SIZE)
        assert re.fullmatch(r"2[12]\d{6}", row["StudyDate"])
        assert re.fullmatch(r"\d{6}\.\d{3}", row["StudyTime"])
        assert patients[row["subject_id"]]["gender"] in "FM"
        assert races[row["subject_id"]]


def test_truth_renders_the_film_that_is_on_disk(tree):
    truth = load_truth(tree)
    paths = {p.stem: p for p in (tree / "files").rglob("*.jpg")}
    assert set(truth) == set(paths)
    for dicom_id in list(truth)[:5]:
        film = render(truth[dicom_id], SIZE, masks=False).image.astype(int)
        with Image.open(paths[dicom_id]) as stored:
            assert np.abs(np.asarray(stored) - film).mean() < 4


def test_the_readme_says_that_it_is_synthetic(tree):
    assert "No patient" in (tree / "README.txt").read_text(encoding="utf-8")


class Stop(Exception):
    pass


def test_a_stopped_run_goes_on_and_ends_with_the_same_tree(tree, tmp_path):
    def stop_early(done, total, message):
        if done >= total // 2:
            raise Stop

    folder = tmp_path / "tree"
    with pytest.raises(Stop):
        write_tree(folder, N, seed=5, size=SIZE, workers=1, progress=stop_early)
    kept = len(list(folder.rglob("*.jpg")))
    assert 0 < kept < N
    result = write_tree(folder, N, seed=5, size=SIZE, workers=1)
    assert result["kept"] == kept
    assert result["written"] == N - kept
    assert contents(folder) == contents(tree)
    assert write_tree(folder, N, seed=5, size=SIZE, workers=1)["written"] == 0


def test_other_settings_and_other_folders_are_refused(tree, tmp_path):
    with pytest.raises(DataError, match="other settings"):
        write_tree(tree, N, seed=6, size=SIZE)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        write_tree(tmp_path, N)
    with pytest.raises(DataError, match=r"truth\.jsonl\.gz"):
        load_truth(tmp_path)


def test_two_workers_write_what_one_writes(tree, tmp_path):
    write_tree(tmp_path / "tree", N, seed=5, size=SIZE, workers=2)
    assert contents(tmp_path / "tree") == contents(tree)
    assert json.loads((tree / "phantom.json").read_text())["size"] == SIZE
