"""What describes an export: croissant.json (MLCommons Croissant 1.1 with PROV terms) and README.md."""

from __future__ import annotations

import json
from typing import Any

from .. import __version__, schema
from ..provenance import code_version
from .listing import Listing
from .settings import ExportSettings
from .tables import CHEXPERT, FOLDER, METADATA, SPLIT

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
NOTICE = (
    "PATIENT-DERIVED. The synthetic films show the anatomy of the patients whose films were edited. They, and "
    "everything computed from them, stay under the terms of the source data set."
)
NO_PATIENT = "No patient is behind these films: the source data set is itself computed."
#: Column of metadata.csv → (Croissant type, what it holds), besides the findings.
FIELDS = {
    "file_name": ("sc:Text", "The film, relative to files/."),
    "dicom_id": ("sc:Text", "The film's id."),
    "subject_id": ("sc:Text", "The patient's id; an edit has one of its own."),
    "study_id": ("sc:Text", "The study's id; an edit has one of its own."),
    "split": ("sc:Text", "train, validate, test or none. Synthetic films are in train only."),
    "origin": ("sc:Text", "real or synthetic."),
    "split_group": ("sc:Text", "The patient whose anatomy the film shows. Films of one group belong in one split."),
    "source_dicom_id": ("sc:Text", "The film that an edit was made from."),
    "source_subject_id": ("sc:Text", "The patient whose film an edit was made from."),
    "view": ("sc:Text", "PA, AP, lateral, other or unknown."),
    "sex": ("sc:Text", "F, M or unknown."),
    "age": ("sc:Float", "Years; empty when unknown."),
    "race": ("sc:Text", "As the source data set has it, or unknown."),
    "rows": ("sc:Float", "Height in pixels; empty when unknown."),
    "columns": ("sc:Float", "Width in pixels; empty when unknown."),
}


def notice(listing: Listing) -> str:
    """The sentence on whose data this is."""
    return NOTICE if listing.about["patient_derived"] else NO_PATIENT


def title(listing: Listing) -> str:
    """A short name for the export."""
    return f"{listing.about['adapter']} with CARS edits"


def croissant(listing: Listing, sums: dict[str, str], sizes: dict[str, int]) -> bytes:
    """croissant.json. Every table is a FileObject with its SHA-256; the films' own sums are in SHA256SUMS.

    Args:
        sums, sizes: name in the zip → SHA-256 and bytes, of all files written before this one.
    """
    about = listing.about
    formats = {".csv": "text/csv", ".gz": "application/gzip", ".jsonl": "application/jsonlines", ".md": "text/plain"}
    files = [
        _file(name, formats[name[name.rindex(".") :]], sums[name], sizes[name])
        for name in sums
        if name.endswith(tuple(formats))
    ]
    record_sets = []
    if FOLDER in sums:
        films = {"@type": "cr:FileSet", "@id": "film-files", "name": "film-files", "encodingFormat": "image/jpeg"}
        files.append({**films, "description": "The films as JPEG.", "includes": "files/*/*/*/*.jpg"})
        record_sets = [_film_records(), _image_records()]
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": title(listing),
        "description": f"{notice(listing)} {_sentence(listing)}",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "license": about["licence"],
        "usageInfo": about["terms"],
        "citeAs": about["citation"],
        "version": f"1.0.0+{listing.key}",
        "datePublished": _date(listing),
        "keywords": ["chest radiograph", "synthetic data", "data coverage"],
        "rai:personalSensitiveInformation": notice(listing),
        "rai:dataManipulationProtocol": (
            "Findings were inserted into or deleted from real films of train patients, inside a region of interest; "
            "every pixel outside it is the source's own in the lossless files. Each film passed recorded gates."
        ),
        "prov:wasDerivedFrom": {
            "@type": "prov:Entity",
            "prov:label": about["adapter"],
            "prov:value": about["citation"],
        },
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": "insertion and deletion of findings, gated",
            "prov:wasAssociatedWith": {"@type": "prov:SoftwareAgent", "prov:label": f"CARS {code_version()}"},
            "prov:used": _generators(listing),
        },
        "distribution": files,
        "recordSet": record_sets,
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _generators(listing: Listing) -> list[str]:
    """Each generator@revision that made an edit, sorted."""
    if not len(listing.edits):
        return []
    return sorted(set(listing.edits["generator"].str.cat(listing.edits["generator_revision"], sep="@")))


def _file(name: str, encoding: str, sha256: str, size: int) -> dict[str, Any]:
    # a gzipped CSV is declared as CSV: readers look at the content for gzip, and the encoding tells them how to parse
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{size} B",
        "encodingFormat": "text/csv" if name.endswith(".csv.gz") else encoding,
        "sha256": sha256,
    }


