"""The words of CARS: findings, their values, views, age bands, and the columns of each table."""

from __future__ import annotations

import re

#: The 14 CheXpert findings in MIMIC-CXR's file order.
FINDINGS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)

PRESENT, ABSENT, UNCERTAIN, NOT_MENTIONED = 1, 0, -1, -2
#: Code stored in a finding column (int8) → the word that pages show.
FINDING_VALUES: dict[int, str] = {
    PRESENT: "present",
    ABSENT: "absent",
    UNCERTAIN: "uncertain",
    NOT_MENTIONED: "not mentioned",
}
FINDING_CODES: dict[str, int] = {word: code for code, word in FINDING_VALUES.items()}

#: CheXpert's hierarchy (Irvin et al. 2019, arXiv 1901.07031): parent → the findings that it covers.
HIERARCHY: dict[str, tuple[str, ...]] = {
    "Lung Opacity": ("Edema", "Consolidation", "Pneumonia", "Lung Lesion", "Atelectasis"),
    "Enlarged Cardiomediastinum": ("Cardiomegaly",),
}
#: Findings that the editor can insert and delete: each has a region of interest and a look of its own.
EDITABLE: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Lung Lesion",
    "Pleural Effusion",
    "Pneumonia",
    "Pneumothorax",
)
#: "No Finding" is compatible with these only.
ALLOWED_WITH_NO_FINDING: tuple[str, ...] = ("Support Devices",)

VIEWS: tuple[str, ...] = ("PA", "AP", "lateral", "other", "unknown")
#: MIMIC's ViewPosition → view; anything else that is not blank is "other".
VIEW_OF_POSITION: dict[str, str] = {
    "PA": "PA",
    "AP": "AP",
    "LATERAL": "lateral",
    "LL": "lateral",
    "": "unknown",
}
FRONTAL: tuple[str, ...] = ("PA", "AP")
SEXES: tuple[str, ...] = ("F", "M", "unknown")
SPLITS: tuple[str, ...] = ("train", "validate", "test", "none")
#: Age band → (lowest age, lowest age of the next band).
AGE_BANDS: dict[str, tuple[int, int]] = {
    "0–17": (0, 18),
    "18–39": (18, 40),
    "40–59": (40, 60),
    "60–79": (60, 80),
    "80+": (80, 1000),
}
ORIGINS: tuple[str, ...] = ("real", "synthetic")

FILM_COLUMNS: tuple[str, ...] = (
    "dicom_id", "subject_id", "study_id", "split", "view", "view_position", "sex", "age", "age_band", "race",
)  # fmt: skip
FILM_FILE_COLUMNS: tuple[str, ...] = (
    "path", "on_disk", "rows", "columns", "study_date", "report", "dataset", "origin",
)  # fmt: skip


def column(finding: str) -> str:
    """The column that holds a finding: "Pleural Effusion" → "pleural_effusion"."""
    return re.sub(r"[^a-z0-9]+", "_", finding.lower()).strip("_")


#: Finding → its column, in file order.
COLUMN_OF: dict[str, str] = {finding: column(finding) for finding in FINDINGS}
FINDING_OF: dict[str, str] = {slug: finding for finding, slug in COLUMN_OF.items()}

#: Concepts that cars/concepts/phrases.toml reads from reports (Clinically Aware Synthetic Image Generation for Concept
#: Coverage in Chest X-ray Models, 2026, arXiv 2603.15525), in its order; a workspace may add its own.
CONCEPTS: tuple[str, ...] = (
    "unremarkable", "mass", "nodule", "irregular hilum", "adenopathy", "irregular parenchyma", "pneumonitis",
    "consolidation", "infection", "effusion", "fluid", "meniscus sign", "costophrenic angle", "absent lung markings",
    "pleural air", "irregular diaphragm", "lung collapse", "enlarged heart", "opacity",
)  # fmt: skip
#: What a concept's attribute starts with, so that "concept:effusion" is never taken for a finding.
CONCEPT = "concept:"
CONCEPT_NAME = re.compile(r"[a-z0-9]+( [a-z0-9]+){0,5}")
#: Stored for a film whose study has no report, or whose report no longer describes it (an edit).
NO_REPORT = -3


def concept_column(name: str) -> str:
    """The column of a concept, by its name or its attribute: "concept:lung collapse" → "concept_lung_collapse"."""
    return "concept_" + column(name.removeprefix(CONCEPT))


def age_band(age: float | None) -> str:
    """The age band of an age in years; "unknown" for None, NaN and negative ages."""
    if age is None or age != age or age < 0:
        return "unknown"
    return next(band for band, (low, high) in AGE_BANDS.items() if low <= age < high)


def view_of(position: str | None) -> str:
    """The view of a MIMIC ViewPosition: "LL" → "lateral", "LPO" → "other", blank → "unknown"."""
    return VIEW_OF_POSITION.get((position or "").strip().upper(), "other")


def after_edit(values: dict[str, int], changes: dict[str, str]) -> dict[str, int]:
    """The labels of a film after an edit.

    Args:
        values: finding → code of the source film, all 14.
        changes: finding → "insert" or "delete".

    Returns: a new dict. An insertion marks the finding and its parents present and clears "No Finding" (not for Support
    Devices); a deletion marks the finding absent, and a parent absent when none of its children is left present
    and it was present only on their account (a parent label with another present child stays).
    """
    result = dict(values)
    for finding, direction in changes.items():
        if direction == "insert":
            result[finding] = PRESENT
            for parent, children in HIERARCHY.items():
                if finding in children:
                    result[parent] = PRESENT
            if finding not in ALLOWED_WITH_NO_FINDING and finding != "No Finding":
                result["No Finding"] = NOT_MENTIONED
        elif direction == "delete":
            result[finding] = ABSENT
            for child in HIERARCHY.get(finding, ()):
                result[child] = ABSENT
            for parent, children in HIERARCHY.items():
                if finding in children and not any(result[child] == PRESENT for child in children):
                    result[parent] = ABSENT if result[parent] == PRESENT else result[parent]
        else:
            raise ValueError(f"An edit is 'insert' or 'delete', not {direction!r}.")
    diseases = [f for f in FINDINGS if f != "No Finding" and f not in ALLOWED_WITH_NO_FINDING]
    if "delete" in changes.values() and not any(result[f] in (PRESENT, UNCERTAIN) for f in diseases):
        result["No Finding"] = PRESENT
    return result
