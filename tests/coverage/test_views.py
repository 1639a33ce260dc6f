"""Views of the films against pandas, row by row: filters, exact combinations, prevalence by group with its interval."""

from __future__ import annotations

import numpy as np
import pytest
from coverage_frames import films_frame, workspace_of

from cars import schema
from cars.coverage import combinations_of, film_codes, filters, finding_counts, pair_table, pairs_of, prevalence
from cars.coverage.rules import shipped_rules
from cars.coverage.search import pattern_text
from cars.errors import SettingError

KEYS = {"patient": "subject_id", "study": "study_id", "film": "dicom_id"}


@pytest.fixture(scope="module")
def frame():
    return films_frame(3, 120)


@pytest.fixture(scope="module")
def films(frame, tmp_path_factory):
    return film_codes(workspace_of(tmp_path_factory.mktemp("views") / "ws", frame))


def wilson_by_root(count, n):
    """The shares that a score test at 5% does not refuse, by bisection (Wilson 1927)."""
    from scipy.optimize import brentq

    share = count / n

    def edge(p):
        return abs(share - p) - 1.959964 * np.sqrt(p * (1 - p) / n)

    low = 0.0 if count == 0 else brentq(edge, 1e-12, share)
    return low, 1.0 if count == n else brentq(edge, share, 1 - 1e-12)


def sets(frame):
    """(films,) the findings that each film shows, as text."""
    return frame.apply(lambda row: "; ".join(f for f, c in schema.COLUMN_OF.items() if row[c] == 1), axis=1)


@pytest.mark.parametrize(
    "text",
    ["", "view:PA,AP", "sex:unknown", "race:ASIAN,unknown;age_band:80+", "Edema:present,uncertain;sex:F", "race:x"],
)
def test_a_filter_keeps_the_films_that_the_frame_keeps(frame, films, text):
    conditions = filters.parse(text)
    expected = frame[filters.mask(frame, conditions)]
    kept = films.where(conditions, "train")
    assert sorted(kept.dicom_id) == sorted(expected[expected["split"] == "train"]["dicom_id"])
    assert kept.units("patient") == expected[expected["split"] == "train"]["subject_id"].nunique()
    assert kept.units("study") == expected[expected["split"] == "train"]["study_id"].nunique()


def test_films_on_disk_come_first_and_the_rest_is_counted(frame, films):
    ids, n = films.ids(films.mask({"sex": ("F",)}), limit=20)
    women = frame[frame["sex"] == "F"].set_index("dicom_id")
    assert n == len(women)
    assert len(ids) == 20
    assert women.loc[ids, "on_disk"].all()
    everything, _ = films.ids(films.mask({"sex": ("F",)}), limit=10_000)
    disk = women.loc[everything, "on_disk"].tolist()
    assert disk == sorted(disk, reverse=True)


@pytest.mark.parametrize("unit", KEYS)
def test_combinations_are_exact(frame, films, unit):
    table = combinations_of(films, unit).set_index("findings")
    found = frame.assign(set=sets(frame)).groupby("set")
    assert table["count"].to_dict() == found[KEYS[unit]].nunique().to_dict()
    assert table["films"].to_dict() == found.size().to_dict()
    assert table["test"].to_dict() == found["split"].apply(lambda s: int((s == "test").sum())).to_dict()
    assert list(table["count"]) == sorted(table["count"], reverse=True)
    assert all(size == len(text.split("; ")) * bool(text) for text, size in table["size"].items())


def test_a_combination_has_its_verdict(films):
    rules = tuple(rule for rule in shipped_rules().values() if rule)
    gap = {"Edema": "present", "Fracture": "present"}
    table = combinations_of(films, "film", rules, {pattern_text(gap): "rare as expected"}).set_index("findings")
    forbidden = table[[("No Finding" in text and "Edema" in text) for text in table.index]]
    assert len(forbidden)
    assert set(forbidden["verdict"]) == {"impossible"}
    assert set(table["verdict"]) <= {"impossible", "no gap", "rare as expected"}
    for text, verdict in table["verdict"].items():
        assert (verdict == "rare as expected") == (text == "Edema; Fracture")


@pytest.mark.parametrize("unit", KEYS)
def test_counts_of_findings(frame, films, unit):
    expected = {f: frame.loc[frame[c] == 1, KEYS[unit]].nunique() for f, c in schema.COLUMN_OF.items()}
    assert finding_counts(films, unit).to_dict() == expected


@pytest.mark.parametrize("unit", KEYS)
@pytest.mark.parametrize("by", ["view", "sex", "age_band", "race", "split"])
def test_prevalence_by_group(frame, films, by, unit):
    table = prevalence(films, by, unit).set_index(["group", "finding"])
    assert set(table.index.get_level_values(0)) == {"all", *frame[by]}
    for group, part in [("all", frame), *frame.groupby(by)]:
        for finding in ("Edema", "Support Devices"):
            row = table.loc[group, finding]
            assert row["n"] == part[KEYS[unit]].nunique()
            assert row["count"] == part.loc[part[schema.COLUMN_OF[finding]] == 1, KEYS[unit]].nunique()
            assert row["share"] == pytest.approx(row["count"] / row["n"])
            assert row["difference"] == pytest.approx(row["share"] - table.loc["all", finding]["share"])
            assert (row["low"], row["high"]) == pytest.approx(wilson_by_root(row["count"], row["n"]), abs=1e-6)


def test_unknown_is_the_last_group(films):
    groups = list(dict.fromkeys(prevalence(films, "race")["group"]))
    assert groups == ["all", "ASIAN", "BLACK", "WHITE", "unknown"]
    assert list(dict.fromkeys(prevalence(films, "age_band")["group"])) == ["all", *schema.AGE_BANDS, "unknown"]


def test_no_films_make_no_share(films):
    none = films.where({"race": ("nobody",)})
    assert len(none) == 0
    table = prevalence(none, "sex")
    assert set(table["group"]) == {"all"}
    assert (table["n"] == 0).all()
    assert table[["share", "low", "high"]].isna().all(axis=None)
    assert combinations_of(none).empty
    assert pairs_of(none).n == 0


def test_the_table_of_pairs_has_each_pair_once(films):
    found = pairs_of(films, "study")
    table = pair_table(found)
    assert len(table) == 14 * 15 // 2
    row = table[(table["first"] == "Edema") & (table["second"] == "Fracture")].iloc[0]
    i, j = found.names.index("Edema"), found.names.index("Fracture")
    assert (row["observed"], row["ratio"]) == (found.observed[j, i], found.ratio[j, i])
    same = table[table["first"] == table["second"]]
    assert list(same["observed"]) == list(np.diag(found.observed))
    assert same[["expected", "ratio"]].isna().all(axis=None)


def test_an_unknown_unit_is_refused(films):
    with pytest.raises(SettingError, match="lung"):
        films.unit_of("lung")
