"""Any CSV table with images: a TOML file says which column means what.

SOURCE is the TOML file; paths in it are relative to it:

    name = "hospital-x"                 # what the films' `dataset` column says
    licence = "internal"                # with terms, citation and patient_derived (default true) for dataset.json
    table = "films.csv"                 # .csv or .csv.gz, UTF-8
    images = "images"                   # folder that the paths start from; none given: the TOML file's own

    [columns]                           # CARS' name = the table's column; only subject_id is required
    subject_id = "patient"
    dicom_id = "image"                  # default: the path
    study_id = "exam"                   # default: each film is a study of its own
    path = "file"                       # none: labels only
    view = "projection"
    sex = "gender"
    age = "years"
    race = "ethnicity"
    split = "set"                       # none: by a hash of the patient, 80 / 10 / 10 %
    study_date = "date"
    report = "text"

    [values.view]                       # the table's word = CARS' word, where they differ
    "postero-anterior" = "PA"
    [values.sex]
    female = "F"
    male = "M"
    [values.split]
    val = "validate"

    [findings]                          # finding = column with 1, 0, -1 or blank …
    "Pleural Effusion" = "effusion"
    [values.findings]                   # … or words of your own
    yes = "present"
    no = "absent"

    [labels]                            # … or one column that lists what is present
    column = "diagnoses"
    separator = "|"
    [labels.words]
    "effusion" = "Pleural Effusion"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import DataError
from ..progress import Progress, silent
from ..schema import COLUMN_OF, FINDING_CODES, FINDINGS, SEXES, SPLITS, VIEWS
from ..workspace import Workspace
from . import DATASETS, Adapter, Batch
from ._tables import (
    LABEL_CODES,
    Quarantine,
    batches,
    drop_duplicates,
    drop_torn_patients,
    label_columns,
    listed_findings,
    map_unique,
    read_table,
    split_of_patient,
)

COLUMNS = (
    "subject_id", "dicom_id", "study_id", "path", "view", "sex", "age", "race", "split", "study_date", "report",
)  # fmt: skip
ABOUT = ("name", "licence", "terms", "citation", "patient_derived")
TOP = (*ABOUT, "table", "images", "columns", "values", "findings", "labels")
WORDS = {"view": VIEWS, "sex": SEXES, "split": SPLITS}


@DATASETS.register("folder")
class Folder(Adapter):
    """Your own films: a CSV table, images, and a TOML file that maps the columns.

    Licence, access terms and citation: as the TOML file states; films count as patient-derived unless it says
    `patient_derived = false`.
    """

    licence = "As stated by whoever provides the folder"
    terms = "As stated by whoever provides the folder; treat films as patient data."
    citation = "As stated by whoever provides the folder."
    options = ("limit",)

    def about(self, source: str) -> dict[str, Any]:
        mapping = read_mapping(source)
        return {**super().about(source), **{key: mapping[key] for key in ABOUT if key in mapping}}

    def files(self, source: str, workspace: Workspace, **options: Any) -> list[Path]:
        return [Path(source), _beside(source, read_mapping(source)["table"])]

    def read(self, source: str, workspace: Workspace, progress: Progress = silent, **options: Any) -> Iterator[Batch]:
        """See Adapter.read. Options: limit."""
        progress(0, 1, "reading the table")
        mapping = read_mapping(source)
        quarantine = Quarantine()
        films = _films(mapping, source, quarantine)
        progress(1, 1, "table read")
        yield from batches(films, quarantine, mapping.get("name", "folder"), options.get("limit"))


def _beside(source: str, name: str) -> Path:
    return Path(source).expanduser().absolute().parent / name


def read_mapping(source: str) -> dict[str, Any]:
    """The TOML file, checked. Raises: DataError that quotes what is unknown or missing, and what is allowed."""
    path = Path(source).expanduser()
    try:
        mapping = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"There is no file {path}.", "SOURCE is a TOML file; see docs/data-sets.md.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} cannot be read: {error}.", "Mend that line; see docs/data-sets.md.") from None
    _only(path, "key", mapping, TOP)
    _only(path, "[columns]", mapping.get("columns", {}), COLUMNS)
    _only(path, "[findings]", mapping.get("findings", {}), FINDINGS)
    _only(path, "[values]", mapping.get("values", {}), (*WORDS, "findings"))
    _only(path, "[values.findings] word", mapping.get("values", {}).get("findings", {}).values(), FINDING_CODES)
    _only(path, "[labels.words] finding", mapping.get("labels", {}).get("words", {}).values(), FINDINGS)
    for kind, allowed in WORDS.items():
        _only(path, f"[values.{kind}] word", mapping.get("values", {}).get(kind, {}).values(), allowed)
    if "table" not in mapping or "subject_id" not in mapping.get("columns", {}):
        raise DataError(f"{path.name} needs `table` and `[columns] subject_id`.", "See docs/data-sets.md.")
    if not {"dicom_id", "path"} & set(mapping["columns"]):
        raise DataError(f"{path.name} needs `dicom_id` or `path` in [columns].", "Films need a name.")
    if "labels" in mapping and not {"column", "words"} <= set(mapping["labels"]):
        raise DataError(f"{path.name}: [labels] needs `column` and `words`.", "See docs/data-sets.md.")
    return mapping


def _only(path: Path, what: str, given: Any, allowed: Any) -> None:
    for name in given:
        if name not in allowed:
            raise DataError(f"{path.name}: {what} {name!r} is unknown.", f"Known are: {', '.join(allowed)}.")


def _films(mapping: dict[str, Any], source: str, quarantine: Quarantine) -> pd.DataFrame:
    path = _beside(source, mapping["table"])
    columns: dict[str, str] = mapping["columns"]
    findings: dict[str, str] = mapping.get("findings", {})
    labels = mapping.get("labels", {})
    needed = list(dict.fromkeys([*columns.values(), *findings.values(), *([labels["column"]] if labels else [])]))
    raw = read_table(path, needed, quarantine)
    table = pd.DataFrame({"row": raw["row"], **{name: raw[column] for name, column in columns.items()}})
    if "dicom_id" not in table:
        table["dicom_id"] = table["path"]
    if "study_id" not in table:
        table["study_id"] = table["dicom_id"]
    words = mapping.get("values", {})
    table = _checked(table, columns, words, path.name, quarantine)

    if findings:
        own = {word: FINDING_CODES[meaning] for word, meaning in words.get("findings", {}).items()}
        cells = raw.loc[table.index, ["row", *dict.fromkeys(findings.values())]].assign(dicom_id=table["dicom_id"])
        coded = label_columns(cells, findings, path.name, quarantine, {**LABEL_CODES, **own})
        table = table.loc[coded.index].assign(
            **{column: coded[column] for column in map(COLUMN_OF.__getitem__, findings)}
        )
    if labels:
        separator = labels.get("separator", "|")
        lists = raw.loc[table.index, labels["column"]]
        words_of = {f: [word for word, meant in labels["words"].items() if meant == f] for f in FINDINGS}
        listed = listed_findings(lists, words_of, lambda text: [word.strip() for word in text.split(separator)])
        table = table.assign(**{column: listed[column] for column in COLUMN_OF.values() if column not in table})
    agree = [name for name in ("subject_id", "study_id", "path", "split") if name in table]
    table = drop_duplicates(table, "dicom_id", agree, path.name, quarantine)
    if "split" not in table:
        table["split"] = map_unique(table["subject_id"], split_of_patient)
    table = drop_torn_patients(table, path.name, quarantine)
    if "path" in table:
        root = _beside(source, mapping.get("images", "."))
        table["path"] = [str(root / name) for name in table["path"]]
    return table


def _checked(
    table: pd.DataFrame, columns: dict[str, str], words: dict[str, Any], file: str, quarantine: Quarantine
) -> pd.DataFrame:
    """Ids present, words translated and allowed, ages in range, paths inside the folder; the rest is set aside."""
    for name in ("subject_id", "dicom_id", "study_id"):
        table = quarantine.drop(table, table[name].eq(""), file, name, f"{name} is blank", columns.get(name))
    if "view" in table:
        table = table.assign(view_position=table["view"])
    for name, allowed in WORDS.items():
        if name in table:
            blank = "none" if name == "split" else "unknown"
            table = table.assign(**{name: table[name].replace({**words.get(name, {}), "": blank})})
            reason = f"{name} is not one of {', '.join(allowed)}"
            table = quarantine.drop(table, ~table[name].isin(allowed), file, name, reason, columns[name])
    if "age" in table:
        ages = pd.to_numeric(table["age"].replace("", None), errors="coerce")
        bad = (ages.isna() & table["age"].ne("")) | (ages < 0) | (ages > 120)
        table = quarantine.drop(table, bad, file, "age", "age is not a number from 0 to 120", columns["age"])
        table = table.assign(age=ages.loc[table.index])
    if "race" in table:
        table = table.assign(race=table["race"].replace("", "unknown"))
    if "path" in table:
        outside = map_unique(table["path"], lambda name: Path(name).is_absolute() or ".." in Path(name).parts)
        bad = outside.astype(bool) | table["path"].eq("")
        table = quarantine.drop(table, bad, file, "path", "path is blank or leaves the folder", columns["path"])
    return table
