"""Figures of results in detail, what they say they cannot show, and their pictures without a browser."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from cars import plots
from cars.errors import DataError
from cars.plots import static


def title(figure: go.Figure) -> str:
    return f"{figure.layout.title.text} {figure.layout.title.subtitle.text}"


@pytest.fixture
def gains() -> pd.DataFrame:
    rows = [
        ("macro", "auprc", 0.02, "no evidence", 200, 60), ("Edema", "auprc", 0.1, "better", 200, 40),
        ("Fracture", "auprc", np.nan, "undefined", 200, 0), ("macro", "ece", -0.03, "better", 200, 60),
        ("Edema", "ece", 0.05, "worse", 200, 40),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["finding", "metric", "value", "verdict", "n", "positives"])
    return frame.assign(
        backbone="b", arm="real+cars", calibrated=False, low=frame["value"] - 0.1, high=frame["value"] + 0.1,
        p_holm=0.04, findings=2, reference="real-equal-steps", contrast=False,
    )  # fmt: skip


def test_the_heat_map_has_a_cell_a_finding_and_arm(gains: pd.DataFrame) -> None:
    contrast = gains.assign(reference="real+sham", contrast=True, value=9.0)
    both = pd.concat([gains, gains.assign(arm="real+sham", value=-0.1), contrast])
    figure = plots.finding_arm_heat(both, "b", "auprc", source="phantom")
    heat, undefined = figure.data
    assert list(heat.x) == ["real+cars", "real+sham"]
    assert list(heat.y) == ["mean over 2 findings", "Edema (40 positive)", "Fracture (0 positive)"]
    assert [list(row) for row in heat.text][1] == ["+0.100 ▲", "−0.100 ▲"]
    assert heat.z[1][0] == 0.1
    assert (list(undefined.x), list(undefined.y)) == (["real+cars"], ["Fracture (0 positive)"])
    assert heat.text[2][0] == "undefined"
    assert "against real films alone at equal steps" in title(figure)
    assert "200 test films from phantom" in title(figure)


def test_blue_is_better_for_errors_too(gains: pd.DataFrame) -> None:
    heat = plots.finding_arm_heat(gains, "b", "ece").data[0]
    assert [row[0] for row in heat.z] == [0.03, -0.05]
    assert [row[0] for row in heat.text] == ["−0.030 ▲", "+0.050 ▼"]
    assert heat.zmin == -heat.zmax


def test_the_grid_has_a_cell_a_backbone_and_arm(gains: pd.DataFrame) -> None:
    other = gains[gains["finding"] == "macro"].assign(backbone="c", value=-0.5, arm="real+sham", verdict="worse")
    figure = plots.backbone_arm_heat(pd.concat([gains, other]), "auprc", source="phantom")
    heat, undefined = figure.data
    assert (list(heat.x), list(heat.y)) == (["real+cars", "real+sham"], ["b", "c"])
    assert [list(row) for row in heat.text] == [["+0.020", "undefined"], ["undefined", "−0.500 ▼"]]
    assert heat.hovertext[0][1] == "not trained"
    assert len(undefined.x) == 2
    assert "mean over findings; blue is better" in title(figure)
    scaled = plots.backbone_arm_heat(gains.assign(calibrated=True), "auprc", "Edema", calibrated=True)
    assert "Edema after temperature scaling" in title(scaled)


@pytest.fixture
def curve() -> pd.DataFrame:
    return pd.DataFrame(
        {"recall": [0.0, 0.5, 1.0], "precision": [1.0, 0.8, 0.3], "low": [0.9, 0.6, 0.2], "high": [1.0, 0.9, 0.4],
         "prevalence": 0.3, "n": 200, "positives": 60, "patients": 90, "seeds": 3}
    )  # fmt: skip


def test_precision_and_recall_have_a_band_and_chance(curve: pd.DataFrame) -> None:
    undefined = curve.head(1).assign(precision=np.nan, recall=np.nan)
    figure = plots.precision_recall({"real": curve, "real+cars": undefined}, "Edema", "b", "phantom")
    band, line = figure.data
    assert list(band.y) == [1.0, 0.9, 0.4, 0.2, 0.6, 0.9]
    assert list(line.y) == [1.0, 0.8, 0.3]
    assert figure.layout.shapes[0].y0 == 0.3
    assert "60 of 200 test films positive, 90 patients from phantom. Undefined for real+cars." in title(figure)


def test_risk_and_coverage_in_percent() -> None:
    table = pd.DataFrame(
        {"coverage": [0.5, 1.0], "risk": [0.02, 0.1], "low": [0.0, 0.05], "high": [0.05, 0.15], "n": 400, "wrong": 40,
         "patients": 90, "members": 3}
    )  # fmt: skip
    figure = plots.risk_coverage({"real": table}, "b", "phantom")
    assert list(figure.data[1].x) == [50, 100]
    assert list(figure.data[1].y) == [2, 10]
    assert "400 cases of 90 patients from phantom" in title(figure)


def histogram(measure: str, share: float, members: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        {"measure": measure, "answer": ["right", "right", "wrong"], "bin_low": [0, 0.5, 0], "bin_high": [0.5, 1, 0.5],
         "share": [share, 1 - share, np.nan], "low": 0.0, "high": 1.0, "cases": [1, 2, np.nan], "n": [3, 3, 0],
         "patients": [3, 3, 0], "members": members}
    )  # fmt: skip


def test_uncertainty_of_right_and_wrong_answers() -> None:
    figure = plots.uncertainty_histograms({"real": histogram("entropy", 0.25)}, "b", "phantom")
    assert [t.name for t in figure.data] == ["right answers"]
    assert list(figure.data[0].y) == [25, 75]
    notes = [a.text for a in figure.layout.annotations]
    assert notes == ["real: entropy", "wrong: undefined (no such answer)"]
    assert "mean over 3 seeds" in title(figure)


def test_what_the_mean_is_taken_over_can_be_said() -> None:
    figure = plots.uncertainty_histograms({"real": histogram("entropy", 0.25)}, "b", "", "20 passes with dropout")
    assert "mean over 20 passes with dropout; share" in title(figure)
    table = pd.DataFrame({"coverage": [1.0], "risk": [0.1], "low": [0.0], "high": [0.2], "n": [4], "patients": [2]})
    figure = plots.risk_coverage({"real": table}, "b", members="20 passes with dropout")
    assert "of the mean over 20 passes with dropout, answer" in title(figure)
    assert "of the mean over seeds, answer" in title(plots.risk_coverage({"real": table}, "b"))


def test_one_seed_has_no_mutual_information() -> None:
    nothing = histogram("mutual information", np.nan, members=1)
    figure = plots.uncertainty_histograms({"real": nothing}, "b")
    assert "right and wrong: undefined (one training seed)" in [a.text for a in figure.layout.annotations]
    assert all(t.opacity == 0 for t in figure.data), "only there so that the panel is drawn"


@pytest.fixture
def gained() -> pd.DataFrame:
    nothing = dict.fromkeys(
        ["before_low", "before_high", "after_low", "after_high", "change_low", "change_high"], np.nan
    )
    rows = [
        {"measure": "gaps", "detail": "possible patterns", "before": 178.0, "after": 170.0, "n": 393, **nothing},
        {"measure": "combinations", "detail": "2 values", "before": 0.5, "after": 0.6, "n": 393, **nothing},
        {"measure": "test films within reach", "detail": "all", "before": 0.7, "after": 0.8, "n": 232,
         "before_low": 0.6, "before_high": 0.75, "after_low": 0.7, "after_high": 0.85},
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(unit="train patients", patients=126)


def test_coverage_before_and_after(gained: pd.DataFrame) -> None:
    figure = plots.coverage_dumbbells(gained, "phantom")
    sides = [t for t in figure.data if t.mode == "markers"]
    assert [(t.name, list(t.x)) for t in sides] == [
        ("before", [178]), ("after", [170]), ("before", [50, 70]), ("after", [60, 80]),
    ]  # fmt: skip
    assert list(sides[3].error_x.array) == pytest.approx([0, 5])
    assert "393 train patients from phantom" in title(figure)
    assert "test films near a train film (n 232, 126 patients)" in sides[2].y


def test_gaps_alone_make_one_panel(gained: pd.DataFrame) -> None:
    figure = plots.coverage_dumbbells(gained.head(1))
    assert [a.text for a in figure.layout.annotations] == ["Gaps of the train split", "178", "170"]


# What a figure cannot show, and its picture -------------------------------------------------------------------------


def test_a_caution_stands_on_the_figure_itself(curve: pd.DataFrame) -> None:
    plain = plots.precision_recall({"real": curve}, "Edema", "b")
    height, top = plain.layout.height, plain.layout.margin.t
    warned = plots.caution(plain, ["The arm real+sham was <not> trained."])
    assert "The arm real+sham was &lt;not&gt; trained." in title(warned)
    grown = warned.layout.height - height
    assert grown == warned.layout.margin.t - top > 0, "room is made above the panel, not taken from it"


def test_without_a_caution_only_long_lines_are_wrapped(curve: pd.DataFrame) -> None:
    figure = plots.caution(plots.precision_recall({"real": curve}, "Edema", "b", "a" * 30), [])
    assert max(len(line) for line in figure.layout.title.subtitle.text.split("<br>")) <= 110
    assert "span" not in title(figure)


def pixels(figure: go.Figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(static.png(figure, dpi=100))).convert("RGB")).astype(int)


def near(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(image - colour).sum(axis=2) < 60).sum())


BLUE, VERMILION = (0, 114, 178), (213, 94, 0)


def test_every_kind_of_figure_has_a_picture(gains: pd.DataFrame, curve: pd.DataFrame, gained: pd.DataFrame) -> None:
    risk = curve.assign(coverage=[0.1, 0.5, 1.0], risk=0.1, wrong=3)
    for figure in (
        plots.finding_arm_heat(gains, "b", "auprc"),
        plots.backbone_arm_heat(gains, "auprc"),
        plots.gain_forest(gains, ["auprc", "ece"]),
        plots.contrast_forest(gains, "real+cars", "auprc"),
        plots.precision_recall({"real": curve}, "Edema", "b"),
        plots.risk_coverage({"real": risk}, "b"),
        plots.uncertainty_histograms({"real": histogram("entropy", 0.25)}, "b"),
        plots.coverage_dumbbells(gained),
    ):
        image = pixels(plots.caution(figure, ["One training seed."]))
        assert image.shape[:2] == (figure.layout.height, static.WIDTH)
        assert near(image, VERMILION) > 30, "the caution is in the picture"
        assert (image.sum(axis=2) < 300).sum() > 200, "and so are words and lines"


def test_the_picture_shows_the_points_where_they_are() -> None:
    figure = go.Figure(go.Scatter(x=[1.0], y=[1.0], mode="markers", marker={"color": "#0072B2", "size": 20}))
    figure.update_layout(height=400).update_xaxes(range=[0, 4]).update_yaxes(range=[0, 4])
    rows, columns = np.nonzero(np.abs(pixels(figure) - BLUE).sum(axis=2) < 60)
    assert 40 <= len(rows) <= 400
    assert columns.mean() < static.WIDTH * 0.4, "a quarter from the left"
    assert rows.mean() > 400 * 0.55, "a quarter from the bottom"


def test_what_cannot_be_printed_is_refused() -> None:
    with pytest.raises(DataError, match="pie"):
        static.png(go.Figure(go.Pie(values=[1, 2])))


def test_markup_and_dollars_are_letters_in_a_picture() -> None:
    assert static._plain("<b>a</b> &lt;b&gt; $5") == r"a <b> \$5"
    assert static._lines("one<br><span style='color:#D55E00'>two</span>", 20) == [
        ("one", "#52606D"),
        ("two", "#D55E00"),
    ]
