"""Films one edit away: against schema.after_edit film by film, and never a validation or test patient's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from coverage_frames import films_frame, workspace_of
from hypothesis import given
from hypothesis import strategies as st

from cars import schema
from cars.coverage import nearest_source_films
from cars.coverage.attributes import attributes_of
from cars.coverage.reach import COLUMNS, Reach, edits_of, labels_after, sources
from cars.coverage.rows import load_rows
from cars.errors import SettingError

CODES = st.lists(st.sampled_from([1, 0, -1, -2]), min_size=14, max_size=14)


@given(CODES, st.sampled_from(schema.EDITABLE), st.sampled_from(["insert", "delete"]))
def test_labels_after_is_after_edit_for_many_films(codes, finding, direction):
    one = schema.after_edit(dict(zip(schema.FINDINGS, codes, strict=True)), {finding: direction})
    many = labels_after(np.array([codes, codes], dtype=np.int8), finding, direction)
    assert many[1].tolist() == [one[f] for f in schema.FINDINGS]


PATTERNS = [
    {"sex": "F", "Pneumothorax": "present"},
    {"view": "PA", "Edema": "present", "Lung Opacity": "present"},
    {"Edema": "absent", "Lung Opacity": "absent"},
    {"Pleural Effusion": "present", "Pneumonia": "present", "race": "ASIAN"},
    {"No Finding": "present", "Atelectasis": "absent"},
    {"view": "lateral", "Edema": "present"},
    {"Fracture": "present", "sex": "M"},
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_reach_is_what_editing_each_film_gives(tmp_path, pattern):
    frame = films_frame(2, 150)
    rows = load_rows(workspace_of(tmp_path / "ws", frame))
    reach = Reach(rows, attributes_of(pattern, "all", rows["race"].unique()))
    expected = set()
    for film in sources(rows).to_dict("records"):
        before = {f: film[c] for f, c in schema.COLUMN_OF.items()}
        for finding, direction in edits_of(pattern):
            if (before[finding] == schema.PRESENT) == (direction == "insert"):
                continue
            after = schema.after_edit(before, {finding: direction})
            if all((after[a] == schema.FINDING_CODES[v]) if a in after else film[a] == v for a, v in pattern.items()):
                expected.add((film["dicom_id"], finding, direction))
    found = reach.films_of(pattern)
    assert set(zip(found["dicom_id"], found["finding"], found["direction"], strict=True)) == expected
    assert reach.count(pattern) == len(expected)
    assert bool(expected) == ("Fracture" not in pattern and pattern.get("view") != "lateral")


def test_sources_are_frontal_train_films_on_disk_of_train_only_patients(tmp_path):
    frame = films_frame(3, 120)
    # one patient's films cross the splits, as a careless table might have it
    crossing = frame.loc[frame["split"] == "train", "subject_id"].iloc[0]
    where = frame.index[frame["subject_id"] == crossing]
    frame.loc[where, ["view", "on_disk"]] = ["PA", True]
    second = frame.loc[where].assign(split="test", dicom_id=[f"x{n}" for n in range(len(where))])
    rows = load_rows(workspace_of(tmp_path / "ws", pd.concat([frame, second], ignore_index=True)))
    chosen = sources(rows)
    assert len(chosen)
    assert crossing not in set(chosen["subject_id"])
    assert set(chosen["split"]) == {"train"}
    assert set(chosen["view"]) <= set(schema.FRONTAL)
    assert chosen["on_disk"].all()


def test_nearest_source_films_puts_clear_films_and_new_patients_first(tmp_path):
    frame = films_frame(4, 200)
    workspace = workspace_of(tmp_path / "ws", frame)
    films = nearest_source_films(workspace, {"pleural_effusion": "present", "sex": "F"}, limit=25)
    assert len(films) == 25
    assert (films["finding"] == "Pleural Effusion").all()
    assert (films["sex"] == "F").all()
    assert set(COLUMNS) <= set(films.columns)
    assert films["pleural_effusion"].tolist() == sorted(films["pleural_effusion"], key=[0, -2, -1].index)
    clear = films[films["pleural_effusion"] == 0]["subject_id"].tolist()
    different = len(set(clear))
    assert len(set(clear[:different])) == different


def test_nothing_to_edit_is_an_empty_table_and_a_wrong_word_is_quoted(tmp_path):
    workspace = workspace_of(tmp_path / "ws", films_frame(4, 20))
    assert len(nearest_source_films(workspace, {"Fracture": "present"})) == 0
    with pytest.raises(SettingError, match="Femur"):
        nearest_source_films(workspace, {"Femur": "present"})
