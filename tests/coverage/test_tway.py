"""t-way coverage by split, and what only test films have, against counting each combination film by film."""

from __future__ import annotations

import json
from itertools import combinations, product

import numpy as np
import pytest
from coverage_frames import edits_frame, films_frame, workspace_of

from cars import schema
from cars.coverage import GapsSettings, gaps, tway, unseen_in_train
from cars.coverage.attributes import attribute_names, attributes_of
from cars.coverage.rules import shipped_rules, why_impossible
from cars.coverage.tway import LEAST, MOST_CELLS, cell_count, within_bounds
from cars.errors import SettingError

RULES = tuple(shipped_rules().values())
NAMES = "sex,view,Edema,Lung Opacity,No Finding"
KEYS = {"patient": "subject_id", "study": "study_id", "film": "dicom_id"}


def cells_by_hand(frame, values: str, t: int) -> dict[str, dict[str, int]]:
    """Pattern as JSON → split → films of it, for every combination that no rule forbids."""
    attributes = attributes_of(attribute_names(NAMES), values)
    found = {}
    for chosen in combinations(attributes, t):
        for combination in product(*(a.values for a in chosen)):
            pattern = dict(sorted((a.name, v) for a, v in zip(chosen, combination, strict=True)))
            if why_impossible(pattern, RULES):
                continue
            films = frame
            for a, value in zip(chosen, combination, strict=True):
                films = films[films[a.column] == a.code(value)]
            found[json.dumps(pattern, ensure_ascii=False)] = {
                "all": films, **{s: films[films["split"] == s] for s in ("train", "validate", "test")}
            }  # fmt: skip
    return found


@pytest.mark.parametrize(("values", "unit"), [("present", "patient"), ("all", "film"), ("present+absent", "study")])
def test_every_share_and_every_unseen_combination_can_be_recounted(tmp_path, values, unit):
    frame = films_frame(6, 90)
    workspace = workspace_of(tmp_path / "ws", frame)
    settings = GapsSettings(NAMES, values=values, unit=unit)
    table = tway(workspace, settings)
    assert len(table) == 4 * 4 * 4
    for t in (1, 2, 3, 4):
        cells = cells_by_hand(frame, values, t)
        for split, m in product(("train", "validate", "test", "all"), LEAST):
            row = table[(table["t"] == t) & (table["m"] == m) & (table["split"] == split)].iloc[0]
            enough = sum(films[split][KEYS[unit]].nunique() >= m for films in cells.values())
            assert (row["covered"], row["possible"]) == (enough, len(cells))
            assert row["share"] == enough / len(cells)
        for least in (1, 4):
            unseen = unseen_in_train(workspace, settings, t, least).set_index("pattern")
            expected = {
                pattern: films
                for pattern, films in cells.items()
                if len(films["test"]) and films["train"][KEYS[unit]].nunique() < least
            }
            assert set(unseen.index) == set(expected)
            for pattern, films in expected.items():
                row = unseen.loc[pattern]
                assert row["train"] == films["train"][KEYS[unit]].nunique()
                tested = [films["test"][KEYS[u]].nunique() for u in ("patient", "study", "film")]
                assert [row["test_patients"], row["test_studies"], row["test_films"]] == tested
                assert row["level"] == t
    assert len(unseen_in_train(workspace, settings, 4, 4)) > 2  # so that the comparison compared something


def test_new_combinations_are_those_that_nothing_smaller_explains(tmp_path):
    frame = films_frame(3, 120, split="train")
    frame.loc[frame.index[-1], "split"] = "test"
    frame.loc[frame["split"] == "train", "edema"] = np.int8(0)
    frame.loc[frame["split"] == "test", ["edema", "fracture", "pneumonia"]] = np.int8(1)
    both = (frame["split"] == "train") & (frame["fracture"] == 1)
    frame.loc[both, "pneumonia"] = np.int8(0)
    workspace = workspace_of(tmp_path / "ws", frame)
    settings = GapsSettings("edema,fracture,pneumonia")
    assert unseen_in_train(workspace, settings, 1)["pattern"].tolist() == ['{"Edema": "present"}']
    pairs = unseen_in_train(workspace, settings, 2).set_index("pattern")
    assert pairs["new"].to_dict() == {
        '{"Edema": "present", "Fracture": "present"}': False,
        '{"Edema": "present", "Pneumonia": "present"}': False,
        '{"Fracture": "present", "Pneumonia": "present"}': True,
    }
    sentence = pairs.loc['{"Fracture": "present", "Pneumonia": "present"}', "sentence"]
    assert sentence == "Patients with fracture and pneumonia: 1 test patient (1 film), no train patient."


