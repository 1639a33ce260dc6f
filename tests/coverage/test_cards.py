"""The card of a gap and its Markdown; the list of gaps under weights and conditions."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from coverage_frames import films_frame, workspace_of

from cars.coverage import GapList, GapsSettings, Narrowing, film_codes, gap_card, gaps, markdown
from cars.coverage.cards import by_split, escaped, interval_words, part_table, space_words, verdict_reason
from cars.coverage.rank import PARTS, RankSettings

ROW = {
    "gap_id": "g", "pattern": json.dumps({"sex": "F", "Pneumothorax": "present"}), "rank": 3, "unit": "patient",
    "sentence": "Fewer than 30 women with pneumothorax: 4 patients; 11 expected.", "verdict": "rarer than expected",
    "count": 4, "expected": 11.0, "ratio": 0.4, "low": 0.25, "high": 0.75, "deficit": 26, "threshold": 30,
    "test_films": 7, "reachable": 300, "reachable_two": 12, "level": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    workspace = workspace_of(tmp_path_factory.mktemp("cards") / "ws", films_frame(1, 250))
    gaps(workspace, GapsSettings(max_order=2, include_impossible=True))
    return workspace, GapList.of(workspace)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "11.0 patients be expected, and 4 are there"),
        ({}, "all of it below 1"),
        ({"verdict": "rare as expected", "high": 1.2}, "chance may explain it"),
        ({"verdict": "rare as expected", "ratio": 1.1, "high": 1.9}, "its parts are rare"),
        ({"verdict": "rare as expected", "expected": np.nan}, "no parts from which to expect"),
    ],
)
def test_the_reason_of_a_verdict(change, said):
    assert said in verdict_reason(ROW | change)


def test_the_reason_of_an_impossible_gap_is_its_rule():
    assert verdict_reason(ROW | {"verdict": "impossible"}, "No Finding excludes Edema.").endswith("excludes Edema.")


def test_the_interval_by_hand():
    """0.25 × 11 = 2.75 and 0.75 × 11 = 8.25; 30 less those is 21.75 to 27.25."""
    said = interval_words(ROW)
    assert "2.8 to 8.2 patients" in said
    assert "22 to 27 short of the threshold of 30" in said
    assert interval_words(ROW | {"low": np.nan, "high": np.nan}) is None
    assert "at or above" in interval_words(ROW | {"expected": 200.0})


def test_by_split_counts_real_films_once(found):
    workspace, _ = found
    films = workspace.read("films")
    table = by_split(film_codes(workspace), {"sex": "F", "Edema": "present"}).set_index("split")
    matching = films[(films["sex"] == "F") & (films["edema"] == 1)]
    for split in ("train", "validate", "test"):
        part = matching[matching["split"] == split]
        counts = [part["subject_id"].nunique(), part["study_id"].nunique(), len(part)]
        assert table.loc[split].tolist() == counts
    assert by_split(film_codes(workspace), {"race": "nobody"})["films"].sum() == 0


def test_a_part_that_is_not_known_says_why():
    parts = pd.Series({"deficit": 0.8, "rarity": np.nan, "test": 0.4, "error": np.nan, "reach": 1.0})
    table = part_table(ROW, parts, RankSettings(), None).set_index("part")
    assert np.isnan(table.loc["model error there", "adds"])
    assert "no run yet" in table.loc["model error there", "note"]
    assert "no expectation" in table.loc["rarer than expected", "note"]
    assert table["adds"].sum() == pytest.approx((0.8 * 30 + 0.4 * 15 + 15) / 60)
    assert "no test film to measure" in part_table(ROW, parts, RankSettings(), "run").loc[3, "note"]
    measured = part_table(ROW, parts.fillna(0.6), RankSettings(), "run", 7)
    assert measured.loc[3, "note"] == "0.30 on 7 test films; 0.5 is chance"


def test_feature_space_is_said_where_it_was_measured(tmp_path):
    workspace = workspace_of(tmp_path / "ws", films_frame(1, 20))
    assert space_words(workspace, "g") is None
    rows = pd.DataFrame({"gap_id": ["g", "h"], "n_films": [8, 0], "covered": [0.75, np.nan], "low": [0.4, np.nan],
                         "high": [0.93, np.nan]})  # fmt: skip
    workspace.write_part("space_gaps", "all", rows)
    assert space_words(workspace, "g") == "In feature space 75% of 8 test films that match are covered (40% to 93%)."
    assert "undefined" in space_words(workspace, "h")
    assert "undefined" in space_words(workspace, "not there")


def test_markdown_holds_the_card_and_no_markup_of_the_data(found):
    workspace, listed = found
    row = listed.table.iloc[0].to_dict() | {"sentence": "Race “<b>*A*</b> | [x](http://e)”.", "rank": 1}
    card = gap_card(workspace, row, film_codes(workspace), listed.parts.iloc[0], RankSettings(), fill=["3 films."])
    text = markdown(card, "open_cxr")
    assert text.startswith("### Race “\\<b\\>\\*A\\*")
    assert re.search(r"(?<!\\)[<\[*]", text.splitlines()[0]) is None
    assert "| train |" in text
    assert "- 3 films." in text
    assert "undefined" in text, "there is no run, so the error is not known"
    assert "open\\_cxr" in text
    assert text.count("\n| ") >= 3 + len(PARTS)
    assert escaped("a\nb|c") == "a b\\|c"


# The list -------------------------------------------------------------------------------------------------------------


def test_the_list_is_the_table_under_its_own_weights(found):
    _, listed = found
    rows, left = listed.listed(RankSettings(), Narrowing(), 10_000)
    assert left == len(listed) == len(rows)
    assert rows["gap_id"].tolist() == listed.table.sort_values("rank")["gap_id"].tolist()
    assert rows["rank"].tolist() == list(range(1, left + 1))
    assert (rows["verdict"].tail(3) == "impossible").all()
    for n in (0, left // 2, left - 1):
        row = listed.row_of(rows["gap_id"][n])
        assert listed.rank_of(row, RankSettings()) == n + 1
        assert rows["row"][n] == row
    assert listed.row_of("nothing") is None


def brute(pattern: dict[str, str], narrowing: Narrowing, verdict: str) -> bool:
    items = set(pattern.items())
    related = set(narrowing.related)
    return (
        (not narrowing.verdicts or verdict in narrowing.verdicts)
        and set(narrowing.items) <= items
        and all(pattern.get(name, values[0]) in values for name, values in narrowing.where)
        and (not related or related <= items or items <= related)
    )


@pytest.mark.parametrize(
    "narrowing",
    [
        Narrowing(verdicts=("impossible",)),
        Narrowing(items=(("sex", "F"),)),
        Narrowing(items=(("sex", "F"), ("Edema", "present"))),
        Narrowing(items=(("race", "nobody"),)),
        Narrowing(where=(("sex", ("M",)), ("view", ("PA", "AP")))),
        Narrowing(where=(("Edema", ("absent",)),)),
        Narrowing(related=(("sex", "F"), ("Edema", "present"), ("view", "PA"))),
        Narrowing(related=(("Edema", "present"),)),
        Narrowing(verdicts=("rare as expected",), related=(("Edema", "present"),), where=(("sex", ("F",)),)),
    ],
    ids=str,
)
def test_conditions_leave_what_they_say(found, narrowing):
    _, listed = found
    rows, left = listed.listed(RankSettings(), narrowing, 4)
    expected = [
        row["gap_id"] for row in listed.table.sort_values("rank").to_dict("records")
        if brute(json.loads(row["pattern"]), narrowing, row["verdict"])
    ]  # fmt: skip
    assert left == len(expected)
    assert rows["gap_id"].tolist() == expected[:4]
