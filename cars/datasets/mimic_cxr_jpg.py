"""MIMIC-CXR-JPG 2.0.0 / 2.1.0 as it lies on disk, and any tree that follows its layout.

SOURCE is the folder that holds `files/` and the tables:

    files/p10/p10000032/s50414267/<dicom_id>.jpg    or, with cxr-record-list.csv(.gz) beside it, MIMIC-CXR's .dcm tree
    mimic-cxr-2.0.0-metadata.csv.gz, …-split.csv.gz, …-chexpert.csv.gz or …-negbio.csv.gz      (2.1.0 names also)
    mimic-cxr-2.1.0-test-set-labeled.csv           optional: a radiologist's labels of test studies
    patients.csv.gz, admissions.csv.gz             optional: MIMIC-IV hosp, in SOURCE, SOURCE/hosp, or given by option
    files/p10/p10000032/s50414267.txt              optional: reports

Labels are per study, films per dicom. Every table may be .csv or .csv.gz. A tree with part of the films works.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from ..catalog import query
from ..errors import DataError
from ..progress import Progress, silent
from ..schema import COLUMN_OF, FINDINGS, SPLITS
from ..workspace import Workspace
from . import DATASETS, Adapter, Batch
from ._tables import Quarantine, batches, drop_duplicates, find, label_columns, map_unique, read_table

VERSIONS = ("2.1.0", "2.0.0")
DICOM_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}"
#: MIMIC's subjects start with 1 and its studies with 5; trees in its layout may number theirs otherwise.
SUBJECT_ID = STUDY_ID = r"\d{8}"
#: YYYYMMDD. Only the year is computed with; a day past the month's end, as shifted dates can have, is let through.
STUDY_DATE = r"(?:[12]\d{3}(?:0[1-9]|1[0-2])(?!00)\d{2})?"
#: The 2.1.0 radiologist table says "Airspace Opacity" where the labelers say "Lung Opacity".
TEST_LABEL_NAMES = {"Lung Opacity": "Airspace Opacity"}
#: MIMIC-IV's race, by how the value starts → group. Anything else stated is "other".
RACE_GROUPS = {
    "WHITE": "white",
    "PORTUGUESE": "white",
    "BLACK": "black",
    "HISPANIC": "hispanic",
    "SOUTH AMERICAN": "hispanic",
    "ASIAN": "asian",
    "AMERICAN INDIAN": "native american",
    "NATIVE HAWAIIAN": "pacific islander",
    "MULTIPLE": "multiple",
    "UNKNOWN": "unknown",
    "UNABLE TO OBTAIN": "unknown",
    "PATIENT DECLINED": "unknown",
}


def race_group(value: str) -> str:
    """MIMIC-IV's race ("ASIAN - CHINESE") → group ("asian"); blank → "unknown"."""
    plain = value.strip().upper()
    if not plain:
        return "unknown"
    return next((group for start, group in RACE_GROUPS.items() if plain.startswith(start)), "other")


@dataclass(frozen=True)
class Tree:
    """Where the files of one MIMIC tree are; None where an optional one is absent."""

    root: Path
    metadata: Path
    split: Path
    labels: Path
    test_labels: Path | None
    records: Path | None
    patients: Path | None
    admissions: Path | None

    def tables(self) -> list[Path]:
        """All tables that are there."""
        names = ("metadata", "split", "labels", "test_labels", "records", "patients", "admissions")
        return [path for path in (getattr(self, name) for name in names) if path is not None]


