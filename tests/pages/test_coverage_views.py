"""The page Coverage beyond gaps: each section, the filter, saved sets, links that restore a state, and downloads."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from cars.coverage import combinations_of, film_codes, filmmap, filters
from cars.coverage.sets import AttributeSet, attribute_sets, save_set
from cars.workspace import Workspace
from pages import _figure

SECTIONS = ("pairs", "combinations", "groups", "splits", "compare")


def text(app: AppTest) -> str:
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "success")
    return "\n".join(str(element.value) for kind in kinds for element in getattr(app, kind)).replace("\\", "")


def address(app: AppTest, name: str) -> str:
    """A parameter of the page's address."""
    value = app.query_params[name]
    return value if isinstance(value, str) else value[0]


def charts(app: AppTest) -> int:
    return len(app.get("plotly_chart"))


@pytest.mark.parametrize("section", SECTIONS)
def test_a_link_opens_its_section_on_a_full_workspace(link: Callable, full_once: Workspace, section: str) -> None:
    app = link(full_once, section=section)
    assert not app.exception
    assert not app.error
    assert not app.warning
    assert charts(app) == {"splits": 2, "compare": 3}.get(section, 1)
    assert len(app.get("download_button")) >= charts(app)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_of_films_alone(link: Callable, tiny_workspace: Workspace, section: str) -> None:
    app = link(tiny_workspace, section=section)
    assert not app.exception
    assert not app.error
    if section == "compare":
        assert "no other workspace" in text(app)
    else:
        assert charts(app)


@pytest.mark.parametrize("section", ["pairs", "combinations", "groups"])
def test_a_filter_that_no_film_meets_is_said(link: Callable, tiny_workspace: Workspace, section: str) -> None:
    app = link(tiny_workspace, section=section, where="race:nobody")
    assert not app.exception
    assert "No film meets the filter" in text(app)
    assert "There is no film to count here" in text(app)
    assert not charts(app)


def test_a_link_restores_filter_focus_and_options(link: Callable, full_once: Workspace) -> None:
    app = link(full_once, section="pairs", where="sex:F", focus="Edema:present; Lung Opacity:present", unit="film",
               pairs="observed")  # fmt: skip
    assert not app.warning
    assert app.selectbox(key="unit").value == "film"
    assert app.selectbox(key="pairs").value == "observed"
    women = film_codes(full_once).where({"sex": ("F",)})
    both = women.mask(filters.parse("Edema:present; Lung Opacity:present"))
    assert f"{both.sum():,} films that the filter keeps" in text(app)
    assert "Chosen:** patients with edema and lung opacity" in text(app)
    assert app.multiselect(key="filter-sex").value == ["F"]


def test_what_an_address_asks_wrongly_is_said_and_ignored(link: Callable, full_once: Workspace) -> None:
    app = link(full_once, section="pairs", where="colour:red", focus="Edema:maybe", unit="house", synthetic="maybe",
               combination="x", gap="none")  # fmt: skip
    assert not app.exception
    assert not app.error
    said = text(app)
    for wrong in ("colour", "maybe", "house"):
        assert wrong in said
    assert charts(app) == 1
    assert app.selectbox(key="unit").value == "patient"
    app = link(full_once, section="kitchen")
    assert "kitchen" in text(app)
    assert not app.exception


def test_the_filter_is_chosen_kept_in_the_address_and_cleared(link: Callable, full_once: Workspace) -> None:
    app = link(full_once, section="pairs")
    app.multiselect(key="filter-view").set_value(["PA"]).run()
    app.multiselect(key="filter-findings").set_value(["Edema: present", "Edema: uncertain"]).run()
    assert filters.parse(address(app, "where")) == {"view": ("PA",), "Edema": ("present", "uncertain")}
    kept = film_codes(full_once).where({"view": ("PA",), "Edema": ("present", "uncertain")})
    assert f"keeps {len(kept):,} of" in text(app)
    app.button(key="drop-view").click().run()
    assert filters.parse(address(app, "where")) == {"Edema": ("present", "uncertain")}
    app.button(key="clear-filter").click().run()
    assert "where" not in app.query_params
    assert "The filter keeps" not in text(app)


