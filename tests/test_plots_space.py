"""The figures of feature space draw what their tables hold."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cars import plots
from cars.coverage.space import curves, near_misses, sentences, shares


def films() -> pd.DataFrame:
    """Two train films, three test films of two patients, one synthetic film."""
    return pd.DataFrame(
        {
            "dicom_id": ["a", "b", "t", "u", "v", "s"],
            "split": ["train", "train", "test", "test", "test", "train"],
            "origin": ["real"] * 5 + ["synthetic"],
            "subject_id": ["1", "2", "3", "3", "4", None],
            "nearest_dicom_id": ["b", "a", "a", "a", "b", "a"],
            "distance": [0.5, 0.5, 0.2, 0.9, 1.2, 0.1],
            "radius": [0.5, 0.5, 0.5, 0.5, 0.0, 0.5],
            "balls": [1, 1, 2, 0, 0, 1],
            "covered": [True, True, True, False, False, True],
            "nearest_synthetic": [None, None, "s", "s", "s", None],
            "distance_synthetic": [np.nan, np.nan, 0.3, 0.3, 1.3, np.nan],
            "covered_after": [True, True, True, True, False, True],
        }
    )


def test_shares_and_sentences_count_each_group() -> None:
    found = shares(films()).set_index("films")
    assert list(found.index) == ["train", "test", "test and synthetic"]
    assert list(found["value"]) == [1, 1 / 3, 2 / 3]
    assert list(found["n_films"]) == [2, 3, 3]
    assert list(found["n_patients"]) == [2, 2, 2]
    said = sentences(shares(films()))
    assert said[0].startswith("33% of 3 test films, of 2 patients")
    assert "100%" in said[1]
    assert "67%" in said[2]
    assert sentences(shares(films().query("split == 'train'"))) == []


def test_the_farthest_near_miss_comes_first_and_no_radius_gives_no_ratio() -> None:
    missed = near_misses(films())
    assert list(missed["dicom_id"]) == ["v", "u"]
    assert np.isnan(missed["times"].iloc[0])
    assert missed["times"].iloc[1] == 0.9 / 0.5


def test_curves_go_from_the_nearest_to_the_farthest_film() -> None:
    table = curves(films())
    test = table[(table["films"] == "test") & (table["measure"] == "distance")]
    assert (test["value"].iloc[0], test["value"].iloc[-1]) == (0.2, 1.2)
    assert (np.diff(test["value"]) >= 0).all()
    drawn = plots.space_distances(table, "<b>set</b>")
    assert [trace.name.split(" (")[0] for trace in drawn.data] == [
        "train film to another patient's", "test film to the nearest train film",
        "synthetic film to the nearest train film", "radius of that train film",
    ]  # fmt: skip
    assert "(n 3)" in drawn.data[1].name
    assert "<b>set" not in drawn.layout.title.subtitle.text
    assert curves(films().iloc[:0]).empty
    assert not plots.space_distances(curves(films().iloc[:0])).data


def test_intervals_are_drawn_from_the_share() -> None:
    table = shares(films())
    drawn = plots.space_shares(table)
    test = drawn.data[1]
    row = table.set_index("films").loc["test"]
    assert test.x[0] == 100 * row["value"]
    assert np.isclose(test.x[0] + test.error_x.array[0], 100 * row["high"])
    assert np.isclose(test.x[0] - test.error_x.arrayminus[0], 100 * row["low"])
    assert drawn.layout.shapes[0].x0 == 100, "the line is train's share"
