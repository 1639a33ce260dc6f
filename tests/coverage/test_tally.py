"""Counts and pairs of findings against pandas, and browsing against the condition written out."""

from __future__ import annotations

import numpy as np
import pytest
from coverage_frames import films_frame, workspace_of

from cars import schema
from cars.coverage import cooccurrence, counts, films_of_pattern
from cars.errors import SettingError

KEYS = {"patient": "subject_id", "study": "study_id", "film": "dicom_id"}


@pytest.fixture(scope="module")
def frame():
    return films_frame(8, 120)


@pytest.fixture(scope="module")
def workspace(frame, tmp_path_factory):
    return workspace_of(tmp_path_factory.mktemp("tally") / "ws", frame)


@pytest.mark.parametrize("unit", KEYS)
def test_counts(frame, workspace, unit):
    table = counts(workspace, unit, "train").set_index(["attribute", "value"])["count"]
    train = frame[frame["split"] == "train"]
    for name in ("sex", "age_band", "view", "race"):
        expected = train.groupby(name)[KEYS[unit]].nunique()
        assert table[name].to_dict() == expected.to_dict()
    for finding in ("Edema", "No Finding"):
        words = train[schema.COLUMN_OF[finding]].map(schema.FINDING_VALUES)
        assert table[finding].to_dict() == train.groupby(words)[KEYS[unit]].nunique().to_dict()
    assert table.index.get_level_values(0).nunique() == 18


@pytest.mark.parametrize("unit", KEYS)
def test_pairs_of_findings(frame, workspace, unit):
    result = cooccurrence(workspace, unit, "all")
    present = {f: frame[c] == 1 for f, c in schema.COLUMN_OF.items()}
    assert result.n == frame[KEYS[unit]].nunique()
    for i, a in enumerate(result.names):
        for j, b in enumerate(result.names):
            assert result.observed[i, j] == frame.loc[present[a] & present[b], KEYS[unit]].nunique()
    off = ~np.eye(14, dtype=bool)
    assert np.isnan(np.diag(result.ratio)).all()
    assert result.ratio[off] == pytest.approx(result.observed[off] / result.expected[off])
    # the codes are drawn independently, so the ratios lie about 1
    assert np.median(result.ratio[off]) == pytest.approx(1, abs=0.1)
    if unit == "film":
        n_edema, n_fracture = present["Edema"].sum(), present["Fracture"].sum()
        at = [result.names.index(f) for f in ("Edema", "Fracture")]
        assert result.expected[at[0], at[1]] == pytest.approx(n_edema * n_fracture / len(frame))


def test_films_of_pattern(frame, workspace):
    pattern = {"sex": "F", "Edema": "present", "Pleural Effusion": "not mentioned", "view": "AP"}
    mask = (frame["sex"] == "F") & (frame["edema"] == 1) & (frame["pleural_effusion"] == -2) & (frame["view"] == "AP")
    assert mask.any()
    films = films_of_pattern(workspace, pattern, split="all")
    assert set(films["dicom_id"]) == set(frame.loc[mask, "dicom_id"])
    test = films_of_pattern(workspace, {"sex": "F"}, limit=10_000, split="test")
    assert set(test["dicom_id"]) == set(frame.loc[(frame["sex"] == "F") & (frame["split"] == "test"), "dicom_id"])
    people = films_of_pattern(workspace, {"sex": "F"}, limit=10_000, unit="patient")
    assert people["subject_id"].is_unique
    assert len(people) == frame.loc[frame["sex"] == "F", "subject_id"].nunique()
    assert len(films_of_pattern(workspace, {}, limit=7)) == 7
    on_disk = films_of_pattern(workspace, {}, limit=10_000)["on_disk"]
    assert on_disk.tolist() == sorted(on_disk, reverse=True)


def test_a_value_is_a_value_and_never_sql(workspace):
    assert len(films_of_pattern(workspace, {"race": "x' OR '1' = '1"})) == 0
    for pattern in ({"sex": "' OR 1=1 --"}, {"films": "x"}, {"Edema": "maybe"}, {"findings": "present"}):
        with pytest.raises(SettingError):
            films_of_pattern(workspace, pattern)
    with pytest.raises(SettingError, match="future"):
        films_of_pattern(workspace, {}, split="future")
    with pytest.raises(SettingError, match="lung"):
        films_of_pattern(workspace, {}, unit="lung")
