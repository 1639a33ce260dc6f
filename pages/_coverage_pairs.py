"""Coverage, pairs of findings: a heat map; a cell becomes the chosen pattern and shows its films."""

from __future__ import annotations

import numpy as np
import streamlit as st

from cars import coverage, plots, schema
from cars.coverage.rules import rules_of, why_impossible
from cars.coverage.sentences import PLURALS
from cars.workspace import Workspace
from pages import _state
from pages._common import source_name
from pages._coverage_filter import choose, films, focus_films, key_of
from pages._figure import figure, marks

KINDS = {"ratio": "seen ÷ expected", "observed": "seen", "expected": "expected"}
UNITS = ("patient", "study", "film")
SPLITS = ("all", "train", "validate", "test")


@st.cache_resource(max_entries=32, show_spinner="Counting pairs of findings")
def pairs(key: tuple[str, ...], where: str, unit: str, split: str, synthetic: bool) -> coverage.CoOccurrence:
    return coverage.pairs_of(films(Workspace(key[0]), split, synthetic), unit)


def forbidden(workspace: Workspace) -> np.ndarray:
    """(14, 14) bool: pairs of findings that the workspace's rules forbid."""
    rules, names = rules_of(workspace), schema.FINDINGS
    return np.array([[bool(why_impossible({a: "present", b: "present"}, rules)) for b in names] for a in names])


def counting(synthetic: bool = True, split: bool = True) -> tuple[str, str, bool]:
    """The choices that the views share: (unit, split, whether accepted synthetic films count)."""
    unit = _state.selectbox("Count", UNITS, "unit", words=PLURALS.__getitem__)
    of = _state.selectbox("Split", SPLITS, "split") if split else "all"
    made = _state.toggle("Count accepted synthetic films", "synthetic") if synthetic else False
    return unit, of, made


def _picked(workspace: Workspace) -> None:
    cells = marks("pair-figure")
    if cells:
        first, second = cells[0]
        choose(workspace, {first: "present", second: "present"})


def show_pairs(workspace: Workspace) -> None:
    """Pairs of findings as a heat map; a cell shows its films."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = _state.selectbox("Show", list(KINDS), "pairs", words=KINDS.__getitem__)
        unit, split, synthetic = counting()
    found = pairs(key_of(workspace, synthetic), _state.read("where"), unit, split, synthetic)
    if not found.n:
        st.info("There is no film to count here.")
        return
    source = source_name(workspace)
    figure(
        plots.cooccurrence(found, kind, unit, forbidden(workspace), source, _state.focus()), "Pairs of findings",
        lambda: coverage.pair_table(found), "pair-figure", n=found.n, unit=unit, source=source,
        on_select=lambda: _picked(workspace), selection_mode="points", width="content",
    )  # fmt: skip
    focus_films(workspace, split)