def test_a_filter_holds_on_both_sides_and_its_values_alone_are_possible(tmp_path):
    frame = films_frame(6, 90)
    whole = workspace_of(tmp_path / "whole", frame)
    cut = workspace_of(tmp_path / "cut", frame[frame["view"].isin(["PA", "AP"]) & (frame["edema"] == 1)])
    where = GapsSettings("sex,view,fracture,pneumonia", where="view:PA,AP; Edema:present")
    table = tway(whole, where)
    plain = tway(cut, GapsSettings("sex,view,fracture,pneumonia"))
    assert table["covered"].tolist() == plain["covered"].tolist()
    # the view lateral is excluded, so it is no combination that lacks films
    assert table["possible"].iloc[0] == plain["possible"].iloc[0] - 1
    found = unseen_in_train(whole, where, 3, 5)
    assert len(found)
    assert found["sentence"].str.endswith("Counted where view:PA,AP; Edema:present.").all()
    same = unseen_in_train(cut, GapsSettings("sex,view,fracture,pneumonia"), 3, 5)
    assert set(found["pattern"]) == set(same["pattern"])


def test_synthetic_films_cover_only_when_asked(tmp_path):
    frame = films_frame(5, 60)
    frame.loc[frame["split"] == "train", "pneumothorax"] = np.int8(0)
    frame.loc[frame["split"] == "test", "pneumothorax"] = np.int8(1)
    workspace = workspace_of(tmp_path / "ws", frame)
    source = frame.loc[frame["split"] == "train", "dicom_id"].iloc[0]
    workspace.write_part("edits", "a", edits_frame(frame, [(source, "Pneumothorax", "insert")]))
    chosen = GapsSettings("Pneumothorax")
    assert len(unseen_in_train(workspace, chosen, 1)) == 1
    with_made = GapsSettings("Pneumothorax", include_synthetic=True)
    assert len(unseen_in_train(workspace, with_made, 1)) == 0
    workspace.records.decide("edit-0", "reject")
    assert len(unseen_in_train(workspace, with_made, 1)) == 1  # a decision counts at once, whatever is remembered


def test_no_films_of_a_split_cover_nothing(tmp_path):
    table = tway(workspace_of(tmp_path / "ws", films_frame(6, 30, split="train")), GapsSettings("sex,edema"))
    assert table["t"].unique().tolist() == [1, 2]
    assert (table.loc[table["split"] == "test", "share"] == 0).all()
    assert table.loc[(table["split"] == "train") & (table["t"] == 1) & (table["m"] == 1), "share"].item() == 1


def test_too_many_combinations_are_left_out_or_refused(tmp_path):
    attributes = attributes_of(schema.FINDINGS, "all")
    assert cell_count(attributes, 4) == 81_081
    assert within_bounds(attributes, 50_000) == (1, 2, 3)
    assert within_bounds(attributes, MOST_CELLS) == (1, 2, 3, 4)
    workspace = workspace_of(tmp_path / "ws", films_frame(6, 10))
    with pytest.raises(SettingError, match="t = 5"):
        unseen_in_train(workspace, GapsSettings("sex"), 5)


def test_the_verb_reports_the_same_shares_and_numbers(tmp_path):
    workspace = workspace_of(tmp_path / "ws", films_frame(6, 90))
    settings = GapsSettings(NAMES, split="validate")
    result = gaps(workspace, settings)
    table = tway(workspace, settings)
    assert result["tway"] == table[table["split"] == "validate"].to_dict("records")
    assert result["unseen"] == {t: len(unseen_in_train(workspace, settings, t)) for t in (1, 2, 3, 4)}
    assert result["unseen"][4] > 0