def test_a_region_of_the_map_counts_in_the_other_sections(link: Callable, full_once: Workspace) -> None:
    m = filmmap.film_map(full_once)
    x0, x1, y0, y1 = m.whole
    drawn = filmmap.region_text("box", np.array([[x0, (x0 + x1) / 2], [y0, y1]]))
    inside = filmmap.in_region(m, drawn) & ~m.films.synthetic
    assert 0 < inside.sum() < len(m)
    app = link(full_once, section="pairs", region=drawn)
    assert not app.exception
    assert f"The region keeps {inside.sum():,} of" in text(app)
    app.button(key="drop-region").click().run()
    assert "region" not in app.query_params
    assert "The region keeps" not in text(app)
    assert "no region" not in text(link(full_once, section="pairs", region="circle:1"))


def test_a_chosen_combination_shows_exactly_its_films(link: Callable, full_once: Workspace) -> None:
    table = combinations_of(film_codes(full_once), "film")
    one = table[table["size"] == 1].iloc[0]
    app = link(full_once, section="combinations", combination=str(one["code"]))
    assert f"Films with exactly {one['findings']}" in text(app)
    assert f"{one['films']:,} real films" in text(app)
    assert app.image


def test_a_set_is_saved_used_and_removed(link: Callable, full: Workspace) -> None:
    app = link(full, section="pairs", where="sex:F")
    app.text_input(key="set-name").set_value("Women").run()
    app.button(key="save-set").click().run()
    assert attribute_sets(full)["Women"].where == "sex:F"
    assert "Saved as Women" in text(app)
    save_set(full, AttributeSet("Views", "view,Edema", "all", "view:PA"))
    app = link(full, section="pairs")
    app.button(key="use-Views").click().run()
    assert address(app, "where") == "view:PA"
    assert app.multiselect(key="gaps-attributes").value == ["view", "Edema"]
    assert app.selectbox(key="gaps-values").value == "all"
    app.button(key="remove-Views").click().run()
    assert list(attribute_sets(full)) == ["Women"]


def test_two_workspaces_are_compared(link: Callable, full: Workspace, tiny_workspace: Workspace) -> None:
    import shutil

    shutil.copytree(tiny_workspace.path, full.path.parent / "other")
    app = link(full, section="compare", **{"with": "other"})
    assert not app.exception
    assert not app.error
    assert charts(app) == 3
    assert {"gap", "state", "first", "second"} <= set(app.dataframe[0].value.columns)


def test_a_folder_that_is_no_workspace_is_explained(link: Callable, full: Workspace) -> None:
    app = link(full, section="compare")
    app.text_input(key="compare-path").set_value(str(full.path.parent)).run()
    assert "no workspace" in app.error[0].value


def test_a_link_names_a_workspace_beside_this_one(link: Callable, full: Workspace, tiny_workspace: Workspace) -> None:
    import shutil

    shutil.copytree(tiny_workspace.path, full.path.parent / "other")
    app = link(full, section="pairs", workspace="other")
    assert app.session_state["workspace"] == str(full.path.parent / "other")
    app.run()
    assert address(app, "workspace") == "other"
    assert str(full.path.parent) not in str(dict(app.query_params))
    app.switch_page("pages/overview.py").run()
    assert app.session_state["workspace"] == str(full.path.parent / "other")


def test_numbers_are_made_when_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    asked = []
    given = {}

    def data() -> pd.DataFrame:
        asked.append(1)
        return pd.DataFrame({"x": [1.5]})

    def button(label: str, csv: Callable[[], bytes], name: str, *rest: object, **options: object) -> None:
        given.update(csv=csv, name=name)

    monkeypatch.setattr(st, "download_button", button)
    monkeypatch.setattr(_figure, "_pictures", lambda **options: SimpleNamespace())
    _figure.downloads("Pairs of findings", data, "k", n=3, unit="film", source="MIMIC-CXR", pictures=True)
    assert not asked
    assert given["name"] == "mimic-cxr-pairs-of-findings.csv"
    assert given["csv"]().decode("utf-8-sig").split() == ["x,n,unit,source", "1.5,3,film,MIMIC-CXR"]
    assert asked == [1]
