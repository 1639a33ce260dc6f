"""torchxrayvision's label tables, checked against the package's own CSV files."""

from __future__ import annotations

import pandas as pd
import pytest

from cars.datasets.xrv import NIH_LABELS, PADCHEST_LABELS, SOURCES, VINBIGDATA_CLASSES, XRayVision, package_data
from cars.errors import SettingError
from cars.schema import COLUMN_OF, FINDINGS


def read(source, **options):
    batches = list(XRayVision().read(source, None, **options))
    return pd.concat([b.films for b in batches]).set_index("dicom_id"), batches[0].quarantine


@pytest.fixture(scope="module")
def chexpert():
    return read("chexpert")[0]


def test_chexpert_has_every_row_and_cell(chexpert):
    table = pd.read_csv(package_data() / "chexpert_train.csv.gz")
    assert len(chexpert) == len(table) == 223_414
    assert chexpert["subject_id"].nunique() == table["Path"].str.extract(r"(patient\d+)")[0].nunique() == 64_540
    for finding in FINDINGS:
        own = chexpert[COLUMN_OF[finding]].value_counts()
        for value in (1, 0, -1):
            assert own.get(value, 0) == (table[finding] == value).sum()
        assert own[-2] == table[finding].isna().sum()
    assert (chexpert["view"] == "lateral").sum() == (table["Frontal/Lateral"] == "Lateral").sum()
    film = chexpert.loc["patient00001_study1_view1_frontal"]
    assert (film["subject_id"], film["sex"], film["age"], film["view"]) == ("patient00001", "F", 68, "AP")
    assert (film["no_finding"], film["pneumothorax"], film["support_devices"]) == (1, 0, 1)


def test_chexpert_films_are_rows_only_and_no_patient_crosses_splits(chexpert):
    assert chexpert["path"].isna().all()
    assert not chexpert["on_disk"].any()
    patients = chexpert.groupby("subject_id")["split"].agg(["nunique", "first"])
    assert patients["nunique"].max() == 1
    shares = patients["first"].value_counts(normalize=True)
    assert abs(shares["train"] - 0.8) < 0.01
    assert abs(shares["test"] - 0.1) < 0.01


def test_nih_lists_become_findings_and_their_parents():
    films = read("nih")[0]
    assert len(films) == 112_120
    assert films["subject_id"].nunique() == 30_805
    film = films.loc["00000001_001"]  # Cardiomegaly|Emphysema
    assert (film["cardiomegaly"], film["enlarged_cardiomediastinum"], film["lung_lesion"]) == (1, 1, -2)
    assert (film["subject_id"], film["sex"], film["age"], film["view"]) == ("1", "M", 58, "PA")
    table = pd.read_csv(package_data() / "Data_Entry_2017_v2020.csv.gz")
    assert (films["pleural_effusion"] == 1).sum() == table["Finding Labels"].str.contains("Effusion").sum()
    assert not films[list(COLUMN_OF.values())].isin([0, -1]).any(axis=None)  # a list asserts no absence


def test_vinbigdata_counts_readers():
    films = read("vinbigdata")[0]
    table = pd.read_csv(package_data() / "vinbigdata-train.csv.gz")
    votes = table[table["class_name"] == "Pneumothorax"].groupby("image_id")["rad_id"].nunique()
    for dicom_id, n in votes.items():
        assert films.loc[dicom_id, "pneumothorax"] == (1 if n >= 2 else -1)
    assert (films["pneumothorax"] == 0).sum() == len(films) - len(votes)
    assert (films["edema"] == -2).all()


def test_rsna_and_siim():
    films = read("rsna")[0]
    assert len(films) == 26_684
    assert films["lung_opacity"].value_counts().to_dict() == {0: 20_672, 1: 6_012}
    assert set(films.loc[films["lung_opacity"] == 1, "pneumonia"]) == {-1}
    film = films.loc["82193858-3906-4c2f-b5b4-8aa1280f6181"]
    assert (film["sex"], film["age"], film["view"]) == ("F", 43, "AP")
    films = read("siim")[0]
    assert films["pneumothorax"].value_counts().to_dict() == {0: 9_378, 1: 2_669}


def test_a_wrong_source_lists_the_right_ones():
    with pytest.raises(SettingError, match="padchest"):
        read("chexpret")


def test_each_source_has_its_own_licence_and_its_files_are_there():
    adapter = XRayVision()
    for source in SOURCES:
        about = adapter.about(source)
        assert about["patient_derived"]
        assert about["licence"] == SOURCES[source].licence
        assert SOURCES[source].citation in about["citation"]
        assert all(path.is_file() for path in adapter.files(source, None))


@pytest.mark.parametrize("mapping", [NIH_LABELS, PADCHEST_LABELS, VINBIGDATA_CLASSES])
def test_mappings_name_findings(mapping):
    assert set(mapping) <= set(FINDINGS)


def test_padchest_words_are_in_its_table():
    table = pd.read_csv(package_data() / SOURCES["padchest"].files[0], usecols=["Labels"])
    text = " ".join(table["Labels"].dropna().unique())
    for words in PADCHEST_LABELS.values():
        for word in words:
            assert f"'{word}'" in text, word


def test_padchest_sample():
    films, quarantine = read("padchest", limit=3000)
    assert len(films) == 3000
    assert set(quarantine["reason"]) == {"film without labels"}
    assert films["age"].between(0, 120).mean() > 0.99
    assert set(films["view"]) <= {"PA", "AP", "lateral", "other", "unknown"}
