"""Coverage gains: what counts, what has an interval, and what is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from coverage_frames import edits_frame, films_frame, workspace_of

from cars.coverage import GapsSettings, before_after, coverage_gains, gained_sentence
from cars.coverage.gained import reach_row
from cars.generators import baselines

SETTINGS = GapsSettings(attributes="sex,Pneumothorax", threshold=40)


@pytest.fixture
def edited(tmp_path):
    """Five edits into women with pneumothorax; the last was made by a baseline generator."""
    frame = films_frame(5, 200)
    women = frame[(frame["split"] == "train") & (frame["sex"] == "F")]
    without = women[~women["subject_id"].isin(women.loc[women["pneumothorax"] == 1, "subject_id"])]
    sources = without.drop_duplicates("subject_id")["dicom_id"].head(5).tolist()
    workspace = workspace_of(tmp_path / "ws", frame)
    edits = edits_frame(frame, [(s, "Pneumothorax", "insert") for s in sources])
    edits["generator"] = ["cars"] * 4 + ["label-prompted"]
    workspace.write_part("edits", "a", edits)
    return workspace


def test_a_baselines_films_fill_no_gap(edited):
    assert "label-prompted" in baselines()
    assert "cars" not in baselines()
    assert before_after(edited, SETTINGS)["synthetic_films"] == 4


def test_the_table_holds_what_before_after_counted(edited):
    found = before_after(edited, SETTINGS)
    table = coverage_gains(edited, SETTINGS)
    gaps = table[table["measure"] == "gaps"].iloc[0]
    assert (gaps["before"], gaps["after"]) == (found["before"]["mups"], found["after"]["mups"])
    assert (gaps["better"], gaps["n"], gaps["unit"]) == ("lower", found["before"]["patients"], "train patients")
    assert "no interval" in gaps["note"]
    shares = table[table["measure"] == "combinations"].set_index("detail")
    assert shares.loc["2 values, 40 patients or more", "after"] == found["after"]["tway"][40][2]
    assert shares.loc["1 value, 1 patient or more", "before"] == found["before"]["tway"][1][1]
    assert shares["change"].to_numpy() == pytest.approx(shares["after"] - shares["before"])
    assert shares[["before_low", "after_high", "change_low"]].isna().all(axis=None)


def test_feature_space_that_was_not_measured_is_undefined_and_says_how(edited):
    table = coverage_gains(edited, SETTINGS)
    reach = table[table["measure"] == "test films within reach"].iloc[0]
    assert np.isnan(reach["before"])
    assert "run `cars space`" in reach["note"]
    assert "not measured" in gained_sentence(table)


def test_feature_space_with_its_intervals(edited):
    films = edited.read("films")
    ids = films.loc[films["split"] == "test", "dicom_id"].tolist()
    covered = [n % 2 == 0 for n in range(len(ids))]
    after = [c or n == 1 for n, c in enumerate(covered)]
    frame = pd.DataFrame(
        {"dicom_id": [*ids, "e"], "split": ["test"] * len(ids) + ["train"], "nearest_dicom_id": "t", "distance": 1.0,
         "origin": ["real"] * len(ids) + ["synthetic"], "radius": 1.0, "balls": 0, "covered": [*covered, True],
         "nearest_synthetic": "e", "distance_synthetic": 1.0, "covered_after": [*after, True]}
    )  # fmt: skip
    edited.write_part("space_films", "0", frame)
    table = coverage_gains(edited, SETTINGS)
    reach = table[table["measure"] == "test films within reach"].iloc[0]
    assert (reach["before"], reach["after"]) == pytest.approx((np.mean(covered), np.mean(after)))
    assert reach["before_low"] < reach["before"] < reach["before_high"]
    assert reach["change"] == pytest.approx(1 / len(ids))
    assert 0 <= reach["change_low"] <= reach["change"] <= reach["change_high"]
    assert (reach["n"], reach["patients"]) == (len(ids), films.loc[films["split"] == "test", "subject_id"].nunique())
    assert "measured with 1 synthetic films where 4 count now" in reach["note"]
    assert f"of {len(ids)} test films" in gained_sentence(table)


def test_the_change_is_paired_film_by_film():
    test = pd.DataFrame(
        {"subject_id": [str(n) for n in range(200)], "covered": [n < 100 for n in range(200)],
         "covered_after": [n < 100 for n in range(200)]}
    )  # fmt: skip
    row = reach_row("all", test)
    assert (row["change"], row["change_low"], row["change_high"]) == (0, 0, 0)
    assert row["before_high"] - row["before_low"] > 0.1


def test_more_gaps_than_before_are_explained():
    row = {"measure": "gaps", "detail": "", "before": 3.0, "after": 5.0}
    none = {
        "measure": "test films within reach",
        "detail": "",
        "before": np.nan,
        "after": np.nan,
        "note": "not measured",
    }
    assert "narrower ones" in gained_sentence(pd.DataFrame([row, none]))
    assert "narrower ones" not in gained_sentence(pd.DataFrame([{**row, "after": 2.0}, none]))