@DATASETS.register("mimic-cxr-jpg")
class MimicCxrJpg(Adapter):
    """MIMIC-CXR-JPG: 377,110 chest radiographs of 65,379 patients, Beth Israel Deaconess Medical Center, 2011–2016.

    Licence: PhysioNet Credentialed Health Data License 1.5.0. Access: a PhysioNet account, CITI training and the data
    use agreement; no sharing, no re-identification, no sending to third-party services. Synthetic films, weights and
    per-row outputs made from it are patient-derived and stay under the same agreement.
    Citation: Johnson et al., MIMIC-CXR-JPG, 2019, arXiv 1901.07042; doi:10.13026/jsn5-t979.
    """

    licence = "PhysioNet Credentialed Health Data License 1.5.0"
    terms = (
        "Credentialed data use agreement: no sharing of the data or of anything a patient could be re-identified from, "
        "no sending to third-party services. Synthetic films, weights and per-row outputs made from it stay under it."
    )
    citation = (
        "Johnson A, Lungren M, Peng Y, et al. MIMIC-CXR-JPG: chest radiographs with structured labels. PhysioNet, "
        "doi:10.13026/jsn5-t979; arXiv 1901.07042 (2019)."
    )
    patient_derived = True
    options: tuple[str, ...] = ("patients", "admissions", "tables", "reports", "labeler", "test_labels", "limit")
    name = "mimic-cxr-jpg"

    def files(self, source: str, workspace: Workspace, **options: Any) -> list[Path]:
        return locate(Path(source), **options).tables()

    def read(self, source: str, workspace: Workspace, progress: Progress = silent, **options: Any) -> Iterator[Batch]:
        """See Adapter.read. Options: patients, admissions, tables (folders or files), reports, labeler, test_labels,
        limit."""
        tree = locate(Path(source), **options)
        quarantine = Quarantine()
        films = _films(tree, quarantine, progress)
        parts = batches(films, quarantine, self.name, options.get("limit"))
        for part in parts:
            yield _with_reports(part, tree.root) if options.get("reports") else part


# Finding the files ---------------------------------------------------------------------------------------------------


def locate(
    root: Path,
    labeler: str = "chexpert",
    tables: str | None = None,
    patients: str | None = None,
    admissions: str | None = None,
    test_labels: bool = False,
    **_: Any,
) -> Tree:
    """The files of a tree. `tables`: another folder to look in, for CSV files kept apart from the films.

    Raises: DataError that names the file that is missing and those that are there.
    """
    root = root.expanduser().absolute()
    if not root.is_dir():
        raise DataError(f"There is no folder {root}.", "SOURCE is the folder that holds files/ and the CSV tables.")
    folders = [root, *([Path(tables).expanduser().absolute()] if tables else [])]

    def need(kind: str) -> Path:
        path = find([f"mimic-cxr-{version}-{kind}.csv" for version in VERSIONS], folders)
        if path is None:
            there = ", ".join(sorted(p.name for f in folders if f.is_dir() for p in f.glob("*.csv*"))) or "no CSV file"
            raise DataError(
                f"mimic-cxr-2.0.0-{kind}.csv(.gz) is not in {', '.join(map(str, folders))}.", f"There is: {there}."
            )
        return path

    def given(option: str | None, name: str) -> Path | None:
        if option:
            path = Path(option).expanduser().absolute()
            found = find([name], [path, path / "hosp"]) if path.is_dir() else path
            if found is None or not found.is_file():
                raise DataError(f"There is no {name}(.gz) at {option}.", "Give the file, or the folder that holds it.")
            return found
        return find([name], [f / sub for f in folders for sub in ("", "hosp")])

    radiologist = find(["mimic-cxr-2.1.0-test-set-labeled.csv"], folders) if test_labels else None
    if test_labels and radiologist is None:
        raise DataError(f"mimic-cxr-2.1.0-test-set-labeled.csv is not in {root}.", "It comes with version 2.1.0.")
    return Tree(
        root, need("metadata"), need("split"), need(labeler), radiologist, find(["cxr-record-list.csv"], folders),
        given(patients, "patients.csv"), given(admissions, "admissions.csv"),
    )  # fmt: skip


# Reading the tables --------------------------------------------------------------------------------------------------


