"""The verb: what it finds, counts, explains, refuses and writes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from coverage_frames import edits_frame, films_frame, workspace_of

from cars import schema
from cars.coverage import GapsSettings, gap_table, gaps, mups, score_parts, search
from cars.coverage.rows import load_rows, rows_of
from cars.coverage.rules import shipped_rules
from cars.coverage.search import COLUMNS, filtered, threshold_of
from cars.errors import Cancelled, SettingError, WorkspaceError
from cars.phantom.population import HOLES, sample_population
from cars.workspace import Workspace


def matching(frame: pd.DataFrame, pattern: dict[str, str]) -> pd.DataFrame:
    """The films of a pattern, condition by condition."""
    for name, value in pattern.items():
        if name in schema.COLUMN_OF:
            frame = frame[frame[schema.COLUMN_OF[name]] == schema.FINDING_CODES[value]]
        else:
            frame = frame[frame[name] == value]
    return frame


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"values": "all", "max_order": 2, "threshold": 12},
        {"unit": "study", "attributes": "race,view,edema,Pneumothorax", "threshold": 9},
        {"unit": "film", "split": "all", "include_impossible": True, "max_order": 2},
    ],
    ids=str,
)
def test_every_figure_of_the_table_can_be_recounted(tmp_path, choice):
    frame = films_frame(1, 250)
    workspace = workspace_of(tmp_path / "ws", frame)
    chosen = GapsSettings(**choice)
    result = gaps(workspace, chosen)
    table = gap_table(workspace)
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == result["total"] == len(result["mups"]) > 5
    counted = frame if chosen.split == "all" else frame[frame["split"] == chosen.split]
    key = {"patient": "subject_id", "study": "study_id", "film": "dicom_id"}[chosen.unit]
    for row in table.sample(min(40, len(table)), random_state=0).to_dict("records"):
        pattern = json.loads(row["pattern"])
        films = matching(counted, pattern)
        ids = [films[c].nunique() for c in ("subject_id", "study_id", "dicom_id")]
        assert [row["patients"], row["studies"], row["films"]] == ids
        assert row["count"] == films[key].nunique() < chosen.threshold
        assert row["deficit"] == chosen.threshold - row["count"]
        assert row["test_films"] == len(matching(frame[frame["split"] == "test"], pattern))
        assert row["level"] == len(pattern)
        assert "unknown" not in pattern.values()
        # maximal: every more general pattern has enough
        for name in pattern:
            rest = {k: v for k, v in pattern.items() if k != name}
            assert matching(counted, rest)[key].nunique() >= chosen.threshold
    assert table["gap_id"].is_unique
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    possible = table[table["verdict"] != "impossible"]
    assert possible["score"].is_monotonic_decreasing
    parts = score_parts(table)
    assert np.nanmin(parts.to_numpy()) >= 0
    assert np.nanmax(parts.to_numpy()) <= 1
    assert parts["error"].isna().all(), "there is no run"
    low, high = table["low"].dropna(), table["high"].dropna()
    assert (low <= high).all()
    assert ((table["verdict"] == "rarer than expected") <= (table["high"] < 1)).all()


def test_impossible_patterns_are_counted_and_listed_only_when_asked(tmp_path):
    workspace = workspace_of(tmp_path / "ws", films_frame(1, 250))
    without = gaps(workspace, GapsSettings(max_order=2, threshold=60))
    listed = gaps(workspace, GapsSettings(max_order=2, threshold=60, include_impossible=True))
    assert without["impossible"] == listed["impossible"] > 0
    assert listed["total"] == without["total"] + listed["impossible"]
    assert all(m["verdict"] != "impossible" for m in without["mups"])
    forbidden = [m["pattern"] for m in listed["mups"] if m["verdict"] == "impossible"]
    assert {"Edema": "present", "No Finding": "present"} in forbidden
    table = gap_table(workspace)
    assert not table.loc[table["verdict"] == "impossible", "editable"].any()


def test_a_hole_is_rarer_than_expected_and_a_rare_product_is_not(tmp_path):
    """Women with effusion were taken out; lateral films of children are rare because both are."""
    random = np.random.default_rng(0)
    n = 6000
    frame = films_frame(0, 1).iloc[:1]
    frame = (
        pd.concat([frame] * n, ignore_index=True)
        .assign(
            dicom_id=[f"{i:05d}" for i in range(n)],
            subject_id=[f"{i:05d}" for i in range(n)],
            study_id=[f"{i:05d}" for i in range(n)],
            split="train",
            sex=random.choice(["F", "M"], n),
            view=random.choice(["PA", "lateral"], n, p=[0.95, 0.05]),
            age_band=random.choice(list(schema.AGE_BANDS), n, p=[0.05, 0.25, 0.3, 0.25, 0.15]),
            **{c: (random.random(n) < 0.2).astype(np.int8) for c in schema.COLUMN_OF.values()},
        )
        .assign(no_finding=np.int8(-2))
    )
    hole = (frame["sex"] == "F") & (frame["pleural_effusion"] == 1)
    frame.loc[frame.index[hole][5:], "pleural_effusion"] = np.int8(0)
    found = gaps(workspace_of(tmp_path / "ws", frame), GapsSettings(max_order=2))
    by_pattern = {json.dumps(m["pattern"], ensure_ascii=False): m for m in found["mups"]}
    planted = by_pattern['{"Pleural Effusion": "present", "sex": "F"}']
    assert (planted["count"], planted["verdict"]) == (5, "rarer than expected")
    assert planted["expected"] > 200
    product = by_pattern['{"age_band": "0–17", "view": "lateral"}']
    assert product["verdict"] == "rare as expected"
    assert product["expected"] == pytest.approx(product["count"], abs=10)
    assert found["mups"][0] is planted


@pytest.mark.parametrize("unit", ["patient", "study", "film"])
def test_a_share_gives_the_threshold_that_it_says(tmp_path, unit):
    frame = films_frame(1, 250)
    workspace = workspace_of(tmp_path / "ws", frame)
    key = {"patient": "subject_id", "study": "study_id", "film": "dicom_id"}[unit]
    units = frame.loc[frame["split"] == "train", key].nunique()
    tau = -(-7 * units // 100)  # ceil(7%)
    by_share = gaps(workspace, GapsSettings(max_order=2, unit=unit, threshold_share=0.07, threshold=3))
    table = gap_table(workspace)
    plain = gaps(workspace, GapsSettings(max_order=2, unit=unit, threshold=tau))
    assert by_share["threshold"] == tau
    assert set(table["threshold"]) == {tau}
    assert by_share["mups"] == plain["mups"]
    assert table["sentence"].str.startswith(f"Fewer than {tau} ").all()


@pytest.mark.parametrize(("share", "units", "tau"), [(0.01, 300, 3), (0.01, 301, 4), (1e-9, 50, 1), (0.1, 30, 3)])
def test_a_share_is_rounded_up_and_exact_products_are_kept(share, units, tau):
    assert threshold_of(GapsSettings(threshold_share=share), units) == tau


def test_a_filter_searches_as_if_the_other_films_were_not_there(tmp_path):
    frame = films_frame(1, 400)
    whole = workspace_of(tmp_path / "whole", frame)
    some = frame["view"].isin(["PA", "AP"]) & (frame["edema"] == 1)
    chosen = GapsSettings(threshold=12, include_impossible=True)
    part = gaps(workspace_of(tmp_path / "part", frame[some]), chosen)
    kept = gap_table(Workspace(tmp_path / "part")).set_index("pattern")
    filtered = gaps(whole, dataclasses.replace(chosen, where="view:PA,AP; Edema:present"))
    table = gap_table(whole).set_index("pattern")
    assert filtered["units"] == part["units"]
    # what the filter excludes is no gap
    kept = kept[~kept.index.str.contains("lateral")]
    assert set(table.index) == set(kept.index)
    assert len(table) > 20
    figures = ["patients", "studies", "films", "count", "test_films", "reachable"]
    assert (table.loc[kept.index, figures] == kept[figures]).all(axis=None)
    assert table["sentence"].str.contains("Counted where view:PA,AP; Edema:present.", regex=False).all()
    assert not set(table["gap_id"]) & set(kept["gap_id"])  # another question, so another id
    with pytest.raises(SettingError, match="maybe"):
        gaps(whole, GapsSettings(where="Edema:maybe"))
    with pytest.raises(SettingError, match="no attribute"):
        gaps(whole, GapsSettings(attributes="edema", where="Edema:absent"))


def test_a_filter_does_not_hide_that_a_patient_is_tested(tmp_path):
    """A patient with a train film on PA and a test film on AP: under view:PA the train film is still no source."""
    frame = films_frame(4, 120).assign(on_disk=True)
    crossing = frame.loc[(frame["split"] == "train") & (frame["view"] == "PA"), "dicom_id"].iloc[0]
    person = frame.loc[frame["dicom_id"] == crossing].iloc[0]
    second = person.to_frame().T.astype(frame.dtypes).assign(split="test", view="AP", dicom_id="test-film")
    workspace = workspace_of(tmp_path / "ws", pd.concat([frame, second], ignore_index=True))
    kept = filtered(load_rows(workspace), "view:PA")
    assert set(kept["view"]) == {"PA"}
    assert crossing not in set(kept["dicom_id"])
    others = frame[(frame["view"] == "PA") & (frame["subject_id"] != person["subject_id"])]
    assert set(others["dicom_id"]) <= set(kept["dicom_id"])


@pytest.mark.parametrize(("values", "allowed"), [("present+absent", "absent"), ("present+uncertain", "uncertain")])
def test_one_other_finding_value_can_be_searched(tmp_path, values, allowed):
    workspace = workspace_of(tmp_path / "ws", films_frame(1, 250))
    everything = gaps(workspace, GapsSettings("sex,findings", "all", 2, 40, include_impossible=True))["mups"]
    found = gaps(workspace, GapsSettings("sex,findings", values, 2, 40, include_impossible=True))["mups"]
    wanted = [m["pattern"] for m in everything if set(m["pattern"].values()) <= {"present", allowed, "F", "M"}]
    assert sorted(map(str, (m["pattern"] for m in found))) == sorted(map(str, wanted))
    assert any(allowed in m["pattern"].values() for m in found)


def test_an_impossible_pattern_is_listed_with_its_reason(tmp_path):
    workspace = workspace_of(tmp_path / "ws", films_frame(1, 250))
    found = gaps(workspace, GapsSettings(max_order=2, threshold=60, include_impossible=True))["mups"]
    (one,) = [m for m in found if m["pattern"] == {"Edema": "present", "No Finding": "present"}]
    assert one["sentence"].endswith(shipped_rules()["no-finding-with-disease"].why)


def test_too_few_patients_in_all_is_one_gap_without_conditions(tmp_path):
    result = gaps(workspace_of(tmp_path / "ws", films_frame(0, 20)), GapsSettings(threshold=500))
    (only,) = result["mups"]
    assert (only["pattern"], only["expected"]) == ({}, None)
    assert only["sentence"].startswith("Fewer than 500 patients in all")


def test_no_gap_is_an_empty_table_that_can_be_read(tmp_path):
    frame = films_frame(0, 40, split="train", sex="F", view="PA")
    frame = frame.assign(edema=np.int8(1))
    workspace = workspace_of(tmp_path / "ws", frame)
    result = gaps(workspace, GapsSettings(attributes="edema", threshold=2))
    assert (result["mups"], result["total"], result["impossible"]) == ([], 0, 0)
    assert list(gap_table(workspace).columns) == list(COLUMNS)


def test_unknown_attributes_are_quoted_and_no_films_is_said(tmp_path):
    workspace = workspace_of(tmp_path / "ws", films_frame(0, 5))
    with pytest.raises(SettingError, match="weight") as error:
        gaps(workspace, GapsSettings(attributes="sex,weight"))
    assert "age_band" in error.value.hint
    assert "Pleural Effusion" in error.value.hint
    with pytest.raises(SettingError):
        gaps(workspace, GapsSettings(attributes=" , "))
    with pytest.raises(WorkspaceError, match="films"):
        gaps(Workspace.create(tmp_path / "empty"), GapsSettings())


def test_a_truncated_search_says_so_and_writes_what_it_found(tmp_path):
    workspace = workspace_of(tmp_path / "ws", films_frame(1, 250))
    result = gaps(workspace, GapsSettings(limit=10, include_impossible=True))
    assert result["truncated"]
    assert result["stopped_by"] == "limit"
    assert result["total"] == 10 == len(gap_table(workspace))
    for words in ("10 uncovered patterns", f"up to {result['complete']} attributes", "--max-order", "--threshold"):
        assert words in result["hint"]
    assert result["complete"] < GapsSettings().max_order
    whole = gaps(workspace, GapsSettings(include_impossible=True))
    assert (whole["truncated"], whole["stopped_by"], whole["hint"]) == (False, "", "")


@pytest.mark.parametrize("bound", ["seconds", "frequent"])
def test_a_search_that_would_explode_stops_at_a_bound_and_says_how_to_narrow_it(tmp_path, monkeypatch, bound):
    workspace = workspace_of(tmp_path / "ws", films_frame(1, 150))
    asked = GapsSettings(
        "sex,edema,fracture,pneumonia,atelectasis,cardiomegaly", "all", 18, 4, seconds=1, include_impossible=True
    )
    if bound == "frequent":
        monkeypatch.setattr(search, "MOST_FREQUENT", 100)
    else:
        ticks = iter(range(10**9))
        monkeypatch.setattr(mups, "monotonic", lambda: 0.35 * next(ticks))  # what a slow search would see
    result = gaps(workspace, asked)
    assert (result["truncated"], result["stopped_by"]) == (True, bound)
    assert 1 <= result["complete"] < 6
    for words in (
        "after 1 seconds" if bound == "seconds" else "100 patterns have enough patients",
        f"up to {result['complete']} attributes", "Lower --max-order",
    ):  # fmt: skip
        assert words in result["hint"]
    # complete up to the stated level: as if no more had been asked for
    monkeypatch.undo()
    less = gaps(workspace, dataclasses.replace(asked, max_order=result["complete"]))
    found = {m["gap_id"] for m in result["mups"] if len(m["pattern"]) <= result["complete"]}
    assert found == {m["gap_id"] for m in less["mups"]}
    assert not less["truncated"]


def test_what_is_remembered_follows_the_films(tmp_path):
    frame = films_frame(1, 250)
    workspace = workspace_of(tmp_path / "ws", frame)
    rows = rows_of(workspace, GapsSettings())
    assert rows_of(workspace, GapsSettings(threshold=7, max_order=1)) is rows  # another τ reads and packs nothing again
    assert rows.bags("patient") is rows.bags("patient")
    assert rows_of(workspace, GapsSettings(where="sex:F")) is not rows
    mine = load_rows(workspace, "all")
    mine["edema"] = np.int8(1)
    mine.loc[:, "sex"] = "F"
    assert load_rows(workspace, "all")["edema"].tolist() != mine["edema"].tolist()
    assert set(load_rows(workspace, "all")["sex"]) > {"F"}
    workspace.write_part("films", "films", frame.iloc[:100])
    assert len(load_rows(workspace, "all")) == 100
    assert rows_of(workspace, GapsSettings()) is not rows


def test_synthetic_films_count_only_when_asked_and_under_their_source(tmp_path):
    frame = films_frame(5, 80)
    usable = frame[(frame["split"] == "train") & (frame["pneumothorax"] != 1)].drop_duplicates("subject_id")
    sources = usable["dicom_id"].head(6).tolist()
    workspace = workspace_of(tmp_path / "ws", frame)
    before = gaps(workspace, GapsSettings(attributes="Pneumothorax", threshold=1000, unit="film"))["units"]
    twice = [(s, "Pneumothorax", "insert") for s in [*sources, *sources]]
    workspace.write_part("edits", "a", edits_frame(frame, twice))
    for unit, more in (("film", 12), ("patient", 0), ("study", 0)):
        chosen = {"attributes": "Pneumothorax", "threshold": 1000, "unit": unit}
        real = gaps(workspace, GapsSettings(**chosen))["units"]
        with_made = gaps(workspace, GapsSettings(**chosen, include_synthetic=True))["units"]
        assert with_made - real == more
        assert unit != "film" or real == before
    workspace.records.decide("edit-0", "reject")
    left = gaps(workspace, GapsSettings(attributes="edema", threshold=1000, unit="film", include_synthetic=True))
    assert left["units"] == before + 11


def test_edits_of_a_test_patient_or_that_failed_never_count(tmp_path):
    frame = films_frame(5, 80)
    workspace = workspace_of(tmp_path / "ws", frame)
    test_film = frame.loc[frame["split"] == "test", "dicom_id"].iloc[0]
    train_film = frame.loc[frame["split"] == "train", "dicom_id"].iloc[0]
    workspace.write_part("edits", "a", edits_frame(frame, [(test_film, "Edema", "insert")]))
    failed = edits_frame(frame, [(train_film, "Edema", "insert")], passed=False).assign(edit_id="failed")
    workspace.write_part("edits", "b", failed)
    chosen = {"attributes": "sex", "threshold": 10_000, "unit": "film"}
    real = gaps(workspace, GapsSettings(**chosen))["units"]
    assert gaps(workspace, GapsSettings(**chosen, include_synthetic=True))["units"] == real


def test_a_cancelled_search_leaves_the_published_table_alone(tmp_path):
    workspace = workspace_of(tmp_path / "ws", films_frame(1, 250))
    gaps(workspace, GapsSettings(max_order=1))
    before = gap_table(workspace)

    def stop(done: int, total: int, message: str = "") -> None:
        if "evidence" in message:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        gaps(workspace, GapsSettings(), stop)
    assert gap_table(workspace).equals(before)
    assert not list(workspace.path.rglob("*.tmp"))


def test_running_twice_gives_the_same_table_and_ids_outlive_settings(tmp_path):
    workspace = workspace_of(tmp_path / "ws", films_frame(1, 250))
    gaps(workspace, GapsSettings(threshold=25))
    first, version = gap_table(workspace), workspace.version("gaps")
    gaps(workspace, GapsSettings(threshold=25))
    assert workspace.version("gaps") == version
    assert gap_table(workspace).equals(first)
    gaps(workspace, GapsSettings(threshold=26))
    other = gap_table(workspace).set_index("pattern")["gap_id"]
    shared = first.set_index("pattern")["gap_id"]
    assert workspace.version("gaps") != version
    both = shared.index.intersection(other.index)
    assert len(both) > 10
    assert (shared[both] == other[both]).all()


def test_the_planted_holes_of_the_phantom_population_are_found(tmp_path):
    """No film lies in a hole, so the hole or something more general is a gap, whatever its labels' noise."""
    films = [
        {
            "dicom_id": row.dicom_id,
            "subject_id": str(row.subject_id),
            "study_id": str(row.study_id),
            "split": row.split,
            "view": schema.view_of(row.view),
            "sex": row.sex,
            "age_band": row.age_band,
            "race": row.race.lower(),
            "on_disk": False,
            "origin": "real",
            **{c: np.int8(row.labels.get(f, schema.NOT_MENTIONED)) for f, c in schema.COLUMN_OF.items()},
        }
        for row in sample_population(1200, 3)
    ]
    workspace = workspace_of(tmp_path / "ws", pd.DataFrame(films))
    chosen = GapsSettings("sex,age_band,view,race,findings", max_order=4, threshold=5)
    found = [m["pattern"].items() for m in gaps(workspace, chosen)["mups"]]
    for hole in HOLES:
        assert any(pattern <= hole.items() for pattern in found), hole
    exact = [hole for hole in HOLES if hole.items() in found]
    assert len(exact) >= 2
    assert not gap_table(workspace)["reachable"].any()  # a workspace of labels alone has nothing to edit
