"""The folder adapter: a TOML mapping over any table, and what it refuses."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cars.datasets import folder
from cars.datasets._tables import SPLIT_PERCENT, split_of_patient
from cars.datasets.folder import Folder, read_mapping
from cars.errors import DataError
from cars.imaging import save_png

MAPPING = """
name = "hospital-x"
licence = "internal"
patient_derived = false
table = "films.csv"
images = "images"

[columns]
subject_id = "patient"
path = "file"
view = "projection"
sex = "gender"
age = "years"
split = "set"

[values.view]
"postero-anterior" = "PA"
[values.sex]
female = "F"
[values.split]
val = "validate"
[values.findings]
yes = "present"
no = "absent"
maybe = "uncertain"

[findings]
"Pleural Effusion" = "effusion"

[labels]
column = "others"
separator = ";"
[labels.words]
"big heart" = "Cardiomegaly"
pneu = "Pneumothorax"
"""
TABLE = """patient,file,projection,gender,years,set,effusion,others
a,1.png,postero-anterior,female,40,train,yes,big heart; pneu
a,2.png,lateral,female,41,train,no,
b,3.png,,M,,val,maybe,unheard of
c,sub/4.png,AP,,70.5,test,,
"""


@pytest.fixture
def source(tmp_path):
    """The TOML file of four films, one of whose files is not there."""
    (tmp_path / "cars.toml").write_text(MAPPING)
    (tmp_path / "films.csv").write_text(TABLE)
    for name in ("1.png", "2.png", "sub/4.png"):
        save_png(tmp_path / "images" / name, np.eye(8, dtype=np.uint8) * 255)
    return tmp_path / "cars.toml"


def read(source, **options):
    batches = list(Folder().read(str(source), None, **options))
    return pd.concat([b.films for b in batches]).set_index("dicom_id"), batches[0].quarantine, batches[0].missing


def test_columns_words_and_findings(source):
    films, quarantine, missing = read(source)
    assert quarantine.empty
    assert list(films["view"]) == ["PA", "lateral", "unknown", "AP"]
    assert list(films["sex"]) == ["F", "F", "M", "unknown"]
    assert list(films["age_band"]) == ["40–59", "40–59", "unknown", "60–79"]
    assert list(films["split"]) == ["train", "train", "validate", "test"]
    assert list(films["pleural_effusion"]) == [1, 0, -1, -2]
    assert list(films["cardiomegaly"]) == [1, -2, -2, -2]
    assert list(films["enlarged_cardiomediastinum"]) == [1, -2, -2, -2]  # cardiomegaly's parent
    assert list(films["pneumothorax"]) == [1, -2, -2, -2]
    assert list(films["on_disk"]) == [True, True, False, True]
    assert films.loc["1.png", "path"] == str(source.parent / "images" / "1.png")
    assert missing["dicom_id"].tolist() == ["3.png"]
    assert set(films["dataset"]) == {"hospital-x"}
    assert set(films["origin"]) == {"real"}
    about = Folder().about(str(source))
    assert (about["licence"], about["patient_derived"]) == ("internal", False)
    assert Folder().files(str(source), None) == [source, source.parent / "films.csv"]


@pytest.mark.parametrize(
    ("good", "bad", "column", "reason"),
    [
        ("a,2.png", ",2.png", "patient", "subject_id is blank"),
        ("2.png", "../2.png", "file", "path is blank or leaves the folder"),
        ("2.png", "/etc/2.png", "file", "path is blank or leaves the folder"),
        ("lateral,female", "sideways,female", "projection", "view is not one of PA, AP, lateral, other, unknown"),
        ("lateral,female", "lateral,woman", "gender", "sex is not one of F, M, unknown"),
        ("41,train", "old,train", "years", "age is not a number from 0 to 120"),
        ("41,train", "410,train", "years", "age is not a number from 0 to 120"),
        ("41,train", "41,practice", "set", "split is not one of train, validate, test, none"),
        ("train,no", "train,perhaps", "effusion", None),
    ],
)
def test_bad_cells_are_set_aside(source, good, bad, column, reason):
    assert TABLE.count(good) == 1
    (source.parent / "films.csv").write_text(TABLE.replace(good, bad))
    films, quarantine, _ = read(source)
    assert len(films) == 3
    row = quarantine.iloc[0]
    assert (row["file"], row["row"], row["column"]) == ("films.csv", 3, column)
    assert row["reason"] == (reason or "label is not one of 1.0, 1, 0.0, 0, -1.0, -1, yes, no, maybe or blank")


def test_a_patient_in_two_splits_is_refused(source):
    (source.parent / "films.csv").write_text(TABLE.replace("41,train", "41,test"))
    films, quarantine, _ = read(source)
    assert list(films["subject_id"]) == ["b", "c"]
    assert quarantine["reason"].tolist() == ["patient in two splits: test, train"] * 2


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ('path = "file"', 'pathh = "file"', ["'pathh'", "subject_id, dicom_id"]),
        ('"Pleural Effusion" =', '"Effusion" =', ["'Effusion'", "Pleural Effusion"]),
        ('female = "F"', 'female = "W"', ["'W'", "F, M, unknown"]),
        ('yes = "present"', 'yes = "there"', ["'there'", "uncertain"]),
        ('table = "films.csv"', "", ["table"]),
        ("[columns]", "[columns", ["cars.toml cannot be read"]),
        ('years"', 'age_years"', ["'age_years'", "years"]),
    ],
)
def test_a_wrong_mapping_is_quoted(source, good, bad, words):
    source.write_text(MAPPING.replace(good, bad, 1))
    with pytest.raises(DataError) as caught:
        read(source)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_examples_in_the_docstring_and_the_docs_are_valid(tmp_path):
    docs = Path(__file__).resolve().parents[2] / "docs" / "data-sets.md"
    blocks = [textwrap.dedent(folder.__doc__.split(":\n\n", 1)[1])]
    blocks += re.findall(r"```toml\n(.*?)```", docs.read_text(encoding="utf-8"), flags=re.S)
    assert len(blocks) >= 2
    for block in blocks:
        (tmp_path / "c.toml").write_text(block)
        assert read_mapping(str(tmp_path / "c.toml"))["table"] == "films.csv"


def test_a_missing_mapping_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.toml"):
        read_mapping(str(tmp_path / "none.toml"))


def test_labels_only_and_hashed_splits(tmp_path):
    (tmp_path / "t.csv").write_text("id,p\n" + "".join(f"f{n},p{n // 2}\n" for n in range(400)))
    (tmp_path / "c.toml").write_text('table = "t.csv"\n[columns]\ndicom_id = "id"\nsubject_id = "p"\n')
    films, _, missing = read(tmp_path / "c.toml")
    assert missing.empty
    assert films["path"].isna().all()
    assert not films["on_disk"].any()
    assert films.groupby("subject_id")["split"].nunique().max() == 1
    assert set(films["split"]) == set(SPLIT_PERCENT)


@given(st.text(max_size=20))
def test_a_patients_split_is_a_function_of_the_id(subject_id):
    assert split_of_patient(subject_id) in SPLIT_PERCENT
    assert split_of_patient(subject_id) == split_of_patient(subject_id)


def test_hashed_splits_have_their_shares():
    found = pd.Series([split_of_patient(f"patient{n:05d}") for n in range(20_000)]).value_counts(normalize=True)
    for split, percent in SPLIT_PERCENT.items():
        assert abs(found[split] - percent / 100) < 0.01
