"""The score of a gap: its parts, weights that change at once, and a model's error where the gap lies."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from coverage_frames import films_frame, workspace_of
from hypothesis import given
from hypothesis import strategies as st

from cars import schema
from cars.coverage import GapsSettings, gap_table, gaps, model_error
from cars.coverage.error import misranked
from cars.coverage.rank import PARTS, RankSettings, plausible, ranked, score_parts, scores, shares, weights_of
from cars.errors import SettingError


def table(**columns: list) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    start = {
        "deficit": [10] * n, "threshold": [30] * n, "high": [0.5] * n, "low": [0.2] * n, "expected": [20.0] * n,
        "test_films": [10] * n, "reachable": [5] * n, "reachable_two": [0] * n, "verdict": ["rare as expected"] * n,
        "level": [2] * n, "pattern": [f"p{k}" for k in range(n)],
    }  # fmt: skip
    return pd.DataFrame({**start, **columns})


def test_the_parts_of_one_gap_by_hand():
    gap = table(deficit=[24], high=[0.4], test_films=[30], reachable=[5], reachable_two=[2])
    parts = score_parts(gap, np.array([0.2])).iloc[0]
    assert parts.to_dict() == pytest.approx(
        {"deficit": 24 / 30, "rarity": 0.6, "test": 0.75, "error": 0.4, "reach": 6 / 24}
    )
    weights = RankSettings(deficit=2, rarity=1, test=1, error=0, reach=4)
    expected = {"deficit": 1.6 / 8, "rarity": 0.6 / 8, "test": 0.75 / 8, "error": 0, "reach": 1 / 8}
    assert shares(score_parts(gap, np.array([0.2])), weights).iloc[0].to_dict() == pytest.approx(expected)
    assert scores(score_parts(gap, np.array([0.2])), weights)[0] == pytest.approx(sum(expected.values()))


def test_the_weight_of_what_is_not_known_falls_to_the_others():
    parts = score_parts(table(high=[np.nan], deficit=[30], test_films=[0], reachable=[30]))
    assert parts.isna().iloc[0].to_dict() == {"deficit": False, "rarity": True, "test": False, "error": True,
                                              "reach": False}  # fmt: skip
    # 1 × 30 + 0 × 15 + 1 × 15 of 60
    assert scores(parts, RankSettings())[0] == pytest.approx(45 / 60)
    added = shares(parts, RankSettings()).iloc[0]
    assert np.isnan(added["rarity"])
    assert np.isnan(added["error"])
    assert scores(parts, RankSettings(0, 5, 0, 5, 0))[0] == 0, "nothing that is known has a weight"


@given(st.lists(st.floats(0, 100), min_size=5, max_size=5), st.integers(0, 9))
def test_the_score_is_the_sum_of_what_is_shown_and_lies_between_0_and_1(weights, seed):
    random = np.random.default_rng(seed)
    values = np.where(random.random((20, 5)) < 0.2, np.nan, random.random((20, 5)))
    parts = pd.DataFrame(values, columns=list(PARTS))
    score = scores(parts, RankSettings(*weights))
    assert np.allclose(score, shares(parts, RankSettings(*weights)).sum(axis=1))
    assert (score >= 0).all()
    assert (score <= 1 + 1e-12).all()


def test_other_weights_give_another_order_and_the_impossible_stay_last():
    gap = table(
        deficit=[30, 10, 30], reachable=[0, 10, 30],
        verdict=["rare as expected", "rare as expected", "impossible"],
    )  # fmt: skip
    assert ranked(gap, RankSettings(1, 0, 0, 0, 0))["pattern"].tolist() == ["p0", "p1", "p2"]
    by_reach = ranked(gap, RankSettings(0, 0, 0, 0, 1))
    assert by_reach["pattern"].tolist() == ["p1", "p0", "p2"]
    assert by_reach["rank"].tolist() == [1, 2, 3]


def test_ties_go_by_level_and_then_by_pattern():
    gap = table(level=[3, 2, 2], pattern=["a", "c", "b"])
    assert ranked(gap)["pattern"].tolist() == ["b", "c", "a"]


def test_what_would_plausibly_be_there():
    found = plausible(table(expected=[20.0, np.nan], low=[0.1, np.nan], high=[0.6, np.nan]))
    assert found.iloc[0].tolist() == [2.0, 12.0]
    assert found.iloc[1].isna().all()


def test_weights_come_from_the_workspace_and_its_table_is_in_their_order(tmp_path):
    workspace = workspace_of(tmp_path / "ws", films_frame(1, 150))
    assert weights_of(workspace) == RankSettings()
    gaps(workspace, GapsSettings(max_order=2))
    (workspace.path / "workspace.toml").write_text("[rank]\ndeficit = 0\nrarity = 0\ntest = 1\nreach = 0\nerror = 0\n")
    gaps(workspace, GapsSettings(max_order=2))
    assert gap_table(workspace)["test_films"].is_monotonic_decreasing
    (workspace.path / "workspace.toml").write_text("[rank]\ndeficit = -1\n")
    with pytest.raises(SettingError, match="deficit"):
        weights_of(workspace)


# The model's error ------------------------------------------------------------------------------------------------


def test_misranked_by_hand_and_against_auroc():
    from sklearn.metrics import roc_auc_score

    codes = np.array([1, 1, 0, -2, -1])
    each, overall = misranked(codes, np.array([0.9, 0.3, 0.3, 0.5, 0.99]))["present"]
    assert each[:2].tolist() == [0.0, 0.75], "one of two ranks above the second, the other ties"
    assert overall == pytest.approx(0.375)
    random = np.random.default_rng(0)
    codes, told = random.choice([1, 0, -2], 200), random.random(200).round(2)
    found = misranked(codes, told)
    assert found["present"][1] == pytest.approx(1 - roc_auc_score(codes == 1, told))
    assert found["absent"][1] == pytest.approx(1 - roc_auc_score(codes == 1, told))
    assert np.isnan(misranked(np.array([1, 1]), np.array([0.1, 0.2]))["present"][1])


def test_the_error_is_that_of_the_newest_runs_real_arm_on_the_films_that_match(tmp_path):
    frame = films_frame(3, 200)
    workspace = workspace_of(tmp_path / "ws", frame)
    gaps(workspace, GapsSettings(max_order=2))
    found = gap_table(workspace)
    assert np.isnan(model_error(workspace, found).error).all()
    random = np.random.default_rng(1)
    test = frame[frame["split"] == "test"].reset_index(drop=True)
    columns = {f"prob_{c}": random.random(len(test)) for c in schema.COLUMN_OF.values()}
    told = pd.DataFrame({"dicom_id": test["dicom_id"], "subject_id": test["subject_id"], "split": "test", **columns})
    for run, arm, unit, shift in (("r1", "real", "u1", 0), ("r2", "real", "u2", 0), ("r2", "real+cars", "u3", 9)):
        workspace.write_part("units", unit, pd.DataFrame([{"run": run, "arm": arm, "unit": unit}]))
        part = told.assign(unit=unit, **{c: v + shift for c, v in columns.items()})
        workspace.write_part("predictions", unit, part if run == "r2" else part.assign(**dict.fromkeys(columns, 0.0)))
        (workspace.path / "runs" / run).mkdir(parents=True, exist_ok=True)
        (workspace.path / "runs" / run / "run.json").write_text(json.dumps({"completed": int(run[1]), "settings": {}}))
    got = model_error(workspace, found)
    assert got.run == "r2"
    checked = 0
    for n, row in enumerate(found.to_dict("records")):
        pattern = json.loads(row["pattern"])
        names = [a for a in pattern if a in schema.COLUMN_OF]
        inside = np.ones(len(test), bool)
        for a, v in pattern.items():
            inside &= test[schema.COLUMN_OF[a]] == schema.FINDING_CODES[v] if a in names else test[a] == v
        if not inside.any() or not names:
            assert np.isnan(got.error[n])
            continue
        parts = []
        for name in names:
            p, codes = columns[f"prob_{schema.COLUMN_OF[name]}"], test[schema.COLUMN_OF[name]]
            without = p[codes.isin([0, -2])]
            wrong = [(without > p[k]).mean() for k in np.flatnonzero(inside)]
            overall = np.mean([(without > q).mean() for q in p[codes == 1]])
            parts.append((sum(wrong) + 10 * overall) / (len(wrong) + 10))
        assert got.error[n] == pytest.approx(np.mean(parts))
        assert got.films[n] == inside.sum()
        checked += 1
    assert checked > 5
