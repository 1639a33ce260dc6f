"""Two workspaces against each other: which gaps are whose, and counts on both sides, against counting row by row."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from coverage_frames import edits_frame, films_frame, workspace_of

from cars import schema
from cars.coverage import GapsSettings, film_codes, tway
from cars.coverage.rules import rules_of, why_impossible
from cars.coverage.versus import BOTH, CLOSED, OPENED, count_changes, gap_changes, tway_changes, value_counts

SETTINGS = GapsSettings(attributes="sex,view,Edema,Fracture,race", threshold=12, max_order=3)


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("versus")
    first, second = films_frame(1, 110), films_frame(2, 110)
    second.loc[second["race"] == "ASIAN", "race"] = "OTHER"
    return (first, workspace_of(folder / "a", first)), (second, workspace_of(folder / "b", second))


def matching(frame: pd.DataFrame, pattern: dict[str, str], unit: str = "subject_id") -> int:
    """Train units with a film that meets the pattern."""
    kept = frame[frame["split"] == "train"]
    for name, value in pattern.items():
        column = schema.COLUMN_OF.get(name, name)
        kept = kept[kept[column] == (schema.FINDING_CODES[value] if name in schema.COLUMN_OF else value)]
    return kept[unit].nunique()


def is_gap(frame: pd.DataFrame, pattern: dict[str, str]) -> bool:
    """Whether a pattern is a MUP: uncovered, and every pattern of one condition fewer is covered."""
    smaller = ({k: v for k, v in pattern.items() if k != dropped} for dropped in pattern)
    return matching(frame, pattern) < 12 and all(matching(frame, p) >= 12 for p in smaller)


def test_each_gap_has_its_counts_and_its_side(sides):
    (a, first), (b, second) = sides
    table, stopped = gap_changes((first, False), (second, False), SETTINGS)
    assert not stopped
    assert {CLOSED, OPENED, BOTH} >= set(table["state"])
    assert len(set(table["state"])) == 3, "the example has one of each kind"
    for row in table.itertuples():
        pattern = json.loads(row.pattern)
        assert (row.first, row.second) == (matching(a, pattern), matching(b, pattern))
        open_first, open_second = row.first < 12, row.second < 12
        assert row.state == (BOTH if open_first and open_second else CLOSED if open_first else OPENED)
        assert is_gap(a, pattern) or is_gap(b, pattern)
        assert (row.threshold_first, row.threshold_second) == (12, 12)
    # every single value and pair that is a gap of a side is there, unless a rule forbids it
    rules = rules_of(first)
    listed = set(table["pattern"])
    values = [("sex", "F"), ("sex", "M"), ("view", "PA"), ("view", "lateral"), ("Edema", "present"),
              ("Fracture", "present"), ("race", "ASIAN"), ("race", "OTHER"), ("race", "BLACK")]  # fmt: skip
    for frame, known in ((a, {"ASIAN", "BLACK"}), (b, {"OTHER", "BLACK"})):
        for i, one in enumerate(values):
            for two in values[i:]:
                pattern = dict(sorted(dict([one, two]).items()))
                race = pattern.get("race")
                if (one[0] == two[0] and one != two) or (race and race not in known) or why_impossible(pattern, rules):
                    continue
                if is_gap(frame, pattern):
                    assert json.dumps(pattern, sort_keys=True) in listed
    far = (table["first"] - table["second"]).abs()
    assert list(far) == sorted(far, reverse=True)


def test_a_side_against_itself_has_no_change(sides):
    (_, first), _ = sides
    table, _ = gap_changes((first, False), (first, False), SETTINGS)
    assert set(table["state"]) == {BOTH}
    assert (table["first"] == table["second"]).all()


def test_synthetic_films_close_gaps_in_films(tmp_path):
    frame = films_frame(4, 60)
    workspace = workspace_of(tmp_path / "ws", frame)
    held_out = set(frame.loc[frame["split"] != "train", "subject_id"])
    sources = frame[(frame["split"] == "train") & (frame["fracture"] != 1) & ~frame["subject_id"].isin(held_out)]
    edits = edits_frame(frame, [(i, "Fracture", "insert") for i in sources["dicom_id"].head(30)])
    workspace.write_part("edits", "p", edits)
    settings = GapsSettings(attributes="Fracture,sex", threshold=40, unit="film")
    table, _ = gap_changes((workspace, False), (workspace, True), settings)
    grown = table.set_index("pattern")
    assert (grown["second"] >= grown["first"]).all()
    assert (grown["second"] > grown["first"]).any()
    assert CLOSED in set(table["state"])
    assert OPENED not in set(table["state"])


@pytest.mark.parametrize("unit", ["patient", "study", "film"])
def test_values_are_counted_on_both_sides(sides, unit):
    key = {"patient": "subject_id", "study": "study_id", "film": "dicom_id"}[unit]
    (a, first), (b, second) = sides
    table = count_changes(film_codes(first), film_codes(second), unit).set_index(["attribute", "value"])
    for side, frame in (("first", a), ("second", b)):
        assert (table[f"n_{side}"] == frame[key].nunique()).all()
        for (attribute, value), row in table.iterrows():
            column = schema.COLUMN_OF.get(attribute, attribute)
            code = 1 if attribute in schema.COLUMN_OF else value
            assert row[f"count_{side}"] == frame.loc[frame[column] == code, key].nunique()
            assert row[f"share_{side}"] == pytest.approx(row[f"count_{side}"] / row[f"n_{side}"])
            assert row[f"low_{side}"] <= row[f"share_{side}"] + 1e-12
            assert row[f"high_{side}"] >= row[f"share_{side}"] - 1e-12
    assert table.loc[("race", "ASIAN"), "count_second"] == 0
    assert table.loc[("race", "OTHER"), "count_first"] == 0
    assert len(table) == len(set(table.index))


def test_no_films_have_no_share(sides):
    (_, first), _ = sides
    none = film_codes(first).where({"race": ("nobody",)})
    table = value_counts(none)
    assert (table["n"] == 0).all()
    assert np.isnan(table["share"]).all()
    both = count_changes(none, film_codes(first))
    assert both["share_first"].isna().all()
    assert both["share_second"].notna().all()


def test_tway_of_both_sides(sides):
    (_, first), (_, second) = sides
    table = tway_changes((first, False), (second, False), SETTINGS, ("one", "other"))
    own = tway(second, SETTINGS)
    own = own[own["split"] == "train"]["share"].tolist()
    assert table[table["side"] == "other"]["share"].tolist() == own
    assert list(dict.fromkeys(table["side"])) == ["one", "other"]
