"""The MIMIC-CXR-JPG adapter: what a good row becomes, and where each kind of bad row goes."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cars.datasets.mimic_cxr_jpg import MimicCxrJpg, race_group
from cars.errors import DataError
from cars.schema import COLUMN_OF, FINDINGS, NOT_MENTIONED

from .conftest import dicom_id

# Good rows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize("version", ["2.0.0", "2.1.0"])
def test_films_labels_and_views(tree, suffix, version):
    tree.suffix, tree.version = suffix, version
    tree.draw()
    films, quarantine, missing = tree.read()
    assert list(films.index) == [dicom_id(n) for n in (1, 2, 3, 4)]
    assert quarantine.empty
    assert missing.empty
    first = films.loc[dicom_id(1)]
    assert (first["edema"], first["pneumonia"], first["pneumothorax"], first["fracture"]) == (1, -1, 0, NOT_MENTIONED)
    assert films.loc[dicom_id(2), "edema"] == 1  # labels are per study
    assert list(films["view"]) == ["PA", "lateral", "AP", "other"]
    assert list(films["split"]) == ["train", "train", "train", "test"]
    assert first["path"] == str(tree.path(1))
    assert films["on_disk"].all()
    assert (first["sex"], first["age_band"], first["race"]) == ("unknown", "unknown", "unknown")
    assert pd.isna(first["age"])
    assert (first["rows"], first["columns"]) == (3056, 2544)


def test_a_tree_with_some_films_says_which_are_missing(tree):
    tree.draw()
    tree.path(3).unlink()
    films, quarantine, missing = tree.read()
    assert missing.to_dict("records") == [{"dicom_id": dicom_id(3), "path": str(tree.path(3))}]
    assert list(films["on_disk"]) == [True, True, False, True]
    assert pd.isna(films.loc[dicom_id(3), "path"])
    assert quarantine.empty


@pytest.mark.parametrize(
    ("anchor_age", "anchor_year", "date", "age", "band"),
    [
        ("50", "2180", "21800506", 50, "40–59"),
        ("50", "2170", "21800506", 60, "60–79"),
        ("88", "2178", "21800506", 91, "80+"),  # 90 at the study: MIMIC keeps all over 89 as 91
        ("91", "2184", "21800506", 91, "80+"),  # 91 stands for any age over 89, at whatever date
        ("89", "2180", "21800506", 89, "80+"),
        ("50", "2180", "", None, "unknown"),
        ("0", "2185", "21800506", None, "unknown"),  # five years before birth: no age, and no lost film
        ("50", "2170", "21800144", 60, "60–79"),  # a shifted day past the month's end: the year still holds
    ],
)
def test_age_at_the_study(tree, anchor_age, anchor_year, date, age, band):
    tree.patients = [{"subject_id": "10000002", "gender": "F", "anchor_age": anchor_age, "anchor_year": anchor_year}]
    tree.metadata[2]["StudyDate"] = date
    film = tree.read()[0].loc[dicom_id(3)]
    assert film["sex"] == "F"
    assert pd.isna(film["age"]) if age is None else film["age"] == age
    assert film["age_band"] == band


def test_people_who_are_not_in_mimic_iv_are_unknown_not_lost(tree):
    tree.patients = [{"subject_id": "10000001", "gender": "M", "anchor_age": "30", "anchor_year": "2180"}]
    films = tree.read()[0]
    assert list(films["sex"]) == ["M", "M", "unknown", "unknown"]
    assert len(films) == 4


def test_race_is_the_group_of_most_admissions(tree):
    stated = {
        "10000001": ["WHITE - RUSSIAN", "UNKNOWN", "UNKNOWN", "WHITE"],
        "10000002": ["BLACK/AFRICAN AMERICAN", "HISPANIC/LATINO - CUBAN"],
        "10000003": ["UNABLE TO OBTAIN", ""],
    }
    tree.admissions = [{"subject_id": s, "race": race} for s, races in stated.items() for race in races]
    films = tree.read()[0]
    assert list(films["race"]) == ["white", "white", "multiple", "unknown"]


@pytest.mark.parametrize(
    ("value", "group"),
    [("ASIAN - CHINESE", "asian"), ("PORTUGUESE", "white"), ("OTHER", "other"), ("", "unknown"),
     ("AMERICAN INDIAN/ALASKA NATIVE", "native american"), ("PATIENT DECLINED TO ANSWER", "unknown")],
)  # fmt: skip
def test_race_groups(value, group):
    assert race_group(value) == group


def test_patients_given_by_option_as_file_or_folder(tree, tmp_path):
    tree.patients = [{"subject_id": "10000001", "gender": "M", "anchor_age": "30", "anchor_year": "2180"}]
    tree.write()
    (tree.root / "hosp").rename(tmp_path / "mimic-iv")
    tree.patients = []
    assert tree.read()[0]["sex"].iloc[0] == "unknown"
    for option in (tmp_path / "mimic-iv", tmp_path / "mimic-iv" / "patients.csv.gz"):
        assert tree.read(patients=str(option))[0]["sex"].iloc[0] == "M"
    with pytest.raises(DataError, match=r"patients\.csv"):
        tree.read(patients=str(tmp_path / "nowhere"))


def test_reports_stand_beside_the_study(tree):
    tree.draw()
    (tree.path(1).parent.parent / "s50000001.txt").write_text(" FINDINGS: edema.\n")
    films = tree.read(reports=True)[0]
    assert list(films["report"].iloc[:2]) == ["FINDINGS: edema."] * 2
    assert films["report"].iloc[2:].isna().all()
    assert tree.read()[0]["report"].isna().all()


def test_dicom_trees_take_their_paths_from_the_record_list(tree):
    tree.write()
    lines = ["subject_id,study_id,dicom_id,path"]
    for row in tree.metadata:
        place = f"files/p10/p{row['subject_id']}/s{row['study_id']}/{row['dicom_id']}.dcm"
        lines.append(f"{row['subject_id']},{row['study_id']},{row['dicom_id']},{place}")
    lines[4] = lines[4].replace("files/p10", "../../etc")
    (tree.root / "cxr-record-list.csv").write_text("\n".join(lines) + "\n")
    path = tree.path(3).with_suffix(".dcm")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    films, quarantine, missing = tree.read()
    assert films.loc[dicom_id(3), "path"] == str(path)
    assert list(films["on_disk"]) == [False, False, True, False]
    assert set(missing["path"].str[-4:]) == {".dcm"}
    assert not missing["path"].str.contains("etc").any()
    assert quarantine["reason"].tolist() == ["path leaves the tree"]


def test_the_other_labeler_and_the_radiologists_test_labels(tree):
    tree.write()
    chexpert = tree.root / "mimic-cxr-2.0.0-chexpert.csv.gz"
    header = ",".join(["subject_id", "study_id", *FINDINGS])
    negbio = [header, *(f"{10000000 + n},{50000000 + n},{'1.0' if n == 1 else ''}" + "," * 13 for n in (1, 2, 3))]
    (tree.root / "mimic-cxr-2.0.0-negbio.csv").write_text("\n".join(negbio) + "\n")
    assert tree.read(labeler="negbio")[0].loc[dicom_id(1), "atelectasis"] == 1
    assert tree.read()[0].loc[dicom_id(1), "atelectasis"] == NOT_MENTIONED

    with pytest.raises(DataError, match="test-set-labeled"):
        tree.read(test_labels=True)
    own = "study_id,Airspace Opacity,Edema\n50000003.0,1,-1\n50000009,1,\n"
    (tree.root / "mimic-cxr-2.1.0-test-set-labeled.csv").write_text(own)
    films = tree.read(test_labels=True)[0]
    film = films.loc[dicom_id(4)]
    assert (film["lung_opacity"], film["edema"]) == (1, -1)
    assert films.loc[dicom_id(1), "edema"] == 1  # the labeler's, untouched
    assert tree.read()[0].loc[dicom_id(4), "edema"] == NOT_MENTIONED
    assert chexpert.exists()


def test_limit_takes_the_first_patients(tree):
    assert list(tree.read(limit=3)[0]["subject_id"]) == ["10000001", "10000001", "10000002"]


# Bad rows ------------------------------------------------------------------------------------------------------------


def rows(quarantine, *names):
    return [tuple(row) for row in quarantine[list(names)].itertuples(index=False)]


BAD_CELLS = [
    # table, row, column, bad value, reason, films that stay
    ("metadata", 2, "dicom_id", "02aa804e-bde0afdd", "malformed dicom_id", (1, 2, 4)),
    ("metadata", 2, "subject_id", "p10000002", "malformed subject_id", (1, 2, 4)),
    ("metadata", 2, "study_id", "5x", "malformed study_id", (1, 2, 4)),
    ("metadata", 2, "StudyDate", "06.05.2180", "not a date (YYYYMMDD)", (1, 2, 4)),
    ("metadata", 2, "StudyDate", "21801305", "not a date (YYYYMMDD)", (1, 2, 4)),
    ("metadata", 2, "Rows", "-5", "not a number of pixels", (1, 2, 4)),
    ("split", 2, "split", "training", "split is not one of train, validate, test", (1, 2, 4)),
    ("split", 2, "subject_id", "10000009", "metadata has another subject_id", (1, 2, 4)),
    ("split", 2, "study_id", "50000009", "metadata has another study_id", (1, 2, 4)),
    ("chexpert", 1, "Edema", "2.0", "label is not one of 1.0, 1, 0.0, 0, -1.0, -1 or blank", (1, 2, 4)),
    ("chexpert", 1, "Fracture", "yes", "label is not one of 1.0, 1, 0.0, 0, -1.0, -1 or blank", (1, 2, 4)),
    ("chexpert", 1, "subject_id", "10000009", "metadata has another subject_id", (1, 2, 4)),
]


@pytest.mark.parametrize(("table", "row", "column", "value", "reason", "stay"), BAD_CELLS)
def test_a_bad_cell_is_set_aside_and_the_rest_goes_on(tree, table, row, column, value, reason, stay):
    getattr(tree, table)[row][column] = value
    films, quarantine, _ = tree.read()
    assert list(films.index) == [dicom_id(n) for n in stay]
    file = f"mimic-cxr-2.0.0-{table}.csv.gz"
    # the header is row 1 of the file, so the list's row n is the file's row n + 2
    assert (file, row + 2, column, value, reason) in rows(quarantine, "file", "row", "column", "value", "reason")


def test_bad_patients_leave_sex_and_age_unknown(tree):
    good = {"subject_id": "10000001", "gender": "M", "anchor_age": "30", "anchor_year": "2180"}
    tree.patients = [
        good,
        {**good, "subject_id": "10000002", "gender": "X"},
        {**good, "subject_id": "10000003", "anchor_age": "-4"},
    ]
    films, quarantine, _ = tree.read()
    assert list(films["sex"]) == ["M", "M", "unknown", "unknown"]
    assert rows(quarantine, "row", "column", "value") == [(3, "gender", "X"), (4, "anchor_age", "-4")]
    assert quarantine["dicom_id"].isna().all()


def test_a_renamed_column_is_named_with_its_nearest(tree):
    header = ["dicom_id", "subject_id", "study_id", "x", "View_Position", "Rows", "Columns", "StudyDate", "StudyTime"]
    tree.header_of["metadata"] = header
    with pytest.raises(DataError) as caught:
        tree.read()
    assert "mimic-cxr-2.0.0-metadata.csv.gz" in caught.value.message
    assert "'ViewPosition'" in caught.value.message
    assert "'View_Position'" in caught.value.hint
    assert "StudyDate" in caught.value.hint


@pytest.mark.parametrize("kind", ["metadata", "split", "chexpert"])
def test_a_missing_table_is_named(tree, kind):
    source = tree.write()
    (tree.root / f"mimic-cxr-2.0.0-{kind}.csv.gz").unlink()
    with pytest.raises(DataError, match=kind):
        list(MimicCxrJpg().read(source, None))


def test_no_folder_and_damaged_files_are_data_errors(tree, tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        list(MimicCxrJpg().read(str(tmp_path / "nowhere"), None))
    source = tree.write()
    path = tree.root / "mimic-cxr-2.0.0-split.csv.gz"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"split\.csv\.gz cannot be read"):
        list(MimicCxrJpg().read(source, None))
    path.write_bytes(gzip.compress("dicom_id,study_id,subject_id,split\n\xe9,,,\n".encode("latin-1")))
    with pytest.raises(DataError, match=r"split\.csv\.gz"):
        list(MimicCxrJpg().read(source, None))
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match="is empty"):
        list(MimicCxrJpg().read(source, None))


def test_duplicate_dicom_ids(tree):
    tree.metadata.append(dict(tree.metadata[0]))  # an exact copy: the first stays
    tree.metadata.append({**tree.metadata[2], "study_id": "50000007"})  # a contradiction: neither is believed
    films, quarantine, _ = tree.read()
    assert list(films.index) == [dicom_id(n) for n in (1, 2, 4)]
    found = rows(quarantine, "row", "reason")
    assert (6, "duplicate dicom_id") in found
    assert {(4, "dicom_id occurs again with other values"), (7, "dicom_id occurs again with other values")} <= set(
        found
    )


def test_a_patient_in_two_splits_is_refused_with_all_films(tree):
    tree.split[1]["split"] = "test"
    films, quarantine, _ = tree.read()
    assert list(films.index) == [dicom_id(3), dicom_id(4)]
    assert set(rows(quarantine, "dicom_id", "reason")) == {
        (dicom_id(1), "patient in two splits: test, train"),
        (dicom_id(2), "patient in two splits: test, train"),
    }


def test_a_study_of_two_patients_is_refused(tree):
    tree.metadata[2]["study_id"] = tree.split[2]["study_id"] = "50000001"
    films, quarantine, _ = tree.read()
    assert list(films.index) == [dicom_id(4)]
    assert quarantine["reason"].tolist() == ["study belongs to two patients"] * 3


def test_a_study_without_labels_and_a_film_without_metadata(tree):
    del tree.chexpert[1]
    tree.split.append({"dicom_id": dicom_id(9), "subject_id": "10000009", "study_id": "50000009", "split": "train"})
    del tree.split[3]
    films, quarantine, _ = tree.read()
    assert list(films.index) == [dicom_id(1), dicom_id(2)]
    assert set(rows(quarantine, "dicom_id", "reason")) == {
        (dicom_id(3), "study has no valid labels"),
        (dicom_id(9), "no metadata"),
        (dicom_id(4), "no valid row in the split table"),
    }


def test_rows_with_too_many_or_too_few_cells(tree):
    source = tree.write()
    path = tree.root / "mimic-cxr-2.0.0-split.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    lines[2] += ",extra"
    lines.insert(1, "")
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    batches = list(MimicCxrJpg().read(source, None))
    assert len(batches[0].films) == 3
    found = batches[0].quarantine
    assert (4, "5 cells where the header has 4") in rows(found, "row", "reason")
    # the rows after it keep their true numbers
    assert found["reason"].tolist().count("no valid row in the split table") == 1


cells = st.one_of(st.text(max_size=8), st.sampled_from(["", "1.0", "train", "10000001", "21800506", dicom_id(1)]))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.sampled_from(["metadata", "split", "chexpert"]),
    row=st.integers(0, 2),
    column=st.integers(0, 15),
    value=cells,
)
def test_whatever_one_cell_holds_no_film_is_lost_unseen_and_no_patient_crosses(tree, table, row, column, value):
    given_rows = getattr(tree, table)
    names = list(given_rows[row])
    name = names[column % len(names)]
    before = given_rows[row][name]
    given_rows[row][name] = value
    try:
        films, quarantine, _ = tree.read()
        assert films.groupby("subject_id")["split"].nunique().max() <= 1
        assert films.index.is_unique
        assert films[list(COLUMN_OF.values())].isin([1, 0, -1, -2]).all(axis=None)
        metadata_ids = {r["dicom_id"].strip() for r in tree.metadata}
        aside = set(quarantine["dicom_id"].dropna())
        assert metadata_ids - {""} <= set(films.index) | aside
        assert len(films) >= 1
    finally:
        given_rows[row][name] = before


# Real films ----------------------------------------------------------------------------------------------------------


def test_open_cxr_reads_whole(open_cxr):
    batches = list(MimicCxrJpg().read(str(open_cxr), None))
    films = pd.concat([batch.films for batch in batches])
    assert len(films) == 1346
    assert films["subject_id"].nunique() == 1115
    assert films["on_disk"].all()
    assert sum(len(batch.quarantine) for batch in batches) == 0
    assert films.groupby("subject_id")["split"].nunique().max() == 1
    labels = pd.read_csv(open_cxr / "mimic-cxr-2.0.0-chexpert.csv.gz")
    for finding in FINDINGS:
        assert (films[COLUMN_OF[finding]] == 1).sum() == (labels[finding] == 1).sum()


def test_synthetic_films_of_an_export_never_become_real(tree):
    tree.draw()
    tree.write()
    path = next(tree.root.glob("*metadata.csv*"))
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    lines = text.splitlines()
    origins = ["origin", "real", "synthetic", "real", "Synthetic"]
    text = "\n".join(f"{line},{origin}" for line, origin in zip(lines, origins, strict=True)) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    batches = list(MimicCxrJpg().read(str(tree.root), None))
    films = pd.concat([batch.films for batch in batches])
    quarantine = pd.concat([batch.quarantine for batch in batches])
    assert list(films["dicom_id"]) == [dicom_id(1), dicom_id(3)]
    assert set(quarantine.loc[quarantine["column"] == "origin", "dicom_id"]) == {dicom_id(2), dicom_id(4)}