def _films(tree: Tree, quarantine: Quarantine, progress: Progress) -> pd.DataFrame:
    """All good films, joined; everything else is in quarantine."""
    steps = 7
    with duckdb.connect(":memory:") as db:
        db.execute("SET threads = 2; SET enable_progress_bar = false;")
        for n, (name, table) in enumerate(_tables(tree, quarantine)):
            progress(n, steps, f"reading {name}")
            db.register(name, table)
        progress(steps - 1, steps, "joining tables")
        db.register("quarantined", quarantine.frame())
        stray = query(db, "ingest/mimic_without_metadata")
        films = query(db, "ingest/mimic_films")
    quarantine.add(tree.split.name, stray["row"], "dicom_id", stray["dicom_id"], "no metadata", stray["dicom_id"])
    bad = films[films["reason"].notna()]
    for (file, column), rows in bad.groupby(["q_file", "q_column"]):
        path: Path = getattr(tree, str(file))
        quarantine.add(path.name, rows["q_row"], str(column), rows["q_value"], rows["reason"], rows["dicom_id"])
    films = films[films["reason"].isna()]
    suffix = ".jpg" if tree.records is None else ".dcm"
    subject = films["subject_id"]
    own = "files/p" + subject.str[:2] + "/p" + subject + "/s" + films["study_id"] + "/" + films["dicom_id"] + suffix
    films["path"] = str(tree.root) + os.sep + films["record_path"].fillna(own)
    films["rows"] = pd.to_numeric(films["table_rows"], errors="coerce")
    films["columns"] = pd.to_numeric(films["table_columns"], errors="coerce")
    films["study_date"] = films["study_date"].replace("", None)
    progress(steps, steps, "tables read")
    return films


def _tables(tree: Tree, quarantine: Quarantine) -> Iterator[tuple[str, pd.DataFrame]]:
    """(name in sql/ingest/mimic_films.sql, checked table), one after the other."""
    yield "metadata", _metadata(tree.metadata, quarantine)
    yield "split", _split(tree.split, quarantine)
    yield "labels", _labels(tree.labels, tree.test_labels, quarantine)
    yield "records", _records(tree.records, quarantine)
    yield "patients", _patients(tree.patients, quarantine)
    yield "races", _races(tree.admissions, quarantine)


def _check_ids(table: pd.DataFrame, file: str, quarantine: Quarantine) -> pd.DataFrame:
    for column, pattern in (("dicom_id", DICOM_ID), ("subject_id", SUBJECT_ID), ("study_id", STUDY_ID)):
        if column in table:
            bad = ~table[column].str.fullmatch(pattern)
            table = quarantine.drop(table, bad, file, column, f"malformed {column}")
    return table


def _metadata(path: Path, quarantine: Quarantine) -> pd.DataFrame:
    names = ["dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns", "StudyDate"]
    table = read_table(path, names, quarantine, optional=["origin"])
    if "origin" in table:  # an export of CARS says which films are edits: they never become real ones
        synthetic = table["origin"].str.lower() == "synthetic"
        table = quarantine.drop(table, synthetic, path.name, "origin", "a synthetic film, not a real one")
    table = _check_ids(table, path.name, quarantine)
    bad = ~table["StudyDate"].str.fullmatch(STUDY_DATE)
    table = quarantine.drop(table, bad, path.name, "StudyDate", "not a date (YYYYMMDD)")
    for name in ("Rows", "Columns"):
        bad = ~table[name].str.fullmatch(r"\d{0,5}(\.0)?")
        table = quarantine.drop(table, bad, path.name, name, "not a number of pixels")
    return drop_duplicates(table, "dicom_id", names[1:], path.name, quarantine)


def _split(path: Path, quarantine: Quarantine) -> pd.DataFrame:
    names = ["dicom_id", "study_id", "subject_id", "split"]
    table = _check_ids(read_table(path, names, quarantine), path.name, quarantine)
    allowed = [split for split in SPLITS if split != "none"]
    bad = ~table["split"].isin(allowed)
    table = quarantine.drop(table, bad, path.name, "split", f"split is not one of {', '.join(allowed)}")
    return drop_duplicates(table, "dicom_id", names[1:], path.name, quarantine)


