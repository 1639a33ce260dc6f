"""Writes a phantom population to disk exactly as MIMIC-CXR-JPG lies there, with the recipe of every film beside it.

Tables come first, films after them, each under a temporary name and then renamed. A run that was stopped goes on where
it stopped; a folder written with other settings is refused.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from cars.errors import DataError, SettingError
from cars.phantom.population import Row, sample_population
from cars.phantom.render import render
from cars.phantom.reports import report_of
from cars.phantom.spec import FilmSpec
from cars.schema import FINDINGS

Progress = Callable[[int, int, str], None]
#: Raised when the same settings start to give other films; a half-written tree of another version is refused.
VERSION = 2
CHUNK = 24
_PROCEDURE = {"AP": "CHEST (PORTABLE AP)", "PA": "CHEST (PA AND LAT)", "LATERAL": "CHEST (PA AND LAT)"}
_VIEW_CODE = {"AP": "antero-posterior", "PA": "postero-anterior", "LATERAL": "lateral"}

README = """\
Synthetic phantom radiographs. No patient is behind any of them.

Every film was computed from a parametric thorax by CARS (cars.phantom); persons, dates, races and reports' labels are
made up. The folder follows the layout of MIMIC-CXR-JPG so that the same tools read it; it holds no MIMIC data.

files/                               films, 8-bit grey JPEG, {size} x {size}; beside each study its report, s*.txt
mimic-cxr-2.0.0-*.csv.gz             metadata, split and labels as that data set has them, with report-like noise
hosp/patients.csv.gz, admissions.csv.gz   sex, age and race in MIMIC-IV's form
truth.jsonl.gz                       dicom_id and the film's recipe: what is really drawn, and where
phantom.json                         settings: n_films {n_films}, seed {seed}, size {size}

