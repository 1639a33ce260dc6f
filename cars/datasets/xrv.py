"""The label tables that torchxrayvision 1.5.7 carries: coverage at real scale without a single film.

SOURCE is chexpert, nih, padchest, vinbigdata, rsna or siim. Films are rows only: `path` is null, `on_disk` False.

Splits: no table has one, so each patient gets one by a hash of the id, 80 / 10 / 10 % (see _tables.split_of_patient).
VinBigData, RSNA and SIIM hide which films share a patient; there each film counts as a patient of its own, so counts
of patients are really counts of films, and one patient's films may fall into two splits.

Findings: CheXpert has the 14 itself. A list of labels (NIH, PadChest) makes its findings and their CheXpert parents
present and leaves the others unmentioned: such lists do not say what was looked for and not found. VinBigData: present
where two of its three readers marked it, uncertain where one did, else absent. RSNA: Target 1 is an opacity suspicious
for pneumonia: Lung Opacity present, Pneumonia uncertain; 0: both absent. SIIM: a mask means Pneumothorax present.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import MissingDependency, SettingError
from ..progress import Progress, silent
from ..schema import ABSENT, COLUMN_OF, FINDINGS, PRESENT, UNCERTAIN
from ..workspace import Workspace
from . import DATASETS, Adapter, Batch
from ._tables import (
    Quarantine,
    batches,
    drop_duplicates,
    label_columns,
    listed_findings,
    map_unique,
    read_table,
    split_of_patient,
)

#: Finding → NIH labels that mean it. Emphysema, Fibrosis and Hernia have no counterpart among the 14.
NIH_LABELS = {
    "Atelectasis": ("Atelectasis",),
    "Cardiomegaly": ("Cardiomegaly",),
    "Consolidation": ("Consolidation",),
    "Edema": ("Edema",),
    "Lung Lesion": ("Mass", "Nodule"),
    "Lung Opacity": ("Infiltration",),
    "No Finding": ("No Finding",),
    "Pleural Effusion": ("Effusion",),
    "Pleural Other": ("Pleural_Thickening",),
    "Pneumonia": ("Pneumonia",),
    "Pneumothorax": ("Pneumothorax",),
}
#: Finding → PadChest labels that mean it.
PADCHEST_LABELS = {
    "Atelectasis": (
        "atelectasis", "atelectasis basal", "laminar atelectasis", "lobar atelectasis", "segmental atelectasis",
        "round atelectasis", "total atelectasis",
    ),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": ("consolidation",),
    "Edema": ("pulmonary edema",),
    "Enlarged Cardiomediastinum": ("mediastinal enlargement", "superior mediastinal enlargement"),
    "Fracture": (
        "callus rib fracture", "clavicle fracture", "fracture", "humeral fracture", "rib fracture",
        "vertebral fracture",
    ),
    "Lung Lesion": ("lung metastasis", "multiple nodules", "nodule", "pulmonary mass"),
    "Lung Opacity": (
        "alveolar pattern", "ground glass pattern", "increased density", "infiltrates", "interstitial pattern",
        "miliary opacities", "reticular interstitial pattern", "reticulonodular interstitial pattern",
    ),
    "No Finding": ("normal",),
    "Pleural Effusion": (
        "hydropneumothorax", "loculated fissural effusion", "loculated pleural effusion", "pleural effusion",
    ),
    "Pleural Other": (
        "apical pleural thickening", "calcified pleural plaques", "calcified pleural thickening", "pleural mass",
        "pleural plaques", "pleural thickening",
    ),
    "Pneumonia": ("atypical pneumonia", "pneumonia"),
    "Pneumothorax": ("hydropneumothorax", "pneumothorax"),
    "Support Devices": (
        "artificial aortic heart valve", "artificial heart valve", "artificial mitral heart valve", "catheter",
        "central venous catheter", "central venous catheter via jugular vein",
        "central venous catheter via subclavian vein", "central venous catheter via umbilical vein", "chest drain tube",
        "dual chamber device", "electrical device", "endotracheal tube", "NSG tube", "pacemaker",
        "reservoir central venous catheter", "single chamber device", "tracheostomy tube",
        "ventriculoperitoneal drain tube",
    ),
}  # fmt: skip
PADCHEST_VIEWS = {
    "PA": "PA", "AP": "AP", "AP_horizontal": "AP", "L": "lateral",
    "COSTAL": "other", "EXCLUDE": "other", "UNK": "unknown",
}  # fmt: skip
#: Finding → VinBigData classes that mean it.
VINBIGDATA_CLASSES = {
    "Atelectasis": ("Atelectasis",),
    "Cardiomegaly": ("Cardiomegaly",),
    "Consolidation": ("Consolidation",),
    "Lung Lesion": ("Nodule/Mass",),
    "Lung Opacity": ("Infiltration", "Lung Opacity"),
    "No Finding": ("No finding",),
    "Pleural Effusion": ("Pleural effusion",),
    "Pleural Other": ("Pleural thickening",),
    "Pneumothorax": ("Pneumothorax",),
}
SEX_WORDS = {"Male": "M", "Female": "F", "M": "M", "F": "F"}
KAGGLE = "Kaggle competition rules: non-commercial research and education"


@dataclass(frozen=True)
class Source:
    """One of the package's tables: its files, its reader, and its terms."""

    files: tuple[str, ...]
    read: Callable[[list[Path], Quarantine], pd.DataFrame]
    licence: str
    citation: str