def _labels(path: Path, radiologist: Path | None, quarantine: Quarantine) -> pd.DataFrame:
    """study_id, subject_id and 14 codes; the radiologist's values stand in for the labeler's where they exist."""
    names = {finding: finding for finding in FINDINGS}
    table = read_table(path, ["subject_id", "study_id", *FINDINGS], quarantine)
    table = label_columns(_check_ids(table, path.name, quarantine), names, path.name, quarantine)
    columns = list(COLUMN_OF.values())
    table = drop_duplicates(table, "study_id", ["subject_id", *columns], path.name, quarantine)
    if radiologist is None:
        return table
    every = [*FINDINGS, *TEST_LABEL_NAMES.values()]
    own = read_table(radiologist, ["study_id"], quarantine, optional=every)
    names = {f: n for f in FINDINGS for n in (f, TEST_LABEL_NAMES.get(f, "")) if n in own}
    own = own[["row", "study_id", *names.values()]]
    # study ids are whole numbers that some tools wrote as floats
    own["study_id"] = own["study_id"].str.removesuffix(".0")
    own = label_columns(_check_ids(own, radiologist.name, quarantine), names, radiologist.name, quarantine)
    found = [COLUMN_OF[finding] for finding in names]
    own = drop_duplicates(own, "study_id", found, radiologist.name, quarantine).set_index("study_id")
    table = table.set_index("study_id")
    both = own.index.intersection(table.index)
    table.loc[both, found] = own.loc[both, found]
    return table.reset_index()


def _records(path: Path | None, quarantine: Quarantine) -> pd.DataFrame:
    """dicom_id, path (relative, under the tree) of MIMIC-CXR's DICOM files."""
    if path is None:
        return _empty("dicom_id", "path")
    table = read_table(path, ["subject_id", "study_id", "dicom_id", "path"], quarantine)
    table = _check_ids(table, path.name, quarantine)
    outside = table["path"].str.startswith(("/", "\\")) | table["path"].str.contains(r"(?:^|/)\.\.(?:/|$)")
    table = quarantine.drop(table, outside | table["path"].eq(""), path.name, "path", "path leaves the tree")
    return drop_duplicates(table, "dicom_id", ["path"], path.name, quarantine)


def _patients(path: Path | None, quarantine: Quarantine) -> pd.DataFrame:
    """subject_id, sex, anchor_age, anchor_year. A bad row leaves its patient's sex and age unknown."""
    if path is None:
        return _empty("subject_id", "sex").assign(anchor_age=pd.Series(dtype="int64"), anchor_year=0)
    table = read_table(path, ["subject_id", "gender", "anchor_age", "anchor_year"], quarantine)
    table = _check_ids(table, path.name, quarantine)
    table = quarantine.drop(table, ~table["gender"].isin(["F", "M", ""]), path.name, "gender", "gender is not F or M")
    for name, pattern in (("anchor_age", r"1?\d?\d"), ("anchor_year", r"\d{4}")):
        bad = ~table[name].str.fullmatch(pattern)
        table = quarantine.drop(table, bad, path.name, name, f"{name} is not a whole number in range")
    table = drop_duplicates(table, "subject_id", ["gender", "anchor_age", "anchor_year"], path.name, quarantine)
    table = table.assign(sex=table["gender"].replace("", "unknown"))
    return table.astype({"anchor_age": "int64", "anchor_year": "int64"})


def _races(path: Path | None, quarantine: Quarantine) -> pd.DataFrame:
    """subject_id, race group, over a patient's admissions. Older MIMIC-IV calls the column ethnicity."""
    if path is None:
        return _empty("subject_id", "race")
    table = read_table(path, ["subject_id"], quarantine, optional=["race", "ethnicity"])
    column = next((name for name in ("race", "ethnicity") if name in table), None)
    if column is None:
        raise DataError(f"{path.name} has no column 'race'.", "It is MIMIC-IV's hosp/admissions.csv.gz.")
    table = _check_ids(table, path.name, quarantine)
    admissions = table.assign(race=map_unique(table[column], race_group))[["subject_id", "race"]]
    with duckdb.connect(":memory:") as db:
        db.register("admissions", admissions)
        return query(db, "ingest/mimic_races")


def _empty(*columns: str) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype="str") for name in columns})


def _with_reports(part: Batch, root: Path) -> Batch:
    """The batch with each study's report, where its text file is there and readable."""
    films = part.films
    subject = films["subject_id"]
    places = str(root) + "/files/p" + subject.str[:2] + "/p" + subject + "/s" + films["study_id"] + ".txt"
    return Batch(films.assign(report=map_unique(places, _text).astype("str")), part.quarantine, part.missing)


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
