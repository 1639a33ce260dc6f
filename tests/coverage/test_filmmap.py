"""The map's counts, samples and regions equal plain loops over the films."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cars import schema
from cars.coverage import filmmap
from cars.coverage.views import wilson
from cars.errors import SettingError, WorkspaceError
from cars.workspace import Workspace


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory, tiny_workspace: Workspace) -> Workspace:
    """The tiny workspace with a made-up map, one film of it left out."""
    import shutil

    folder = tmp_path_factory.mktemp("map") / "ws"
    shutil.copytree(tiny_workspace.path, folder)
    workspace = Workspace.open(folder)
    ids = workspace.read("films")["dicom_id"].to_numpy()[1:]
    xy = np.random.default_rng(2).normal(size=(len(ids), 2)) * [3, 1]
    workspace.write_part("map", "map", pd.DataFrame({"dicom_id": ids, "x": xy[:, 0], "y": xy[:, 1], "backbone": "toy"}))
    workspace.publish("map", "0")
    return workspace


@pytest.fixture(scope="module")
def m(mapped: Workspace) -> filmmap.FilmMap:
    return filmmap.film_map(mapped)


def test_every_placed_film_lies_where_the_map_says(m: filmmap.FilmMap, mapped: Workspace) -> None:
    table = mapped.read("map").set_index("dicom_id").loc[list(m.films.dicom_id)]
    np.testing.assert_allclose(m.x, table["x"], rtol=1e-6)
    np.testing.assert_allclose(m.y, table["y"], rtol=1e-6)
    assert len(m) == len(mapped.read("films")) - 1
    x0, x1, y0, y1 = m.whole
    assert (x0 < m.x.min(), m.x.max() < x1, y0 < m.y.min(), m.y.max() < y1) == (True,) * 4
    assert filmmap.film_map(mapped) is m, "read once"


def test_no_map_says_what_to_do(tiny_workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="embed"):
        filmmap.film_map(tiny_workspace)


@given(
    st.tuples(st.floats(-6, 6), st.floats(0.5, 8), st.floats(-3, 3), st.floats(0.5, 4)), st.integers(1, 9),
    st.integers(0, 99),
)  # fmt: skip
def test_density_is_a_plain_count(window: tuple[float, ...], bins: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 80
    m = _made(rng.normal(size=n) * 3, rng.normal(size=n), rng)
    x0, width, y0, height = window
    w = (x0, x0 + width, y0, y0 + height)
    kept, hit = rng.random(n) < 0.7, rng.random(n) < 0.4
    found = filmmap.density(m, w, kept, hit, "view", bins)
    count, hits = np.zeros((bins, bins), int), np.zeros((bins, bins), int)
    seen: dict[tuple[int, int], list[int]] = {}
    for k in range(n):
        if kept[k] and w[0] <= m.x[k] <= w[1] and w[2] <= m.y[k] <= w[3]:
            c = min(int(np.float32((m.x[k] - w[0]) / (w[1] - w[0]) * bins)), bins - 1)
            r = min(int(np.float32((m.y[k] - w[2]) / (w[3] - w[2]) * bins)), bins - 1)
            count[r, c] += 1
            hits[r, c] += hit[k]
            seen.setdefault((r, c), []).append(int(m.films.groups["view"][k]))
    np.testing.assert_array_equal(found.count, count)
    np.testing.assert_array_equal(found.hits, hits)
    for r in range(bins):
        for c in range(bins):
            values = seen.get((r, c), [])
            most = min((v for v in values), key=lambda v: (-values.count(v), v), default=-1)
            assert found.commonest[r, c] == most
            assert np.isnan(found.share[r, c]) == (not values)


def _made(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> filmmap.FilmMap:
    from cars.coverage.codes import FilmCodes

    n = len(x)
    frame = pd.DataFrame(
        {
            "dicom_id": [f"d{k}" for k in range(n)], "on_disk": True, "origin": "real", "patient": np.arange(n) // 2,
            "study": np.arange(n), "split": "train", "sex": "F", "age_band": "40–59", "race": "unknown",
            "view": rng.choice(["PA", "AP", "lateral"], n),
            **{c: rng.choice([1, 0, -1, -2], n).astype(np.int8) for c in schema.COLUMN_OF.values()},
        }
    )  # fmt: skip
    return filmmap.FilmMap(
        FilmCodes.of(frame), x.astype(np.float32), y.astype(np.float32), rng.permutation(n).astype(np.int32), "toy"
    )


def test_a_sample_is_bounded_and_a_smaller_window_keeps_its_films() -> None:
    rng = np.random.default_rng(0)
    m = _made(rng.normal(size=500), rng.normal(size=500), rng)
    kept = np.ones(500, bool)
    whole = filmmap.sample(m, m.whole, kept, 60)
    assert len(whole) == len(set(whole)) == 60
    part = (-0.5, 0.5, -0.5, 0.5)
    closer = set(filmmap.sample(m, part, kept, 60))
    assert {k for k in whole if m.within(part)[k]} <= closer
    few = filmmap.sample(m, m.whole, np.arange(500) < 7, 60)
    assert set(few) == set(range(7))


def test_a_lasso_keeps_what_lies_inside() -> None:
    rng = np.random.default_rng(1)
    m = _made(rng.uniform(-2, 2, 400), rng.uniform(-2, 2, 400), rng)
    # an L: inside the unit square's lower half or its left half
    corners = np.array([[-1, -1], [1, -1], [1, 0], [0, 0], [0, 1], [-1, 1]], float)
    found = filmmap.in_region(m, filmmap.region_text("lasso", corners))
    x, y = m.x, m.y
    expected = (np.abs(x) < 1) & (np.abs(y) < 1) & ((y < 0) | (x < 0))
    np.testing.assert_array_equal(found, expected)
    # a C open to the left: films in its mouth have two edges to their right, and are outside
    mouth = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, 0.5], [0.5, 0.5], [0.5, -0.5], [-1, -0.5]])
    found = filmmap.in_region(m, filmmap.region_text("lasso", mouth))
    expected = (np.abs(x) < 1) & (np.abs(y) < 1) & ~((x < 0.5) & (np.abs(y) < 0.5))
    np.testing.assert_array_equal(found, expected)
    box = filmmap.in_region(m, filmmap.region_text("box", np.array([[-1, 0.5], [0, 2]])))
    np.testing.assert_array_equal(box, (x >= -1) & (x <= 0.5) & (y >= 0) & (y <= 2))


def test_a_long_lasso_is_thinned_and_a_region_is_read_back() -> None:
    angle = np.linspace(0, 2 * np.pi, 900, endpoint=False)
    text = filmmap.region_text("lasso", np.column_stack([np.cos(angle), np.sin(angle)]))
    kind, corners = filmmap.parse_region(text)
    assert kind == "lasso"
    assert len(corners) <= filmmap.MOST_CORNERS
    assert filmmap.region_window("box:3,1,-2,5") == (1, 3, -2, 5)
    assert filmmap.parse_window(filmmap.window_text((0.5, 1, -2, 3)), (0, 1, 0, 1)) == (0.5, 1, -2, 3)
    assert filmmap.parse_window("", (0, 1, 0, 1)) == (0, 1, 0, 1)


@pytest.mark.parametrize("text", ["circle:1,2,3", "box:1,2,3", "lasso:1,2,3,4", "box:a,b,c,d", "box:1,2,3,nan", ""])
def test_what_is_no_region_is_quoted(text: str, m: filmmap.FilmMap) -> None:
    with pytest.raises(SettingError, match="no region"):
        filmmap.in_region(m, text)


@pytest.mark.parametrize("text", ["1,2,3", "2,1,0,1", "a,b,c,d", "0,inf,0,1"])
def test_what_is_no_window_is_quoted(text: str) -> None:
    with pytest.raises(SettingError, match="no part of the map"):
        filmmap.parse_window(text, (0, 1, 0, 1))


def test_a_region_is_summed_up_by_duckdb(m: filmmap.FilmMap, mapped: Workspace) -> None:
    chosen = filmmap.in_region(m, "box:-2,2,-1,1")
    kept = m.films.mask({"view": ("PA", "AP")})
    found = filmmap.region_summary(mapped, m, chosen, kept)
    inside = chosen & kept
    totals = found["totals"].iloc[0]
    assert (totals.films, totals.patients) == (inside.sum(), len(set(m.films.patient[inside])))
    assert found["splits"]["films"].sum() == inside.sum()
    assert len(found["findings"]) == 14
    for row in found["findings"].itertuples():
        present = m.films.present[:, schema.FINDINGS.index(row.finding)]
        assert row.films == (present & inside).sum()
        assert row.share == pytest.approx(present[inside].mean())
        elsewhere = present[kept & ~chosen].mean()
        assert row.share_elsewhere == pytest.approx(elsewhere)
        assert row.low <= row.share <= row.high
        assert wilson(np.array([row.films]), np.array([inside.sum()])) == ([row.low], [row.high])
        expected = present[inside].mean() / elsewhere if elsewhere else np.nan
        assert row.ratio == pytest.approx(expected, nan_ok=True)
    nothing = filmmap.region_summary(mapped, m, np.zeros(len(m), bool), kept)
    assert nothing["totals"].iloc[0].films == 0
    assert nothing["findings"]["share"].isna().all(), "undefined, and not 0"


def test_what_stands_out_differs_by_more_than_chance() -> None:
    findings = pd.DataFrame(
        {
            "finding": ["far, few films", "far", "near", "gone", "gone, few films"],
            "share": [0.2, 0.2, 0.11, 0.0, 0.0], "low": [0.05, 0.15, 0.105, 0.0, 0.0],
            "high": [0.5, 0.25, 0.115, 0.01, 0.3], "share_elsewhere": [0.1, 0.1, 0.1, 0.05, 0.05],
        }
    )  # fmt: skip
    findings["ratio"] = findings["share"] / findings["share_elsewhere"]
    common, rare = filmmap.standing_out(findings)
    assert list(common["finding"]) == ["far"]
    assert list(rare["finding"]) == ["gone"]


def test_a_wider_window_doubles_and_stays_on_the_map() -> None:
    whole = (0.0, 10.0, 0.0, 8.0)
    assert filmmap.wider((4.0, 6.0, 3.0, 5.0), whole) == (3.0, 7.0, 2.0, 6.0)
    assert filmmap.wider((0.0, 6.0, 7.0, 8.0), whole) == (0.0, 9.0, 6.5, 8.0)
    assert filmmap.wider(whole, whole) == whole


def test_a_region_of_other_rows_leaves_out_films_off_the_map(mapped: Workspace, m: filmmap.FilmMap) -> None:
    from cars.coverage import film_codes

    films = film_codes(mapped)
    assert len(films) == len(m) + 1
    inside = set(m.films.dicom_id[filmmap.in_region(m, "box:-2,2,-1,1")])
    found = filmmap.region_of_rows(mapped, films, "box:-2,2,-1,1")
    assert 0 < found.sum() < len(m)
    np.testing.assert_array_equal(found, [i in inside for i in films.dicom_id])
    assert filmmap.region_of_rows(mapped, films, "box:-99,99,-99,99").sum() == len(m)


def test_gaps_of_a_region_count_matches_and_near_misses(m: filmmap.FilmMap) -> None:
    gaps = pd.DataFrame(
        {
            "gap_id": ["a", "b", "c"], "rank": [1, 2, 3],
            "pattern": ['{"view": "PA"}', '{"sex": "F", "view": "PA"}', '{"hospital": "x"}'],
        }
    )  # fmt: skip
    chosen = filmmap.in_region(m, "box:-2,2,-1,1")
    found = filmmap.region_gaps(m, gaps, chosen).set_index("gap_id")
    pa, women = filmmap.matches(m, {"view": "PA"}), filmmap.matches(m, {"sex": "F"})
    assert set(found.index) == {"a", "b"}, "an attribute that the map does not know is left out"
    assert found.loc["a", "in_region"] == (pa & chosen).sum()
    assert found.loc["b", "in_region"] == (pa & women & chosen).sum()
    assert found.loc["b", "near"] == ((pa ^ women) & chosen).sum()
    assert not filmmap.matches(m, {}).any()


def test_gaps_of_more_than_64_conditions_are_counted_as_by_a_loop() -> None:
    rng = np.random.default_rng(4)
    m = _made(rng.normal(size=300), rng.normal(size=300), rng)
    conditions = [(f, v) for f in schema.FINDINGS for v in schema.FINDING_CODES]
    conditions += [("view", v) for v in ("PA", "AP", "lateral")] + [("race", f"r{k}") for k in range(9)]
    assert len(conditions) > 64
    patterns = [dict([condition]) for condition in conditions]
    for _ in range(200):
        patterns.append(dict(conditions[k] for k in rng.choice(len(conditions), 3, replace=False)))
    gaps = pd.DataFrame(
        {"gap_id": [f"g{k}" for k in range(len(patterns))], "rank": range(len(patterns)),
         "pattern": [json.dumps(p) for p in patterns]}
    )  # fmt: skip
    chosen = m.x > 0
    found = filmmap.region_gaps(m, gaps, chosen, limit=1000).set_index("gap_id")
    assert len(found) == len(patterns)
    for k, pattern in enumerate(patterns):
        missed = sum((~m.films.mask({n: (v,)})).astype(int) for n, v in pattern.items())[chosen]
        assert found.loc[f"g{k}", "in_region"] == (missed == 0).sum(), pattern
        assert found.loc[f"g{k}", "near"] == (missed == 1).sum(), pattern


def test_colours(m: filmmap.FilmMap) -> None:
    choices = filmmap.colour_choices(m.films)
    assert {"films", "by:view", "Edema:present"} <= set(choices)
    assert "focus" not in choices
    assert "synthetic" not in choices, "there is no synthetic film"
    edema = filmmap.members(m.films, "Edema:present")
    assert edema.sum() == (m.films.findings[:, schema.FINDINGS.index("Edema")] == 1).sum()
    np.testing.assert_array_equal(filmmap.members(m.films, "focus", {"sex": "F"}), filmmap.matches(m, {"sex": "F"}))
    assert filmmap.members(m.films, "films") is None
    with pytest.raises(SettingError, match="purple"):
        filmmap.members(m.films, "purple")


def test_a_synthetic_film_lies_where_its_source_lies(mapped: Workspace, tmp_path: Path) -> None:
    import shutil

    from cars.synth.tables import EDITS

    shutil.copytree(mapped.path, tmp_path / "ws")
    workspace = Workspace.open(tmp_path / "ws")
    films = workspace.read("films")
    source = films[(films["split"] == "train") & films["dicom_id"].isin(workspace.read("map")["dicom_id"])].iloc[0]
    row = {name: source[name] for name in ("view", "view_position", "sex", "age", "age_band", "race", "split")}
    row = {**dict.fromkeys(EDITS.types), **row, **{c: source[c] for c in schema.COLUMN_OF.values()}}
    row |= {
        "edit_id": "e1", "plan_id": "p", "item": 0, "gap_id": "g", "source_dicom_id": source["dicom_id"],
        "source_subject_id": source["subject_id"], "source_study_id": source["study_id"], "passed": True,
        "origin": "synthetic", "error": None,
    }  # fmt: skip
    workspace.write_part("edits", "one", EDITS.table([row]))
    workspace.publish("edits", "0")
    m = filmmap.film_map(workspace)
    assert m.films.synthetic.sum() == 1
    at = int(np.flatnonzero(m.films.synthetic)[0])
    where = int(np.flatnonzero(m.films.dicom_id == source["dicom_id"])[0])
    assert (m.x[at], m.y[at]) == (m.x[where], m.y[where])
    assert filmmap.members(m.films, "synthetic").sum() == 1
