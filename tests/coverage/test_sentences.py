"""Gaps in plain words."""

from __future__ import annotations

import pytest

from cars.coverage.sentences import sentence


@pytest.mark.parametrize(
    ("pattern", "count", "unit", "expected", "text"),
    [
        (
            {"sex": "F", "age_band": "80+", "Pneumothorax": "present", "view": "PA"}, 4, "patient", 11.2,
            "Fewer than 30 women aged 80 or over with pneumothorax on a PA film: 4 patients; 11 expected.",
        ),
        (
            {"sex": "M", "age_band": "0–17", "No Finding": "present"}, 0, "patient", None,
            "Fewer than 30 boys under 18 with no finding: no patient.",
        ),
        (
            {"age_band": "40–59", "view": "AP", "Edema": "absent", "Fracture": "uncertain"}, 1, "study", 0.3,
            "Fewer than 30 studies of patients aged 40–59 with uncertain fracture and with edema called absent "
            "on an AP film: 1 study; fewer than 1 expected.",
        ),
        (
            {"race": "ASIAN", "Edema": "present", "Pneumonia": "present", "Lung Lesion": "present"}, 12, "film", 20.0,
            "Fewer than 30 films of patients of race “ASIAN” with edema, lung lesion and pneumonia: "
            "12 films; 20 expected.",
        ),
        ({}, 12, "patient", None, "Fewer than 30 patients in all: 12 patients."),
        ({"view": "lateral"}, 0, "patient", float("nan"), "Fewer than 30 patients on a lateral film: no patient."),
    ],
)  # fmt: skip
def test_sentence(pattern, count, unit, expected, text):
    assert sentence(pattern, count, 30, unit, expected) == text
