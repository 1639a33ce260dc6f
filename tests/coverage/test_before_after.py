"""t-way coverage against counting each combination, and what accepted edits change."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from coverage_frames import edits_frame, films_frame, workspace_of

from cars import schema
from cars.coverage import GapsSettings, before_after
from cars.coverage.rows import Rows, load_rows
from cars.coverage.rules import shipped_rules, why_impossible
from cars.coverage.tway import cell_count, possible_cells, tway_coverage
from cars.errors import SettingError

RULES = tuple(shipped_rules().values())


@pytest.mark.parametrize("values", ["present", "all"])
def test_tway_coverage_is_the_share_of_possible_combinations(tmp_path, values):
    names = ("sex", "view", "Edema", "Lung Opacity", "No Finding")
    frame = films_frame(6, 40)
    rows = Rows.of(load_rows(workspace_of(tmp_path / "ws", frame)), names, values)
    possible = {t: possible_cells(rows.attributes, RULES, t) for t in (1, 2, 3)}
    found = tway_coverage(rows, possible, "patient", [1, 3])
    for m, t in product((1, 3), (1, 2, 3)):
        cells = covered = everything = 0
        for chosen in combinations(rows.attributes, t):
            for combination in product(*(a.values for a in chosen)):
                everything += 1
                if why_impossible({a.name: v for a, v in zip(chosen, combination, strict=True)}, RULES):
                    continue
                films = rows.frame
                for a, value in zip(chosen, combination, strict=True):
                    films = films[films[a.column] == a.code(value)]
                cells += 1
                covered += films["patient"].nunique() >= m
        assert found[m][t] == pytest.approx(covered / cells)
        assert len(possible[t]) == cells
        assert cell_count(rows.attributes, t) == everything


def test_too_many_combinations_are_refused(tmp_path):
    rows = Rows.of(load_rows(workspace_of(tmp_path / "ws", films_frame(6, 10))), schema.FINDINGS, "all")
    with pytest.raises(SettingError, match="combinations"):
        possible_cells(rows.attributes, RULES, 9)


def test_accepted_edits_fill_a_gap_once_per_patient(tmp_path):
    frame = films_frame(5, 200)
    women = frame[(frame["split"] == "train") & (frame["sex"] == "F")]
    without = women[~women["subject_id"].isin(women.loc[women["pneumothorax"] == 1, "subject_id"])]
    sources = without.drop_duplicates("subject_id")["dicom_id"].head(5).tolist()
    assert len(sources) == 5
    workspace = workspace_of(tmp_path / "ws", frame)
    # the first source is edited twice; the last edit is rejected
    edits = [(s, "Pneumothorax", "insert") for s in (sources[0], *sources)]
    workspace.write_part("edits", "a", edits_frame(frame, edits))
    workspace.records.decide("edit-5", "reject")
    chosen = GapsSettings(attributes="sex,Pneumothorax", threshold=40, split="test")
    result = before_after(workspace, chosen)
    assert (result["synthetic_films"], result["synthetic_patients"]) == (5, 4)
    assert result["after"]["films"] - result["before"]["films"] == 5
    assert result["after"]["patients"] == result["before"]["patients"]
    (gap,) = [g for g in result["gaps"] if g["pattern"] == {"Pneumothorax": "present", "sex": "F"}]
    assert gap["after"]["films"] - gap["before"]["films"] == 5
    assert gap["after"]["patients"] - gap["before"]["patients"] == 4
    assert gap["needed"] == 40 - gap["after"]["patients"]
    assert not gap["closed"]
    closing = GapsSettings(attributes="sex,Pneumothorax", threshold=gap["before"]["patients"] + 4)
    result = before_after(workspace, closing)
    assert [g["closed"] for g in result["gaps"] if g["pattern"] == gap["pattern"]] == [True]
    assert result["after"]["mups"] < result["before"]["mups"]
    for m in (1, closing.threshold):
        for t in (1, 2):
            assert result["after"]["tway"][m][t] >= result["before"]["tway"][m][t]
    assert result["after"]["tway"][closing.threshold][2] > result["before"]["tway"][closing.threshold][2]


def test_without_edits_nothing_changes(tmp_path):
    result = before_after(workspace_of(tmp_path / "ws", films_frame(5, 60)), GapsSettings(threshold=10))
    assert result["before"] == result["after"]
    assert result["synthetic_films"] == 0
    assert not any(g["closed"] for g in result["gaps"])
