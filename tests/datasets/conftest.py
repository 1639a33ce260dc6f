"""A MIMIC tree of a few films that a test writes row by row, so that it can break one cell at a time."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cars.datasets.mimic_cxr_jpg import MimicCxrJpg
from cars.imaging import save_jpeg
from cars.schema import FINDINGS

METADATA = (
    "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns",
    "StudyDate", "StudyTime",
)  # fmt: skip


def dicom_id(n: int) -> str:
    return "-".join(f"{n:08x}" for _ in range(5))


@dataclass
class MimicTree:
    """Tables as lists of dicts; `write` puts them on disk. Film n is dicom_id(n)."""

    root: Path
    metadata: list[dict] = field(default_factory=list)
    split: list[dict] = field(default_factory=list)
    chexpert: list[dict] = field(default_factory=list)
    patients: list[dict] = field(default_factory=list)
    admissions: list[dict] = field(default_factory=list)
    header_of: dict[str, list[str]] = field(default_factory=dict)
    suffix: str = ".csv.gz"
    version: str = "2.0.0"

    def add(self, n: int, subject: int, study: int, split: str = "train", view: str = "PA", **labels: str) -> None:
        """A film and whatever of its study and patient is not there yet."""
        ids = {"dicom_id": dicom_id(n), "subject_id": str(10000000 + subject), "study_id": str(50000000 + study)}
        shape = {"ViewPosition": view, "Rows": "3056", "Columns": "2544", "StudyDate": "21800506"}
        self.metadata.append({**ids, **shape, "StudyTime": "120000.5"})
        self.split.append({**ids, "split": split})
        if not any(row["study_id"] == ids["study_id"] for row in self.chexpert):
            own = {key: ids[key] for key in ("subject_id", "study_id")}
            self.chexpert.append({**own, **{f: labels.get(f.replace(" ", "_"), "") for f in FINDINGS}})

    def path(self, n: int) -> Path:
        row = next(row for row in self.metadata if row["dicom_id"] == dicom_id(n))
        subject = row["subject_id"]
        return self.root / f"files/p{subject[:2]}/p{subject}/s{row['study_id']}/{row['dicom_id']}.jpg"

    def draw(self) -> None:
        """A film of noise for each row of metadata."""
        for n, row in enumerate(self.metadata):
            image = np.random.default_rng(n).integers(0, 255, (24, 20), dtype=np.uint8)
            path = self.root / f"files/p{row['subject_id'][:2]}/p{row['subject_id']}/s{row['study_id']}"
            save_jpeg(path / f"{row['dicom_id']}.jpg", image)

    def write(self) -> str:
        """The tables on disk. Returns: SOURCE."""
        self._table(f"mimic-cxr-{self.version}-metadata", METADATA, self.metadata)
        self._table(f"mimic-cxr-{self.version}-split", ("dicom_id", "study_id", "subject_id", "split"), self.split)
        self._table(f"mimic-cxr-{self.version}-chexpert", ("subject_id", "study_id", *FINDINGS), self.chexpert)
        if self.patients:
            names = ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod")
            self._table("hosp/patients", names, self.patients)
        if self.admissions:
            self._table("hosp/admissions", ("subject_id", "hadm_id", "race"), self.admissions)
        return str(self.root)

    def _table(self, name: str, header: tuple[str, ...], rows: list[dict]) -> None:
        path = self.root / (name + self.suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(self.header_of.get(name.rsplit("-", 1)[-1], header))
        writer.writerows([row.get(column, "") for column in header] for row in rows)
        content = text.getvalue().encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    def read(self, **options) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """(films by dicom_id, quarantine, missing) of the tree as it is now."""
        batches = list(MimicCxrJpg().read(self.write(), None, **options))
        films = pd.concat([batch.films for batch in batches]).set_index("dicom_id")
        return films, pd.concat([b.quarantine for b in batches]), pd.concat([b.missing for b in batches])


@pytest.fixture
def tree(tmp_path: Path) -> MimicTree:
    """Four films of three patients: 1 and 2 are one study of patient 1, 3 is patient 2's, 4 is patient 3's (test)."""
    made = MimicTree(tmp_path / "mimic")
    made.add(1, 1, 1, view="PA", Edema="1.0", Pneumonia="-1.0", Pneumothorax="0.0")
    made.add(2, 1, 1, view="LATERAL")
    made.add(3, 2, 2, view="AP", No_Finding="1.0")
    made.add(4, 3, 3, split="test", view="LPO")
    return made
