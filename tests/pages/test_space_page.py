"""The page Coverage, section Feature space: nothing embedded, not measured, measured, filtered, and out of date."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest
from test_coverage_views import charts, text

from cars import coverage, jobs
from cars.coverage.space import SpaceSettings, near_misses, space
from cars.coverage.space import film_frame as read_films
from cars.workspace import Workspace


def embed_made_up(workspace: Workspace, key: str = "made-up") -> None:
    """Vectors as `embed` writes them, without a network."""
    films = workspace.read("films", ["dicom_id", "split"]).sort_values("dicom_id", ignore_index=True)
    ids, folder = list(films["dicom_id"]), workspace.folder("embeddings", key)
    values = np.random.default_rng(0).normal(size=(len(ids), 16))
    # one test film looks like no other
    values[:, -1] = np.where(films.index == films.index[films["split"] == "test"][0], 20, 0)
    np.save(folder / "s.npy", values.astype(np.float16))
    rows = pd.DataFrame({"dicom_id": ids, "shard": "s", "row": np.arange(len(ids))})
    rows.to_parquet(folder / "rows.parquet")
    words = {"key": key, "backbone": "none", "label": "none", "revision": "1", "size": 8, "dim": 16, "seed": 0}
    (folder / "info.json").write_text(json.dumps({**words, "weights": None}))
    (workspace.path / "embeddings" / "CURRENT").write_text(key)


@pytest.fixture
def embedded(workspace_copy: Workspace) -> Workspace:
    embed_made_up(workspace_copy)
    return workspace_copy


def press(app: AppTest, label: str) -> AppTest:
    return next(b for b in app.button if b.label == label).click().run()


def test_films_without_vectors_are_to_be_embedded_first(link: Callable, workspace_copy: Workspace) -> None:
    app = link(workspace_copy, section="space")
    assert not app.exception
    assert "no vectors yet" in text(app)
    press(app, "Embed the films")
    assert list(jobs.jobs(workspace_copy)["verb"]) == ["embed"]


def test_one_button_measures(link: Callable, embedded: Workspace) -> None:
    app = link(embedded, section="space")
    assert not app.exception
    assert "Nothing has been measured yet" in text(app)
    app.number_input(key="space-k").set_value(2)
    press(app, "Measure feature space")
    job = jobs.jobs(embedded).iloc[0]
    assert job["verb"] == "space"
    assert job["settings"]["k"] == 2


def test_what_was_measured_is_said_and_shown(link: Callable, embedded: Workspace) -> None:
    coverage.gaps(embedded, coverage.GapsSettings(threshold=4, max_order=2))
    result = space(embedded, SpaceSettings(k=1))
    assert result["near_misses"], "some film is out of reach"
    app = link(embedded, section="space")
    assert not app.exception
    assert not app.error
    assert not app.warning
    assert charts(app) == 2
    test = result["coverage"]["test"]
    assert f"{test['value']:.0%} of {test['n_films']:,} test films, of {test['n_patients']:,} patients" in text(app)
    assert f"{result['near_misses']:,} films of" in text(app)
    assert f"{result['gaps']['gaps']:,} gaps in the order of their rank" in text(app)
    # the filter and the chosen pattern narrow the test films
    women = read_films(embedded).query("sex == 'F'")
    filtered = link(embedded, section="space", where="sex:F")
    assert f"of {(women['split'] == 'test').sum():,} test films" in text(filtered)
    missed = len(near_misses(women))
    assert (f"{missed:,} films of" if missed else "There is none") in text(filtered)
    chosen = link(embedded, section="space", focus="sex:F")
    assert (f"{missed:,} films of" if missed else "There is none") in text(chosen)
    nobody = link(embedded, section="space", where="race:nobody")
    assert not nobody.exception
    assert "no test film to judge" in text(nobody)


def test_figures_of_other_vectors_or_gaps_say_that_they_are_old(link: Callable, embedded: Workspace) -> None:
    space(embedded, SpaceSettings(k=1))
    coverage.gaps(embedded, coverage.GapsSettings(threshold=4, max_order=2))
    embed_made_up(embedded, "anew")
    app = link(embedded, section="space")
    assert not app.exception
    warned = " ".join(w.value for w in app.warning)
    assert "embedded anew and the gaps were searched anew" in warned
