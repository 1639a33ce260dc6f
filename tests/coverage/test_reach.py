"""Films one or two edits away: against schema.after_edit film by film, and never a validation or test patient's."""

from __future__ import annotations

import pandas as pd
import pytest
from coverage_frames import films_frame, workspace_of

from cars import schema
from cars.coverage import nearest_source_films
from cars.coverage.attributes import attributes_of
from cars.coverage.reach import COLUMNS, Reach, edits_of, sources
from cars.coverage.rows import load_rows
from cars.edits import edit_sets
from cars.errors import SettingError

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
    """Films that need one edit, and those that need two, over every edit of every editable finding."""
    rows = load_rows(workspace_of(tmp_path / "ws", films_frame(2, 110)))
    reach = Reach(rows, attributes_of(pattern, "all", rows["race"].unique()))
    edits = edit_sets([(f, d) for f in schema.EDITABLE for d in ("insert", "delete")], 2)

    def matches(film, labels):
        return all((labels[a] == schema.FINDING_CODES[v]) if a in labels else film[a] == v for a, v in pattern.items())

    expected: dict[str, int] = {}
    for film in sources(rows).to_dict("records"):
        before = {f: film[c] for f, c in schema.COLUMN_OF.items()}
        if matches(film, before):
            continue
        for edit in edits:
            refused = any(before[f] in ((1, -1) if d == "insert" else (0, -1, -2)) for f, d in edit)
            if not refused and matches(film, schema.after_edit(before, dict(edit))):
                expected.setdefault(film["dicom_id"], len(edit))
    found = reach.films_of(pattern)
    assert dict(zip(found["dicom_id"], found["edits"], strict=True)) == expected
    assert found["dicom_id"].is_unique
    assert reach.counts(pattern) == tuple(list(expected.values()).count(n) for n in (1, 2))
    for film in found.to_dict("records"):
        after = schema.after_edit({f: film[c] for f, c in schema.COLUMN_OF.items()}, dict(film["edit"]))
        assert matches(film, after)
        assert film["edit"][0] == (film["finding"], film["direction"])
    assert bool(expected) == ("Fracture" not in pattern and pattern.get("view") != "lateral")
    assert bool(edits_of(pattern)) == ("Fracture" not in pattern)


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
    assert films["pleural_effusion"].tolist() == sorted(films["pleural_effusion"], key=[0, -2].index)
    clear = films[films["pleural_effusion"] == 0]["subject_id"].tolist()
    different = len(set(clear))
    assert len(set(clear[:different])) == different


def test_nothing_to_edit_is_an_empty_table_and_a_wrong_word_is_quoted(tmp_path):
    workspace = workspace_of(tmp_path / "ws", films_frame(4, 20))
    assert len(nearest_source_films(workspace, {"Fracture": "present"})) == 0
    with pytest.raises(SettingError, match="Femur"):
        nearest_source_films(workspace, {"Femur": "present"})
