"""Shared by the adapters: reading CSV files with row numbers, quarantine, patient splits, the films table's form."""

from __future__ import annotations

import csv
import difflib
import gzip
import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from ..schema import (
    COLUMN_OF,
    FILM_COLUMNS,
    FILM_FILE_COLUMNS,
    FINDINGS,
    HIERARCHY,
    NOT_MENTIONED,
    PRESENT,
    age_band,
    view_of,
)  # fmt: skip
from . import Batch

FILMS_PER_BATCH = 50_000
QUARANTINE_COLUMNS = ("file", "row", "column", "value", "reason", "dicom_id")
#: Share of patients by split where a data set has none of its own, in percent: train, validate, test.
SPLIT_PERCENT = {"train": 80, "validate": 10, "test": 10}


class Quarantine:
    """Rows set aside, each with its file, row, column, value and reason."""

    def __init__(self) -> None:
        self._frames: list[pd.DataFrame] = []

    def add(self, file: str, rows: Any, column: str, values: Any, reason: Any, dicom_ids: Any = None) -> None:
        """Set rows aside. rows, values, reason, dicom_ids: sequences of one length, or one value for all."""
        frame = pd.DataFrame({"row": list(rows)})
        frame["file"], frame["column"] = file, column
        for name, given in (("value", values), ("reason", reason), ("dicom_id", dicom_ids)):
            frame[name] = given if given is None or isinstance(given, str) else list(given)
        self._frames.append(frame)

    def drop(
        self, table: pd.DataFrame, bad: pd.Series, file: str, column: str, reason: str, called: str | None = None
    ) -> pd.DataFrame:
        """The table without its bad rows, which are set aside with the value of `column`.

        called: the column's name in the file, where the table has renamed it.
        """
        bad = bad.astype(bool)
        if bad.any():
            rows = table[bad]
            ids = rows["dicom_id"] if "dicom_id" in table else None
            self.add(file, rows["row"], called or column, rows[column], reason, ids)
            return table[~bad]
        return table

    def frame(self) -> pd.DataFrame:
        """All rows set aside, in the form of the table `quarantine`."""
        return quarantine_form(pd.concat(self._frames) if self._frames else pd.DataFrame())