def package_data() -> Path:
    """torchxrayvision's data folder, found without importing it (which would import torch).

    Raises: MissingDependency.
    """
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency("torchxrayvision is not installed.", "Install it: pip install torchxrayvision==1.5.7")
    return Path(spec.submodule_search_locations[0]) / "data"


@DATASETS.register("xrv")
class XRayVision(Adapter):
    """Label tables of six public data sets, as torchxrayvision 1.5.7 packages them.

    Licence and access terms differ by source (`about`); the films themselves must be got from each provider.
    Citation: Cohen et al., TorchXRayVision: a library of chest X-ray datasets and models, 2021, arXiv 2111.00595, and
    the source's own.
    """

    licence = "Differs by source"
    terms = "Label tables only; films come from each provider under its own agreement."
    citation = (
        "Cohen JP, et al. TorchXRayVision: a library of chest X-ray datasets and models (2021), arXiv 2111.00595."
    )
    options = ("limit",)

    def about(self, source: str) -> dict[str, Any]:
        chosen = _source(source)
        about = super().about(source)
        return {**about, "licence": chosen.licence, "citation": f"{chosen.citation} {self.citation}"}

    def files(self, source: str, workspace: Workspace, **options: Any) -> list[Path]:
        return [package_data() / name for name in _source(source).files]

    def read(self, source: str, workspace: Workspace, progress: Progress = silent, **options: Any) -> Iterator[Batch]:
        """See Adapter.read. Options: limit."""
        quarantine = Quarantine()
        progress(0, 1, f"reading {source}")
        paths = self.files(source, workspace)
        films = _source(source).read(paths, quarantine)
        films = drop_duplicates(films, "dicom_id", ["subject_id"], paths[0].name, quarantine)
        films["split"] = map_unique(films["subject_id"], split_of_patient)
        progress(1, 1, f"{source} read")
        yield from batches(films, quarantine, f"xrv:{source}", options.get("limit"))


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise SettingError(f"torchxrayvision carries no table {name!r}.", f"Choose one of: {', '.join(SOURCES)}.")
    return SOURCES[name]


def _ages(texts: pd.Series) -> pd.Series:
    """Years; what is no number from 0 to 120 is unknown, not an error: these tables are as published."""
    ages = pd.to_numeric(texts, errors="coerce")
    return ages.where((ages >= 0) & (ages <= 120))


def _sexes(texts: pd.Series) -> pd.Series:
    return texts.map(SEX_WORDS).fillna("unknown")


