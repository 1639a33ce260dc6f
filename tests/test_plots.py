"""Figures: what is drawn, what a click carries, and that each title says how many and from where."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from cars import plots
from cars.coverage import CoOccurrence
from cars.coverage.filmmap import Density

NAMES = ("Edema", "Fracture", "No Finding")


def title(figure: go.Figure) -> str:
    return f"{figure.layout.title.text} {figure.layout.title.subtitle.text}"


@pytest.fixture
def pairs() -> CoOccurrence:
    observed = np.array([[40, 6, 0], [6, 20, 0], [0, 0, 50]])
    expected = np.array([[40.0, 3.0, 8.0], [3.0, 20.0, 0.4], [8.0, 0.4, 50.0]])
    ratio = observed / expected
    np.fill_diagonal(ratio, np.nan)
    return CoOccurrence(NAMES, observed, expected, ratio, 117)


def marks(figure: go.Figure) -> dict[tuple[str, str], str]:
    """What a click on each cell would carry, and its hover text."""
    trace = next(t for t in figure.data if isinstance(t, go.Scatter) and t.customdata is not None)
    return {tuple(pair): text for pair, text in zip(trace.customdata, trace.text)}


def test_each_cell_of_the_heat_map_can_be_clicked(pairs: CoOccurrence) -> None:
    figure = plots.cooccurrence(pairs, "observed", source="phantom")
    assert figure.layout.clickmode == "event+select"
    assert figure.data[0].hoverinfo == "skip"
    assert len(marks(figure)) == 6  # every ordered pair, no diagonal
    assert marks(figure)["Edema", "Fracture"] == "Edema with Fracture: 6"
    assert "117 patients from phantom" in title(figure)


def test_the_heat_map_colours_twice_and_half_alike(pairs: CoOccurrence) -> None:
    ratio = plots.cooccurrence(pairs, "ratio").data[0].z
    assert ratio[0][1] == pytest.approx(1.0)  # seen twice as often as expected: log2
    assert ratio[0][2] == pytest.approx(-3.0)  # never seen, 8 expected: the lowest colour
    assert np.isnan(ratio[1][2]), "0 seen of 0.4 expected says nothing"


def test_impossible_pairs_are_crossed_out_not_coloured(pairs: CoOccurrence) -> None:
    impossible = np.zeros((3, 3), bool)
    impossible[0, 2] = impossible[2, 0] = True
    figure = plots.cooccurrence(pairs, "ratio", impossible=impossible)
    assert np.isnan(figure.data[0].z[0][2])
    assert ("Edema", "No Finding") not in marks(figure)
    crosses = next(t for t in figure.data if t.name is None and "impossible" in str(t.text))
    assert set(zip(crosses.y, crosses.x)) == {("Edema", "No Finding"), ("No Finding", "Edema")}


def test_a_pair_that_was_seen_is_shown_although_a_rule_forbids_it(pairs: CoOccurrence) -> None:
    impossible = np.ones((3, 3), bool)
    assert ("Edema", "Fracture") in marks(plots.cooccurrence(pairs, "observed", impossible=impossible))


def films(n: int, synthetic: int = 0) -> pd.DataFrame:
    made = [True] * synthetic + [False] * (n - synthetic)
    return pd.DataFrame({"x": 0.5, "y": 0.5, "row": range(n), "value": ["PA", "AP"] * (n // 2), "synthetic": made})


WINDOW = (0.0, 1.0, 0.0, 1.0)


def test_the_map_of_few_films_has_a_mark_each_and_shows_synthetic_ones() -> None:
    order = ["AP", "PA", "lateral"]
    figure = plots.point_map(films(10, synthetic=2), "View", WINDOW, order, total=10, source="phantom")
    assert {int(i) for trace in figure.data for i in trace.customdata} == set(range(10))
    assert [trace.name for trace in figure.data] == ["AP (5)", "PA (5)"], "values that do not occur have no legend"
    symbols = [s for trace in figure.data for s in trace.marker.symbol]
    assert symbols.count("diamond") == 2
    assert "Diamonds are synthetic" in title(figure)
    assert "10 films from phantom" in title(figure)


def test_the_map_of_many_films_colours_cells() -> None:
    count = np.array([[0, 100], [1, 10]])
    centres = np.array([0.25, 0.75])
    shared = {"window": WINDOW, "marks": films(4), "total": 111, "source": "phantom"}
    drawn = plots.density_map(Density(count, None, centres, centres), "Number of films", **shared)
    heat, marks = drawn.data
    assert np.isnan(heat.z[0][0])
    assert [heat.z[0][1], heat.z[1][0], heat.z[1][1]] == pytest.approx([2, 0, 1]), "tenfold is one step"
    assert list(marks.customdata) == [0, 1, 2, 3]
    assert "111 films from phantom" in title(drawn)
    assert "Dots are 4 of them" in title(drawn)
    share = plots.density_map(Density(count, count // 10, centres, centres), "Share with Edema", **shared).data[0]
    assert [share.z[0][1], share.z[1][0], share.z[1][1]] == pytest.approx([0.1, 0, 0.1])
    most = Density(count, None, centres, centres, np.array([[-1, 0], [1, 1]]))
    heat = plots.density_map(most, "View", values=("PA", "AP"), **shared).data[0]
    assert list(heat.colorbar.ticktext) == ["PA", "AP"]
    said = {drawn.data[0].colorbar.title.text, share.colorbar.title.text, heat.colorbar.title.text}
    assert said == {"films in a cell", "share of a cell's films", "commonest in a cell"}
    assert np.isnan(heat.z[0][0])


def test_a_region_and_the_chosen_pattern_are_drawn() -> None:
    lasso = ("lasso", np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]))
    figure = plots.point_map(films(4), "View", WINDOW, focus=films(2), region=lasso)
    assert figure.layout.shapes[0].path.startswith("M0.1000,0.1000L")
    assert figure.data[-1].name == "chosen pattern (2 shown)"
    box = ("box", np.array([[0.1, 0.4], [0.2, 0.6]]))
    shape = plots.point_map(films(4), "View", WINDOW, region=box).layout.shapes[0]
    assert (shape.x0, shape.x1, shape.y0, shape.y1) == (0.1, 0.4, 0.2, 0.6)


def test_text_from_data_is_not_markup() -> None:
    frame = films(2).assign(value="<a href='http://x'>PA</a>")
    figure = plots.point_map(frame, "View", WINDOW, source="<b>x</b>")
    assert "<a" not in figure.data[0].name
    assert "<b>x" not in title(figure)


@pytest.fixture
def gaps() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "gap_id": ["a", "b"], "rank": [1, 2], "unit": "patient", "threshold": 30, "count": [3, 0],
            "expected": [25.0, np.nan], "verdict": ["rarer than expected", "rare as expected"],
            "sentence": ["Fewer than 30 women with edema", "…"],
            "pattern": [json.dumps({"Edema": "present", "sex": "F"}), json.dumps({"Fracture": "present"})],
        }
    )  # fmt: skip


def test_gap_marks_carry_their_ids_and_stand_at_their_counts(gaps: pd.DataFrame) -> None:
    figure = plots.gap_bars(gaps, source="phantom")
    found = {i: x for trace in figure.data if trace.customdata is not None for i, x in zip(trace.customdata, trace.x)}
    assert found == {"a": 3, "b": 0}
    assert "2 gaps from phantom" in title(figure)
    assert any("threshold 30" in a.text for a in figure.layout.annotations)
    labels = list(figure.layout.yaxis.categoryarray)
    assert labels[-1].startswith("1. women with edema")


def test_gap_bars_of_no_gap_is_an_empty_figure(gaps: pd.DataFrame) -> None:
    assert "0 gaps" in title(plots.gap_bars(gaps.head(0)))


@pytest.fixture
def scores() -> pd.DataFrame:
    rows = [
        {"backbone": "b", "arm": arm, "seed": seed, "finding": finding, "metric": metric, "calibrated": calibrated,
         "value": 0.4, "low": 0.3, "high": 0.55, "n": 259, "verdict": "no evidence", "reference": "real-equal-steps",
         "contrast": False}
        for arm in ("real", "real+cars") for seed in (-1, 0) for finding in ("macro", "Edema")
        for metric in ("auprc", "ece") for calibrated in (False, True)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def labels(figure) -> list[str]:
    """The texts above the points."""
    return [text for trace in figure.data if trace.mode == "markers+text" for text in trace.text]


def test_score_dots_show_one_row_an_arm_with_its_interval(scores: pd.DataFrame) -> None:
    figure = plots.score_dots(scores, "auprc", source="phantom")
    assert sum(len(t.x) for t in figure.data if t.mode == "markers") == 2  # not once more for the single seed
    trace = figure.data[0]
    assert (trace.x[0] - trace.error_x.arrayminus[0], trace.x[0] + trace.error_x.array[0]) == pytest.approx((0.3, 0.55))
    assert "AUPRC" in title(figure)
    assert "mean over findings; higher is better; 259 test films from phantom" in title(figure)


def test_the_forest_has_a_panel_a_metric_with_a_zero_line(scores: pd.DataFrame) -> None:
    gains = scores[(scores["arm"] == "real+cars") & (scores["seed"] == -1)]
    figure = plots.gain_forest(gains, ["auprc", "ece"], "Edema", source="phantom")
    panels = [a.text for a in figure.layout.annotations[:2]]
    assert panels == ["AUPRC (higher is better)", "ECE (lower is better)"]
    assert len(figure.layout.shapes) == 2
    assert {shape.x0 for shape in figure.layout.shapes} == {0}
    assert labels(figure) == ["+0.400 · no evidence · n 259"] * 2
    assert "Edema; paired by patient; p adjusted by Holm over backbones; 259 test films from phantom" in title(figure)
    judged = plots.gain_forest(gains.assign(p_holm=0.25), ["auprc"], calibrated=True)
    assert labels(judged)[0] == "+0.400 · no evidence (p 0.250) · n 259"
    assert "mean over findings after temperature scaling" in title(judged)
    assert "against real films alone at equal steps" in title(judged)
    contrast = gains.assign(reference="real+sham", contrast=True, value=9.0)
    both = plots.gain_forest(pd.concat([gains, contrast]), ["auprc"], "Edema")
    assert len(labels(both)) == 1, "contrasts have a figure of their own"


def test_the_contrasts_have_a_panel_a_control(scores: pd.DataFrame) -> None:
    gains = scores[(scores["arm"] == "real+cars") & (scores["seed"] == -1)]
    sham = gains.assign(reference="real+sham", contrast=True, value=0.1)
    both = pd.concat([gains, sham, sham.assign(arm="cars-then-real"), gains.assign(backbone="c")])
    figure = plots.contrast_forest(both, "real+cars", "auprc", source="phantom")
    assert [a.text for a in figure.layout.annotations[:2]] == ["against real-equal-steps", "against real+sham"]
    points = [trace for trace in figure.data if trace.mode == "markers"]
    assert [list(trace.y) for trace in points] == [["b", "c"], ["b"]]
    assert [list(trace.x) for trace in points] == [[0.4, 0.4], [0.1]]
    ranges = [figure.layout[axis].range for axis in ("xaxis", "xaxis2")]
    assert ranges[0] == ranges[1], "panels of one metric share their scale"
    assert ranges[0][1] > 0.55
    assert "AUPRC of real+cars" in title(figure)
    assert "259 test films from phantom" in title(figure)


def test_a_difference_that_is_not_defined_is_left_out(scores: pd.DataFrame) -> None:
    gains = scores[scores["arm"] == "real+cars"].assign(value=np.nan)
    assert "no test films" in title(plots.gain_forest(gains, ["auprc"]))


def test_the_rare_combinations_have_their_positives() -> None:
    slices = pd.DataFrame(
        {"backbone": "b", "arm": "real+cars", "finding": "Edema", "slice": ["women", "men"], "edits": [2, 5],
         "metric": "auprc", "value": [0.1, -0.2], "low": [0.0, -0.4], "high": [0.2, 0.1], "n": [40, 50],
         "positives": [3, 4], "reference": "real"}
    )  # fmt: skip
    figure = plots.slice_forest(slices, "b", "auprc", most=1, source="phantom")
    assert list(figure.data[0].y) == ["1. Edema · real+cars<br>among men"]
    assert labels(figure) == ["−0.200 · 4 of 50 positive"]
    assert "50 test films from phantom" in title(figure)
    near = plots.slice_forest(slices.assign(basis="near"), "b", "auprc", most=1)
    assert list(near.data[0].y) == ["1. Edema · real+cars<br>among men (near)"]
    assert "one attribute away" in title(near)
    assert "against real films alone<" in title(near)


def test_reliability_has_a_panel_an_arm_with_both_sides() -> None:
    table = pd.DataFrame(
        {"mean_probability": [0.2, 0.7], "observed": [0.1, 0.9], "low": [0.02, 0.7], "high": [0.3, 0.97],
         "n": [40, 60], "patients": [20, 30]}
    )  # fmt: skip
    sides = {"before": table, "after": table.assign(observed=[0.2, 0.8])}
    figure = plots.reliability({"real": sides, "real+cars": sides}, "b", "phantom")
    assert [a.text for a in figure.layout.annotations] == ["real", "real+cars"]
    diagonal, before, after = figure.data[:3]
    assert list(diagonal.x) == list(diagonal.y) == [0, 1]
    assert list(before.error_y.array) == pytest.approx([0.2, 0.07])
    assert list(after.y) == pytest.approx([0.2, 0.8])
    assert [t.name for t in figure.data if t.showlegend] == ["before temperature scaling", "after temperature scaling"]
    assert "100 cases (film × finding × seed) an arm from phantom" in title(figure)


def test_no_figure_names_a_font_from_outside(pairs: CoOccurrence, gaps: pd.DataFrame) -> None:
    for figure in (plots.cooccurrence(pairs, "ratio"), plots.gap_bars(gaps), plots.point_map(films(2), "View", WINDOW)):
        assert figure.layout.font.family == plots.FONT
        assert "http" not in figure.to_json().replace("http://www.w3.org", "")


def test_short_cuts_at_a_word() -> None:
    assert plots.short("one two three", 9) == "one two …"
    assert plots.short("one two", 9) == "one two"


# Views of findings ---------------------------------------------------------------------------------------------------


@pytest.fixture
def combinations() -> pd.DataFrame:
    return pd.DataFrame(
        {"code": [8, 0, 40], "findings": ["Edema", "", "Edema; Fracture"], "size": [1, 0, 2], "count": [50, 30, 4],
         "films": [60, 40, 5], "train": [60, 20, 4], "test": [0, 20, 1],
         "verdict": ["no gap", "no gap", "rare as expected"]}
    )  # fmt: skip


SIZES = pd.Series({"Edema": 54, "Fracture": 4})


def test_an_upset_plot_has_a_bar_and_dots_a_combination(combinations: pd.DataFrame) -> None:
    figure = plots.upset(combinations, SIZES, 80, "patient", 2, chosen=8, source="phantom")
    shown, clicked = (t for t in figure.data if isinstance(t, go.Bar) and t.orientation != "h")
    assert list(shown.y) == [50, 30]
    assert list(shown.text) == ["50", "30"]
    assert list(clicked.customdata) == [8, 0]
    assert min(clicked.y) >= max(shown.y), "the whole column can be clicked"
    assert "none of the 14: 30 patients, 40 films" in clicked.hovertext[1]
    dots = figure.data[-2]
    assert list(zip(dots.x, dots.y)) == [(0, 0)], "Edema is the larger set, so it is the first row"
    sizes = next(t for t in figure.data if isinstance(t, go.Bar) and t.orientation == "h")
    assert list(sizes.x) == [54, 4]
    assert "2 of 3 combinations; 80 patients from phantom" in title(figure)
    outlined = [s for s in figure.layout.shapes if s.x0 == -0.5 and s.x1 == 0.5]
    assert len(outlined) == 2


def test_large_counts_are_short_on_the_bars_and_whole_in_the_hover_text(combinations: pd.DataFrame) -> None:
    figure = plots.upset(combinations.assign(count=[30_912, 999, 4]), SIZES, 80_000)
    shown, clicked = (t for t in figure.data if isinstance(t, go.Bar) and t.orientation != "h")
    assert list(shown.text) == ["30.9k", "999", "4"]
    assert "30,912 patients" in clicked.hovertext[0]


def test_the_dots_of_a_combination_are_joined(combinations: pd.DataFrame) -> None:
    figure = plots.upset(combinations, SIZES, 80)
    lines = next(t for t in figure.data if isinstance(t, go.Scatter) and t.mode == "lines")
    assert list(lines.x) == [2, 2, None]
    assert list(lines.y) == [0, 1, None]


def test_bars_are_coloured_by_verdict_or_by_a_split(combinations: pd.DataFrame) -> None:
    by_verdict = plots.upset(combinations, SIZES, 80, colour="verdict")
    bars = {t.name: list(t.y) for t in by_verdict.data if isinstance(t, go.Bar) and t.name}
    assert bars == {"no gap": [50, 30], "rare as expected": [4]}
    by_split = plots.upset(combinations, SIZES, 80, colour="test")
    assert list(by_split.data[0].marker.color) == [0, 50, 20]


def test_an_empty_upset_plot_says_none() -> None:
    empty = pd.DataFrame({"code": [], "findings": [], "size": [], "count": [], "films": [], "verdict": []})
    figure = plots.upset(empty, SIZES * 0, 0)
    assert "0 of 0 combinations; 0 patients" in title(figure)


@pytest.fixture
def shares() -> pd.DataFrame:
    return pd.DataFrame(
        {"group": ["all", "F", "unknown"], "finding": "Edema", "count": [30, 10, 0], "n": [100, 50, 4],
         "share": [0.3, 0.2, 0.0], "low": [0.22, 0.11, 0.0], "high": [0.4, 0.33, 0.49], "difference": [0, -0.1, -0.3]}
    )  # fmt: skip


def test_a_panel_a_finding_with_a_row_a_group(shares: pd.DataFrame) -> None:
    both = pd.concat([shares, shares.assign(finding="Fracture")])
    figure = plots.group_panels(both, "sex", 100, source="phantom")
    assert [a.text for a in figure.layout.annotations] == ["Edema", "Fracture"]
    first = figure.data[0]
    assert list(first.y) == ["F (n 50)", "unknown (n 4)"]
    assert list(first.x) == pytest.approx([20, 0])
    assert list(first.error_x.array) == pytest.approx([13, 49])
    assert list(first.error_x.arrayminus) == pytest.approx([9, 0])
    assert [s.x0 for s in figure.layout.shapes] == pytest.approx([30, 30])
    assert "100 patients from phantom" in title(figure)


def test_a_difference_is_measured_from_all(shares: pd.DataFrame) -> None:
    figure = plots.group_panels(shares, "sex", 100, difference=True)
    assert list(figure.data[0].x) == pytest.approx([-10, -30])
    assert list(figure.data[0].error_x.array) == pytest.approx([13, 49])
    assert [s.x0 for s in figure.layout.shapes] == [0]


def test_groups_without_films_draw_no_line(shares: pd.DataFrame) -> None:
    none = shares[shares["group"] == "all"].assign(n=0, share=np.nan, low=np.nan, high=np.nan)
    figure = plots.group_panels(none, "sex", 0)
    assert not figure.layout.shapes


def test_tway_has_a_panel_a_t_and_a_line_a_split() -> None:
    table = pd.DataFrame(
        [(t, m, split, 3, 10, 0.3 / m) for t in (1, 2) for m in (1, 5) for split in ("train", "test")],
        columns=["t", "m", "split", "covered", "possible", "share"],
    )
    figure = plots.tway_panels(table, "study", "<b>x</b>", members={"train": 1234})
    assert [a.text for a in figure.layout.annotations] == ["1 value: of 10", "2 values: of 10"]
    assert [t.name for t in figure.data if t.showlegend] == ["train (n 1,234)", "test"]
    assert list(figure.data[0].x) == pytest.approx([30, 6])
    assert list(figure.data[0].y) == ["1 or more", "5 or more"]
    assert "&lt;b&gt;x" in title(figure)


def test_both_sides_of_each_value() -> None:
    table = pd.DataFrame(
        {"attribute": ["age_band", "Edema"], "value": ["80+", "present"], "share_first": [0.1, 0.2],
         "low_first": [0.05, 0.1], "high_first": [0.2, 0.3], "count_first": [1, 2], "n_first": [10, 10],
         "share_second": [0.3, 0.4], "low_second": [0.2, 0.3], "high_second": [0.4, 0.6], "count_second": [6, 8],
         "n_second": [20, 20]}
    )  # fmt: skip
    figure = plots.share_pairs(table, ("one", "two"))
    assert [t.name for t in figure.data] == ["one (n 10)", "two (n 20)"]
    assert list(figure.data[0].y) == ["age band: 80+", "Edema"]
    assert list(figure.data[1].x) == pytest.approx([30, 40])
    assert list(figure.data[1].error_x.array) == pytest.approx([10, 20])


def test_gaps_that_moved_are_drawn_and_all_are_counted() -> None:
    table = pd.DataFrame(
        {"pattern": ["{}", "{}", "{}"], "gap": ["a", "b", "c"], "state": ["only in the first", "in both", "in both"],
         "first": [3, 5, 5], "second": [40, 9, 5], "threshold_first": 30, "threshold_second": 30}
    )  # fmt: skip
    figure = plots.gap_changes(table, ("old", "new"))
    assert list(figure.data[1].x) == [3, 5]
    assert list(figure.data[2].x) == [40, 9]
    assert list(figure.data[1].customdata[0]) == ["{}", "only in old"]
    assert "Of 3 gaps: 2 in both; 1 only in old" in title(figure)
    assert [s.x0 for s in figure.layout.shapes] == [30]


def test_the_chosen_pair_is_outlined(pairs: CoOccurrence) -> None:
    figure = plots.cooccurrence(pairs, "ratio", focus={"Edema": "present", "Fracture": "present", "sex": "F"})
    assert {(s.x0, s.y0) for s in figure.layout.shapes} == {(0.5, -0.5), (-0.5, 0.5)}
    assert not plots.cooccurrence(pairs, "ratio", focus={"Edema": "absent", "Fracture": "present"}).layout.shapes


def test_a_figures_numbers_say_how_many_and_from_where() -> None:
    table = plots.figure_table(pd.DataFrame({"x": [1], "n": [7]}), 9, "film", "phantom")
    assert table.to_dict("records") == [{"x": 1, "n": 7, "unit": "film", "source": "phantom"}]