def _film_records() -> dict[str, Any]:
    """One record a film, from files/metadata.csv."""
    findings = {
        f: ("sc:Float", f"{f}: 1 present, 0 absent, -1 uncertain, empty not mentioned.") for f in schema.FINDINGS
    }
    fields = []
    for column, (kind, text) in {**FIELDS, **findings}.items():
        fields.append(
            {
                "@type": "cr:Field",
                "@id": f"films/{schema.COLUMN_OF.get(column, column)}",  # an @id takes no space
                "name": column,
                "description": text,
                "dataType": kind,
                "source": {"fileObject": {"@id": FOLDER}, "extract": {"column": column}},
            }
        )
    return {
        "@type": "cr:RecordSet", "@id": "films", "name": "films", "key": {"@id": "films/dicom_id"},
        "description": "One record a film, with its labels.", "field": fields,
    }  # fmt: skip


def _image_records() -> dict[str, Any]:
    """One record a film file: its id and its pixels."""

    def field(name: str, kind: str, what: str, **transform: Any) -> dict[str, Any]:
        source = {"fileSet": {"@id": "film-files"}, "extract": {"fileProperty": what}, **transform}
        return {"@type": "cr:Field", "@id": f"images/{name}", "name": name, "dataType": kind, "source": source}

    return {
        "@type": "cr:RecordSet", "@id": "images", "name": "images",
        "description": "The pixels of each film; dicom_id is that of the record set films.",
        "field": [
            field("dicom_id", "sc:Text", "filename", transform={"regex": r"^(.*)\.jpg$"}),
            field("image", "sc:ImageObject", "content"),
        ],
    }  # fmt: skip


def _date(listing: Listing) -> str:
    """The day on which the newest edit was made (UTC), or that of no edit at all: 1970-01-01."""
    import time

    newest = float(listing.edits["created"].max()) if len(listing.edits) else 0.0
    return time.strftime("%Y-%m-%d", time.gmtime(newest))


def _sentence(listing: Listing) -> str:
    films, synthetic = listing.films, listing.synthetic
    real = len(films) - len(synthetic)
    return (
        f"{real:,} real films of {films.loc[films['origin'] == 'real', 'subject_id'].nunique():,} patients and "
        f"{len(synthetic):,} synthetic films edited from {synthetic['split_group'].nunique():,} train patients."
    )


def readme(listing: Listing, settings: ExportSettings) -> bytes:
    """README.md: what this is, under which terms, what lies where, how to load it."""
    about = listing.about
    lossless = ""
    if settings.lossless and settings.films != "none" and len(listing.edits):
        lossless = (
            "| `lossless/<dicom_id>.png`, `.roi.png` | each synthetic film pixel for pixel, and where it may differ "
            "from its source |\n"
        )
    folder = f"| `{FOLDER}` | one row a film with labels and origin (Hugging Face ImageFolder) |\n"
    films = (
        f"{folder}| `files/pXX/pSUBJECT/sSTUDY/DICOM.jpg` | the films; synthetic ones are JPEG at quality 95 |\n"
        f"{lossless}"
        if settings.films != "none"
        else ""
    )
    text = f"""# {title(listing)}

**{notice(listing)}**

{_sentence(listing)} Synthetic films are never in validate or test. Do not train on a synthetic film and test on its
source: `split_group` holds the patient whose anatomy a film shows; keep each group in one split.

- Licence of the source data: {about["licence"]}
- Terms: {about["terms"] or "not stated"}
- Cite: {about["citation"] or "not stated"}
- Made by CARS {__version__}; content {listing.key}

| file | what |
|---|---|
| `{METADATA}`, `{SPLIT}`, `{CHEXPERT}` | MIMIC-CXR-JPG's tables, with `origin` and the source of each edit added |
{films}| `counts.csv` | patients and films by finding, split and origin |
| `provenance.jsonl` | one line a synthetic film: source, change, labels from and to, generator, seed, gates |
| `croissant.json` | MLCommons Croissant 1.1 |
| `SHA256SUMS` | `sha256sum --check SHA256SUMS` |

An edit has a subject, study and dicom id of its own (subjects start with 9, studies with 8), so that readers which join
labels on subject and study, and those which keep one film a subject, read it as it is.

    import torchxrayvision as xrv
    films = xrv.datasets.MIMIC_Dataset("files", "{CHEXPERT}", "{METADATA}", views=["PA", "AP"], unique_patients=False)

    import mlcroissant
    records = mlcroissant.Dataset("croissant.json").records("films")

    from datasets import load_dataset
    films = load_dataset("imagefolder", data_dir="files")
"""
    return text.encode()