def quarantine_form(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with the columns and types of the table `quarantine`."""
    frame = frame.reindex(columns=list(QUARANTINE_COLUMNS))
    types = dict.fromkeys(QUARANTINE_COLUMNS, "str") | {"row": "Int64"}
    return frame.astype(types).reset_index(drop=True)


def missing_form(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with the columns and types of the table `missing_files`."""
    return frame.reindex(columns=["dicom_id", "path"]).astype("str").reset_index(drop=True)


# Reading -----------------------------------------------------------------------------------------------------------


def find(names: Sequence[str], folders: Sequence[Path]) -> Path | None:
    """The first of folder/name, folder/name.gz that exists, folders and names in order."""
    for folder in folders:
        for name in names:
            for path in (folder / name, folder / f"{name}.gz"):
                if path.is_file():
                    return path
    return None


def _open(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".zip":
        archive = zipfile.ZipFile(path)
        return archive.open(archive.namelist()[0])
    return open(path, "rb")


def read_table(
    path: Path, required: Sequence[str], quarantine: Quarantine, optional: Sequence[str] = ()
) -> pd.DataFrame:
    """A CSV file (.csv, .csv.gz, or one in a .zip) as text, and `row`: its row in the file, the header being row 1.

    required, optional: columns to read; blank cells are "", values are stripped of spaces around them. A row with
    another number of cells than the header goes to quarantine. A row that holds line breaks counts as one.

    Raises: DataError for a file that is missing, empty, damaged or not UTF-8, and for a missing column, naming the
    columns that are there and the nearest one.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    try:
        with _open(path) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
            header = next(csv.reader(text), [])
        _check_header(path, header, required)
        wanted = [*required, *(name for name in optional if name in header)]
        skipped: list[int] = []

        def set_aside(row: Any) -> str:
            skipped.append(row.number)
            if row.text.strip():
                cells = f"{row.actual_columns} cells where the header has {row.expected_columns}"
                quarantine.add(path.name, [row.number], "", row.text[:200], cells)
            return "skip"

        with _open(path) as stream:
            table = pa_csv.read_csv(
                stream,
                # one thread: only then does a malformed row know its number
                read_options=pa_csv.ReadOptions(use_threads=False, block_size=1 << 24),
                parse_options=pa_csv.ParseOptions(
                    newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=set_aside
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(wanted, pa.string()), include_columns=wanted, strings_can_be_null=False
                ),
            )
    except FileNotFoundError:
        raise DataError(f"The file {path} does not exist.", "Check the path.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path.name} is not UTF-8 text.", "Save it as UTF-8.") from None
    except (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, OSError) as error:
        raise DataError(f"{path.name} cannot be read: {error}.", "Download it again.") from None
    except pa.ArrowInvalid as error:
        raise DataError(f"{path.name} is not a CSV file that can be read: {error}.", "Mend that place.") from None
    frame = table.to_pandas()
    for name in wanted:
        frame[name] = frame[name].str.strip()
    numbers = np.arange(2, 2 + len(frame) + len(skipped))
    frame.insert(0, "row", np.setdiff1d(numbers, skipped)[: len(frame)])
    return frame


def _check_header(path: Path, header: list[str], required: Sequence[str]) -> None:
    if not header:
        raise DataError(f"{path.name} is empty.", "Download it again.")
    for name in required:
        if name not in header:
            near = difflib.get_close_matches(name, header, n=1, cutoff=0.5)
            nearest = f" The nearest is {near[0]!r}: rename it back?" if near else ""
            raise DataError(f"{path.name} has no column {name!r}.", f"Its columns are: {', '.join(header)}.{nearest}")


# Labels -----------------------------------------------------------------------------------------------------------

#: A label cell as CheXpert's labeler writes it → the code of a finding column.
LABEL_CODES = {"1.0": 1, "1": 1, "0.0": 0, "0": 0, "-1.0": -1, "-1": -1, "": NOT_MENTIONED}


def label_columns(
    table: pd.DataFrame, names: dict[str, str], file: str, quarantine: Quarantine, codes: dict[str, int] | None = None
) -> pd.DataFrame:
    """Label cells as int8 codes under the findings' columns. names: finding → column in the file."""
    codes = LABEL_CODES if codes is None else codes
    allowed = ", ".join(word for word in codes if word)
    for name in names.values():
        bad = ~table[name].isin(codes)
        table = quarantine.drop(table, bad, file, name, f"label is not one of {allowed} or blank")
    found = {COLUMN_OF[finding]: table[name].map(codes).astype("int8") for finding, name in names.items()}
    return table.drop(columns=list(set(names.values()))).assign(**found)


def listed_findings(
    lists: pd.Series, words_of: Mapping[str, Sequence[str]], split: Callable[[str], Iterable[str]]
) -> pd.DataFrame:
    """The 14 finding columns of films that carry a list of label words, such as "Effusion|Mass".

    words_of: finding → the words that mean it. split: a list as text → its words.
    A listed finding is present, and so are its parents in CheXpert's hierarchy; the others are not mentioned: a list
    of what was seen says nothing about what was looked for and not found. Other words are left out.
    """
    parents = {child: parent for parent, children in HIERARCHY.items() for child in children}

    def present(text: str) -> frozenset[str]:
        words = set(split(text))
        own = {finding for finding, its in words_of.items() if not words.isdisjoint(its)}
        return frozenset(own | {parents[finding] for finding in own if finding in parents})

    sets = {text: present(text) for text in lists.unique()}
    columns = {
        COLUMN_OF[finding]: lists.map({t: PRESENT if finding in s else NOT_MENTIONED for t, s in sets.items()})
        for finding in FINDINGS
    }
    return pd.DataFrame(columns).astype("int8")


# Checks shared by adapters -------------------------------------------------------------------------------------------


def drop_duplicates(
    table: pd.DataFrame, key: str, agree: Sequence[str], file: str, quarantine: Quarantine
) -> pd.DataFrame:
    """One row per `key`. Copies that agree on `agree` leave the first; where they differ none can be trusted."""
    repeated = table[key].duplicated(keep=False)
    if not repeated.any():
        return table
    copies = table[repeated]
    kinds = copies.drop_duplicates([key, *agree]).groupby(key).size()
    conflicting = table[key].isin(kinds[kinds > 1].index)
    table = quarantine.drop(table, conflicting, file, key, f"{key} occurs again with other values")
    return quarantine.drop(table, table[key].duplicated(), file, key, f"duplicate {key}")


def drop_torn_patients(table: pd.DataFrame, file: str, quarantine: Quarantine) -> pd.DataFrame:
    """The films of patients who are in one split only; a patient in two would leak from training into testing."""
    splits = table.drop_duplicates(["subject_id", "split"]).groupby("subject_id")["split"]
    torn = splits.agg(lambda names: ", ".join(sorted(names)))[splits.size() > 1]
    for names in torn.unique():
        patients = torn.index[torn == names]
        bad = table["subject_id"].isin(patients)
        table = quarantine.drop(table, bad, file, "split", f"patient in two splits: {names}")
    return table


def split_of_patient(subject_id: str) -> str:
    """A split by the patient's id alone: SHA-256 modulo 100 → 0–79 train, 80–89 validate, 90–99 test.

    It needs no other patient, so it stays the same when a data set grows.
    """
    place = int.from_bytes(hashlib.sha256(subject_id.encode()).digest()[:8]) % 100
    for split, share in SPLIT_PERCENT.items():
        if place < share:
            return split
        place -= share
    raise AssertionError("the shares add up to 100")


def map_unique(values: pd.Series, function: Any) -> pd.Series:
    """function applied once per distinct value."""
    return values.map({value: function(value) for value in values.unique()})


# The films table -----------------------------------------------------------------------------------------------------


def films_form(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """A frame with the columns, order and types of the table `films`.

    Derived where absent: view (from view_position), age_band, race "unknown", findings "not mentioned", no file,
    `dataset`, origin "real". Raises: KeyError when an id or `split` is absent.
    """
    frame = frame.copy(deep=False)
    defaults: dict[str, Any] = {"view_position": "", "sex": "unknown", "age": np.nan, "race": "unknown"}
    defaults |= dict.fromkeys(COLUMN_OF.values(), NOT_MENTIONED)
    defaults |= {"path": None, "rows": None, "columns": None, "study_date": None, "report": None}
    for name, value in defaults.items():
        if name not in frame:
            frame[name] = value
    if "view" not in frame:
        frame["view"] = map_unique(frame["view_position"], view_of)
    frame["age"] = frame["age"].astype("float64")
    frame["age_band"] = map_unique(frame["age"], age_band)
    frame["path"] = frame["path"].astype("str")
    frame["on_disk"] = frame["path"].notna()
    frame["dataset"], frame["origin"] = dataset, "real"
    names = [*FILM_COLUMNS, *COLUMN_OF.values(), *FILM_FILE_COLUMNS]
    types = dict.fromkeys(names, "str") | dict.fromkeys(COLUMN_OF.values(), "int8")
    types |= {"age": "float64", "on_disk": "bool", "rows": "Int32", "columns": "Int32"}
    return frame[names].astype(types).reset_index(drop=True)


def look_for_files(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(frame with `path` null where there is no file, `dicom_id path` of those)."""
    there = np.array([path == path and os.path.isfile(path) for path in frame["path"]], bool)
    missing = frame.loc[~there & frame["path"].notna().to_numpy(), ["dicom_id", "path"]]
    return frame.assign(path=frame["path"].where(there)), missing


def batches(films: pd.DataFrame, quarantine: Quarantine, dataset: str, limit: int | None = None) -> Iterator[Batch]:
    """Sorted by patient, study and film, cut to `limit`, files looked for, in batches; always at least one."""
    films = films.sort_values(["subject_id", "study_id", "dicom_id"], kind="stable")
    films = films.head(limit) if limit else films
    set_aside = quarantine.frame()
    for start in range(0, max(len(films), 1), FILMS_PER_BATCH):
        part = films.iloc[start : start + FILMS_PER_BATCH]
        if "path" in part:
            part, missing = look_for_files(part)
        else:
            missing = pd.DataFrame()
        yield Batch(films_form(part, dataset), set_aside, missing_form(missing))
        set_aside = Quarantine().frame()
