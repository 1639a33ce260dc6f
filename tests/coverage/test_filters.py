"""Filters as text: what a URL holds is what is kept."""

import pandas as pd
import pytest

from cars.coverage import filters
from cars.errors import SettingError


def test_text_and_conditions_are_the_same():
    conditions = {"view": ("PA", "AP"), "race": ("A, B; C",), "Pleural Effusion": ("present",), "age_band": ("80+",)}
    assert filters.parse(filters.text_of(conditions)) == conditions
    assert filters.parse("view:PA, AP;sex:F ; pleural effusion:present") == {
        "view": ("PA", "AP"), "sex": ("F",), "Pleural Effusion": ("present",),
    }  # fmt: skip
    assert filters.parse("") == {}
    assert filters.parse("sex:unknown;view:other") == {"sex": ("unknown",), "view": ("other",)}


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("view", "view"),
        ("view:", "view:"),
        ("colour:red", "colour"),
        ("view:up", "up"),
        ("Edema:maybe", "maybe"),
        ("findings:present", "findings"),
        (":F", "named"),
    ],
)
def test_what_is_no_condition_is_quoted(text, quoted):
    with pytest.raises(SettingError, match=quoted):
        filters.parse(text)


def test_conditions_keep_their_films():
    frame = pd.DataFrame({"view": ["PA", "AP", "lateral", "PA"], "sex": ["F", "M", "F", "F"], "edema": [1, 1, 1, 0]})
    kept = filters.mask(frame, filters.parse("view:PA,AP;Edema:present"))
    assert kept.tolist() == [True, True, False, False]
    assert filters.mask(frame, {}).all()
