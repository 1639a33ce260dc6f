"""The tables of an export as bytes: MIMIC-CXR-JPG's three, ImageFolder's metadata.csv, and the counts."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pandas as pd

from .. import schema
from .listing import LABELS, Listing, film_name

METADATA = "mimic-cxr-2.0.0-metadata.csv.gz"
SPLIT = "mimic-cxr-2.0.0-split.csv.gz"
CHEXPERT = "mimic-cxr-2.0.0-chexpert.csv.gz"
FOLDER = "files/metadata.csv"
COUNTS = "counts.csv"
#: Columns that MIMIC's tables do not have and that tell a synthetic film from a real one.
ORIGIN = ["origin", "split_group", "source_dicom_id", "source_subject_id"]


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """A CSV in UTF-8 with Unix line ends."""
    return frame.to_csv(index=False, lineterminator="\n").encode()


def gzip_bytes(frame: pd.DataFrame) -> bytes:
    """A gzipped CSV without a time stamp, so that the same table gives the same bytes."""
    return gzip.compress(csv_bytes(frame), mtime=0)


def mimic_labels(films: pd.DataFrame) -> pd.DataFrame:
    """The 14 findings under their CheXpert names, as MIMIC writes them: 1.0, 0.0, -1.0, empty for not mentioned."""
    codes = films[LABELS].astype("float64")
    return codes.where(codes != schema.NOT_MENTIONED).rename(columns=schema.FINDING_OF)


def metadata(films: pd.DataFrame) -> pd.DataFrame:
    """MIMIC's metadata table, a row a film; what CARS does not know is empty."""
    names = {"PA": "postero-anterior", "AP": "antero-posterior", "lateral": "lateral"}
    table = pd.DataFrame(
        {
            "dicom_id": films["dicom_id"], "subject_id": films["subject_id"], "study_id": films["study_id"],
            "PerformedProcedureStepDescription": "", "ViewPosition": films["view_position"], "Rows": films["rows"],
            "Columns": films["columns"], "StudyDate": films["study_date"], "StudyTime": "",
            "ProcedureCodeSequence_CodeMeaning": "", "ViewCodeSequence_CodeMeaning": films["view"].map(names),
            "PatientOrientationCodeSequence_CodeMeaning": "",
        }
    )  # fmt: skip
    return pd.concat([whole_numbers(table), films[ORIGIN]], axis=1)


def whole_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Rows and columns without a decimal point, empty where unknown."""
    for name in ("Rows", "Columns", "rows", "columns"):
        if name in table:
            table[name] = table[name].astype("Int64")
    return table


def split(films: pd.DataFrame) -> pd.DataFrame:
    """MIMIC's split table, a row a film."""
    return films[["dicom_id", "study_id", "subject_id", "split", *ORIGIN]]


def chexpert(films: pd.DataFrame) -> pd.DataFrame:
    """MIMIC's label table, a row a study."""
    table = pd.concat([films[["subject_id", "study_id"]], mimic_labels(films)], axis=1)
    return table.drop_duplicates(["subject_id", "study_id"])


def image_folder(films: pd.DataFrame) -> pd.DataFrame:
    """Hugging Face ImageFolder's metadata.csv, which lies in files/: file_name first, then all that is known."""
    names = [
        film_name(*ids).removeprefix("files/") for ids in zip(films["subject_id"], films["study_id"], films["dicom_id"])
    ]
    known = ["dicom_id", "subject_id", "study_id", "split", *ORIGIN, "view", "sex", "age", "race", "rows", "columns"]
    table = pd.concat([films[known], mimic_labels(films)], axis=1)
    table.insert(0, "file_name", names)
    return whole_numbers(table)