def _chexpert(paths: list[Path], quarantine: Quarantine) -> pd.DataFrame:
    file = paths[0].name
    table = read_table(paths[0], ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS], quarantine)
    parts = table["Path"].str.extract(r"(patient\d+)/(study\d+)/(view\d+_\w+)\.\w+$")
    table = quarantine.drop(table, parts[0].isna(), file, "Path", "path names no patient, study and view")
    parts = parts.loc[table.index]
    frontal = table["Frontal/Lateral"].eq("Frontal")
    table = table.assign(
        subject_id=parts[0],
        study_id=parts[0] + "_" + parts[1],
        dicom_id=parts[0] + "_" + parts[1] + "_" + parts[2],
        view_position=table["AP/PA"].where(frontal, "LATERAL"),
        sex=_sexes(table["Sex"]),
        # three films have age 0, one of them of unknown sex, in a set of adults: not stated, not newborns
        age=_ages(table["Age"]).where(lambda years: years > 0),
    )
    # a film filed as frontal whose projection is lateral contradicts itself: neither can be trusted
    view = table["view_position"].replace({"LL": "other", "RL": "other", "LATERAL": "lateral", "": "unknown"})
    return label_columns(table.assign(view=view), {f: f for f in FINDINGS}, file, quarantine)


def _nih(paths: list[Path], quarantine: Quarantine) -> pd.DataFrame:
    names = ["Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position"]
    table = read_table(paths[0], names, quarantine)
    films = pd.DataFrame(
        {
            "row": table["row"],
            "dicom_id": table["Image Index"].str.removesuffix(".png"),
            "subject_id": table["Patient ID"],
            "view_position": table["View Position"],
            "sex": _sexes(table["Patient Gender"]),
            "age": _ages(table["Patient Age"]),
        }
    )
    films["study_id"] = films["dicom_id"]
    return films.join(listed_findings(table["Finding Labels"], NIH_LABELS, lambda text: text.split("|")))


def _padchest(paths: list[Path], quarantine: Quarantine) -> pd.DataFrame:
    names = [
        "ImageID", "StudyID", "PatientID", "PatientSex_DICOM", "PatientBirth", "StudyDate_DICOM", "Projection",
        "Labels",
    ]  # fmt: skip
    table = read_table(paths[0], names, quarantine).rename(columns={"ImageID": "dicom_id"})
    bad = ~table["Labels"].str.startswith("[")
    table = quarantine.drop(table, bad, paths[0].name, "Labels", "film without labels")
    year = pd.to_numeric(table["StudyDate_DICOM"].str[:4], errors="coerce")
    films = pd.DataFrame(
        {
            "row": table["row"],
            "dicom_id": table["dicom_id"].str.removesuffix(".png"),
            "subject_id": table["PatientID"],
            "study_id": table["StudyID"],
            "view": table["Projection"].map(PADCHEST_VIEWS).fillna("other"),
            "view_position": table["Projection"],
            "sex": _sexes(table["PatientSex_DICOM"]),
            "age": _ages(year - pd.to_numeric(table["PatientBirth"], errors="coerce")),
            "study_date": table["StudyDate_DICOM"],
        }
    )
    return films.join(listed_findings(table["Labels"], PADCHEST_LABELS, _padchest_words))


def _padchest_words(text: str) -> list[str]:
    """ "['normal', ' pneumonia']" → its words, a few of which have spaces around them."""
    return [word.strip() for word in ast.literal_eval(text)]


def _vinbigdata(paths: list[Path], quarantine: Quarantine) -> pd.DataFrame:
    table = read_table(paths[0], ["image_id", "class_name", "rad_id"], quarantine)
    readers = table.drop_duplicates(["image_id", "rad_id"]).groupby("image_id").size()
    films = pd.DataFrame({"row": table.groupby("image_id")["row"].min().reindex(readers.index)})
    for finding, classes in VINBIGDATA_CLASSES.items():
        marked = table[table["class_name"].isin(classes)].drop_duplicates(["image_id", "rad_id"])
        votes = marked.groupby("image_id").size().reindex(readers.index, fill_value=0)
        films[COLUMN_OF[finding]] = votes.map(lambda n: (ABSENT, UNCERTAIN)[n] if n < 2 else PRESENT)
    return _one_film_each(films.rename_axis("dicom_id").reset_index())