A film's true counterfactual: cars.phantom.render(without_finding(load_truth(folder)[dicom_id], "Edema"), size).
"""


def film_path(row: Row) -> str:
    """files/p10/p10000032/s50414267/<dicom_id>.jpg"""
    subject = str(row.subject_id)
    return f"files/p{subject[:2]}/p{subject}/s{row.study_id}/{row.dicom_id}.jpg"


def write_tree(
    folder: str | Path,
    n_films: int = 1500,
    seed: int = 0,
    size: int = 256,
    workers: int = 2,
    progress: Progress | None = None,
) -> dict:
    """Write n_films films of size × size pixels and their tables into folder; films already there are kept.

    Returns {"path", "films", "written", "kept", "studies", "patients"}.
    Raises SettingError for settings out of range, DataError where folder holds another tree.
    """
    if size < 32:
        raise SettingError(f"size is {size}; the phantom needs at least 32 pixels")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"version": VERSION, "n_films": n_films, "seed": seed, "size": size}
    _claim(folder, settings)
    rows = sample_population(n_films, seed)
    _write_tables(folder, rows, settings)
    _write_reports(folder, rows)
    missing = [(str(folder / film_path(row)), row.spec, size) for row in rows if not (folder / film_path(row)).exists()]
    done = len(rows) - len(missing)
    report = progress or (lambda done, total, message: None)
    report(done, len(rows), "rendering films")
    for count in _render_all(missing, workers):
        done += count
        report(done, len(rows), "rendering films")
    return {
        "path": str(folder),
        "films": len(rows),
        "written": len(missing),
        "kept": len(rows) - len(missing),
        "studies": len({row.study_id for row in rows}),
        "patients": len({row.subject_id for row in rows}),
    }


def load_truth(folder: str | Path) -> dict[str, FilmSpec]:
    """dicom_id → the recipe of its film. Raises DataError when the folder is not a phantom tree."""
    path = Path(folder) / "truth.jsonl.gz"
    if not path.exists():
        raise DataError(f"{path} does not exist", "Write the phantom tree first: cars.phantom.tree.write_tree.")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = (json.loads(line) for line in lines)
        return {record["dicom_id"]: FilmSpec.from_json(record["spec"]) for record in records}


def _claim(folder: Path, settings: dict) -> None:
    path = folder / "phantom.json"
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != settings:
            raise DataError(
                f"{folder} holds a phantom tree with other settings: {found}, asked for {settings}",
                "Choose an empty folder, or the same settings to go on with that tree.",
            )
    elif any(folder.iterdir()):
        raise DataError(f"{folder} is not empty and holds no phantom tree", "Choose an empty folder.")
    else:
        _replace(path, json.dumps(settings).encode())


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _table(path: Path, header: Iterable[str], rows: Iterable[Iterable]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    _replace(path, gzip.compress(text.getvalue().encode(), mtime=0))


def _write_tables(folder: Path, rows: list[Row], settings: dict) -> None:
    size = settings["size"]
    studies = {row.study_id: row for row in rows}
    patients = {row.subject_id: row for row in rows}
    _table(
        folder / "mimic-cxr-2.0.0-metadata.csv.gz",
        (
            "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows",
            "Columns", "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning",
            "PatientOrientationCodeSequence_CodeMeaning",
        ),
        (
            [
                row.dicom_id, row.subject_id, row.study_id, _PROCEDURE[row.view], row.view, size, size,
                row.study_date, row.study_time, _PROCEDURE[row.view], _VIEW_CODE[row.view],
                "Recumbent" if row.view == "AP" else "Erect",
            ]
            for row in rows
        ),
    )  # fmt: skip
    _table(
        folder / "mimic-cxr-2.0.0-split.csv.gz",
        ("dicom_id", "study_id", "subject_id", "split"),
        ([row.dicom_id, row.study_id, row.subject_id, row.split] for row in rows),
    )
    _table(
        folder / "mimic-cxr-2.0.0-chexpert.csv.gz",
        ("subject_id", "study_id", *FINDINGS),
        ([row.subject_id, study, *(row.labels.get(f, "") for f in FINDINGS)] for study, row in studies.items()),
    )
    _table(
        folder / "hosp" / "patients.csv.gz",
        ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"),
        ([subject, row.sex, row.anchor_age, row.anchor_year, "2011 - 2013", ""] for subject, row in patients.items()),
    )
    _table(
        folder / "hosp" / "admissions.csv.gz",
        ("subject_id", "hadm_id", "admittime", "admission_type", "insurance", "language", "race"),
        (
            [
                subject,
                20_000_000 + number,
                f"{row.anchor_year}-01-01 00:00:00",
                "EW EMER.",
                "Other",
                "ENGLISH",
                row.race,
            ]
            for number, (subject, row) in enumerate(patients.items())
        ),
    )
    truth = "".join(
        json.dumps({"dicom_id": row.dicom_id, "spec": row.spec.to_json(), "findings": sorted(row.findings)}) + "\n"
        for row in rows
    )
    _replace(folder / "truth.jsonl.gz", gzip.compress(truth.encode(), compresslevel=6, mtime=0))
    _replace(folder / "README.txt", README.format(**settings).encode())


def _write_reports(folder: Path, rows: list[Row]) -> None:
    """A report for each study that has none yet. It follows from the labels, so it needs no recipe of its own."""
    for row in {row.study_id: row for row in rows}.values():
        path = folder / film_path(row).rsplit("/", 1)[0]
        path = path.with_name(path.name + ".txt")
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            temporary.write_text(report_of(row.study_id, row.labels, row.view), encoding="utf-8")
            os.replace(temporary, path)


def _render_all(jobs: list[tuple[str, FilmSpec, int]], workers: int) -> Iterable[int]:
    """Render and write every job; yields how many films each finished chunk held."""
    chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
    if workers <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            yield _render_chunk(chunk)
        return
    # spawn: a fork of a process with threads (Streamlit, Arrow) can hang
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_render_chunk, chunk) for chunk in chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _render_chunk(jobs: list[tuple[str, FilmSpec, int]]) -> int:
    for path, spec, size in jobs:
        film = render(spec, size, masks=False)
        content = io.BytesIO()
        Image.fromarray(film.image).save(content, format="JPEG", quality=95)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        temporary.write_bytes(content.getvalue())
        os.replace(temporary, target)
    return len(jobs)