def counts(films: pd.DataFrame, suppress_below: int = 0) -> pd.DataFrame:
    """Patients and films with each finding present, by split and origin: finding split origin patients films.

    Non-zero counts below `suppress_below` are written "<n": a small count can point at a person.
    """
    rows: list[dict[str, Any]] = []
    for (split_name, origin), group in films.groupby(["split", "origin"], sort=True):
        for finding, slug in [("all", ""), *schema.COLUMN_OF.items()]:
            having = group if finding == "all" else group[group[slug] == schema.PRESENT]
            # an edit's own subject is made up: its patient is the one whose anatomy it shows
            patients = having["split_group"].nunique()
            rows.append(
                {"finding": finding, "split": split_name, "origin": origin, "patients": patients, "films": len(having)}
            )
    table = pd.DataFrame(rows)
    for name in ("patients", "films"):
        small = (table[name] > 0) & (table[name] < suppress_below)
        table[name] = table[name].astype("object").mask(small, f"<{suppress_below}")
    return table


def tables(listing: Listing, suppress_below: int, with_films: bool) -> dict[str, bytes]:
    """File name → content of every table; metadata.csv only where there are films for it to name."""
    films = listing.films
    found = {
        METADATA: gzip_bytes(metadata(films)),
        SPLIT: gzip_bytes(split(films)),
        CHEXPERT: gzip_bytes(chexpert(films)),
        COUNTS: csv_bytes(counts(films, suppress_below)),
    }
    return {**found, FOLDER: csv_bytes(image_folder(films))} if with_films else found


def provenance(listing: Listing, sums: dict[str, str]) -> bytes:
    """provenance.jsonl: one JSON object a synthetic film, from which source, how, and what each gate measured.

    Args:
        sums: name in the zip → SHA-256, of the films that are in it.
    """
    by_edit = {edit_id: rows for edit_id, rows in listing.gates.groupby("edit_id")}
    lines = []
    for film, edit in zip(listing.synthetic.to_dict("records"), listing.edits.to_dict("records"), strict=True):
        name = film_name(film["subject_id"], film["study_id"], film["dicom_id"])
        gates = by_edit.get(edit["edit_id"], pd.DataFrame())
        lines.append(
            {
                "dicom_id": film["dicom_id"],
                "file": name if name in sums else None,
                "sha256": sums.get(name),
                "edit_id": edit["edit_id"],
                "prov:wasDerivedFrom": {
                    "dicom_id": edit["source_dicom_id"],
                    "subject_id": edit["source_subject_id"],
                    "study_id": edit["source_study_id"],
                },
                "change": json.loads(edit["findings"]),
                "from": _words(edit["source_labels"]),
                "to": _words({slug: edit[slug] for slug in LABELS}),
                "lossless": {
                    kind: {"file": path, "sha256": sums[path]}
                    for kind, path in lossless_names(film["dicom_id"]).items()
                    if path in sums
                },
                "prov:wasGeneratedBy": {
                    name: edit[name]
                    for name in (
                        "generator", "generator_revision", "segmenter", "judge", "mode", "seed", "steps", "guidance",
                        "code_version", "plan_id", "item", "gap_id",
                    )
                }
                | {"generator_licence": edit.get("generator_licence")},  # edits of older versions have none
                "gates": [
                    {name: row[name] for name in ("gate", "measure", "value", "low", "high", "passed")}
                    for row in gates.to_dict("records")
                ],
                "decision": edit["decision"] or None,
                "note": edit["note"] or None,
            }
        )  # fmt: skip
    return "".join(json.dumps(_plain(line), ensure_ascii=False, sort_keys=True) + "\n" for line in lines).encode()


def lossless_names(dicom_id: str) -> dict[str, str]:
    """The PNG of a synthetic film and of its region of interest, in the zip."""
    return {"film": f"lossless/{dicom_id}.png", "roi": f"lossless/{dicom_id}.roi.png"}


def _words(codes: dict[str, Any]) -> dict[str, str]:
    """Column → code as finding → word."""
    return {finding: schema.FINDING_VALUES[int(codes[slug])] for finding, slug in schema.COLUMN_OF.items()}


def _plain(value: Any) -> Any:
    """The value with NumPy numbers as Python's, and NaN as None, since JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and value != value else value