def _rsna(paths: list[Path], quarantine: Quarantine) -> pd.DataFrame:
    boxes = read_table(paths[0], ["patientId", "Target"], quarantine)
    headers = read_table(paths[1], ["PatientID", "PatientAge", "PatientSex", "ViewPosition"], quarantine)
    headers = drop_duplicates(headers, "PatientID", ["PatientAge", "PatientSex"], paths[1].name, quarantine)
    films = boxes.groupby("patientId").agg(row=("row", "min"), target=("Target", "max")).rename_axis("dicom_id")
    films = films.join(headers.set_index("PatientID").drop(columns="row")).reset_index()
    opacity = films["target"].eq("1")
    films["lung_opacity"] = opacity.map({True: PRESENT, False: ABSENT})
    films["pneumonia"] = opacity.map({True: UNCERTAIN, False: ABSENT})
    films["view_position"] = films["ViewPosition"].fillna("")
    films["sex"] = _sexes(films["PatientSex"])
    films["age"] = _ages(films["PatientAge"])
    return _one_film_each(films)


def _siim(paths: list[Path], quarantine: Quarantine) -> pd.DataFrame:
    table = read_table(paths[0], ["ImageId", " EncodedPixels"], quarantine)
    table["masked"] = table[" EncodedPixels"].ne("-1")
    films = table.groupby("ImageId").agg(row=("row", "min"), masked=("masked", "any"))
    films = films.rename_axis("dicom_id").reset_index()
    films["pneumothorax"] = films["masked"].map({True: PRESENT, False: ABSENT})
    return _one_film_each(films)


def _one_film_each(films: pd.DataFrame) -> pd.DataFrame:
    """Tables that hide who is who: each film is its own study and patient."""
    return films.assign(subject_id=films["dicom_id"], study_id=films["dicom_id"])


SOURCES: dict[str, Source] = {
    "chexpert": Source(
        ("chexpert_train.csv.gz",),
        _chexpert,
        "Stanford University School of Medicine CheXpert Dataset Research Use Agreement (non-commercial)",
        "Irvin J, et al. CheXpert: a large chest radiograph dataset with uncertainty labels (2019), arXiv 1901.07031.",
    ),
    "nih": Source(
        ("Data_Entry_2017_v2020.csv.gz",),
        _nih,
        "Free to use with attribution to the NIH Clinical Center",
        "Wang X, et al. ChestX-ray8: hospital-scale chest X-ray database (CVPR 2017), arXiv 1705.02315.",
    ),
    "padchest": Source(
        ("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz",),
        _padchest,
        "PadChest Dataset Research Use Agreement (BIMCV, non-commercial)",
        "Bustos A, et al. PadChest: a large chest x-ray image dataset with multi-label annotated reports (2020), "
        "arXiv 1901.07441.",
    ),
    "vinbigdata": Source(
        ("vinbigdata-train.csv.gz",),
        _vinbigdata,
        KAGGLE,
        "Nguyen HQ, et al. VinDr-CXR: an open dataset of chest X-rays with radiologist's annotations (2020), "
        "arXiv 2012.15029.",
    ),
    "rsna": Source(
        ("kaggle_stage_2_train_labels.csv.zip", "kaggle_stage_2_train_images_dicom_headers.csv.gz"),
        _rsna,
        KAGGLE,
        "Shih G, et al. Augmenting the NIH chest radiograph dataset with expert annotations of possible pneumonia. "
        "Radiology: AI 1 (2019), doi:10.1148/ryai.2019180041.",
    ),
    "siim": Source(
        ("siim-pneumothorax-train-rle.csv.gz",),
        _siim,
        KAGGLE,
        "SIIM-ACR Pneumothorax Segmentation, Society for Imaging Informatics in Medicine (Kaggle, 2019).",
    ),
}
