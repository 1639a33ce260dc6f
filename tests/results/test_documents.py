"""The documents of a run from tables made by hand: each number is there as it was, and nothing is loaded."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import numpy as np
import pandas as pd
import pytest

from cars import results
from cars.results import compose, document, every_number, words
from cars.results.html import POLICY
from cars.results.pdf import widths

COLUMNS = dict(n=200, patients=90, positives=60, positive_patients=40, findings=2, resamples=2000, undefined=0)
CAUTION = "The arm real+sham was not trained: a gain may come from the editor's texture."


def gain(finding: str, metric: str, value: float, verdict: str, **more: object) -> dict[str, object]:
    ends = {"low": value - 0.01, "high": value + 0.02}
    return {"run": "r", "backbone": "resnet50", "arm": "real+cars",
            "reference": "real", "contrast": False, "finding": finding, "metric": metric,
            "calibrated": False, "value": value, **ends, "p": 0.031, "p_holm": 0.217, "verdict": verdict, "mde": 0.0456,
            "seeds": 3, **COLUMNS, **more}  # fmt: skip


@pytest.fixture
def made() -> results.Results:
    """A run of one backbone whose edits changed little, with an undefined finding."""
    gains = [
        gain("macro", "auprc", 0.01234, "no evidence"),
        gain("macro", "ece", 0.0317, "worse"),
        gain("macro", "ece", 0.0203, "worse", calibrated=True),
        gain("Edema", "auprc", 0.1111, "no evidence"),
        gain("Fracture", "auprc", np.nan, "undefined", positives=0, p=np.nan, p_holm=np.nan, mde=np.nan),
    ]
    scores = [
        {"run": "r", "backbone": "resnet50", "arm": arm, "seed": seed, "finding": "macro", "metric": "auprc",
         "calibrated": False, "value": value, "low": value - 0.05, "high": value + 0.05, **COLUMNS}
        for arm, value in (("real", 0.4321), ("real+cars", np.nan)) for seed in (-1, 0)
    ]  # fmt: skip
    arms = ["real", "real+cars"]
    bins = pd.DataFrame({"mean_probability": [0.2], "observed": [0.1], "low": [0.0], "high": [0.3], "n": [40],
                         "patients": [20], "finding": "all"})  # fmt: skip
    curve = pd.DataFrame({"recall": [0.0, 1.0], "precision": [1.0, 0.3], "low": [0.9, 0.2], "high": [1.0, 0.4],
                          "prevalence": 0.3, "n": 200, "positives": 60, "patients": 90, "seeds": 3})  # fmt: skip
    histogram = pd.DataFrame({"measure": "entropy", "answer": ["right", "wrong"], "bin_low": 0.0, "bin_high": 0.7,
                              "share": [1.0, 1.0], "low": 1.0, "high": 1.0, "cases": [30, 10], "n": [30, 10],
                              "patients": [20, 8], "members": 3})  # fmt: skip
    risk = pd.DataFrame({"coverage": [0.5, 1.0], "risk": [0.1, 0.25], "low": 0.0, "high": 0.4, "n": 40, "wrong": 10,
                         "patients": 20, "members": 3, "measure": "entropy"})  # fmt: skip

    def each(table: pd.DataFrame, **more: object) -> pd.DataFrame:
        return pd.concat([table.assign(backbone="resnet50", arm=arm, **more) for arm in arms], ignore_index=True)

    tables = {
        "gains": pd.DataFrame(gains), "scores": pd.DataFrame(scores), "slices": pd.DataFrame(),
        "model_uncertainty": pd.DataFrame(), "coverage": pd.DataFrame(),
        "units": pd.DataFrame({"unit": ["u1", "u2"], "backbone": "resnet50", "arm": arms, "seed": 0,
                               "weights": "random-seed0", "temperature": [1.5, np.nan]}),
        "reliability": pd.concat([each(bins, calibrated=False), each(bins, calibrated=True)], ignore_index=True),
        "precision_recall": each(curve, finding="Edema"), "uncertainty": each(histogram), "risk_coverage": each(risk),
    }  # fmt: skip
    origin = {
        "dataset": {"name": "phantom", "adapter": "phantom", "terms": "None at all."},
        "tables": {"films": "f11a", "gaps": None}, "edits": {"films": 12, "generator": ["cars"], "judge": ["j77"]},
        "run": {"settings": {"size": 64, "steps": 150, "batch": 32}, "code_version": "0.1.0+gabc"},
        "report": {"settings": {"resamples": 2000, "min_positives": 5}, "code_version": "0.1.0+gdef"},
        "units": {"u1": "aa11", "u2": "bb22"}, "starting_weights": ["random-seed0"], "code_version": "0.1.0+gdef",
        "libraries": {"torch": "2.13.0"},
    }  # fmt: skip
    return results.Results(
        "r", "phantom <script>alert(1)</script>", ["resnet50"], arms, 3, 0.95, tables,
        [("real+cars", "resnet50: no evidence at this n that real+cars differs from real.")], [CAUTION], origin,
    )  # fmt: skip


def test_numbers_as_they_are_printed() -> None:
    assert words.number(0.01234, sign=True) == "+0.012"
    assert words.number(-0.5, 1) == "−0.5"
    assert words.number(float("nan")) == words.number(None) == "undefined"
    row = {"value": 0.1, "low": 0.05, "high": 0.2, "before": 3.0, "before_low": np.nan, "before_high": np.nan}
    assert words.interval(row, sign=True) == "+0.100 (+0.050 to +0.200)"
    assert words.interval(row, "before", 0) == "3"
    assert words.interval({"value": np.nan, "low": 0.0, "high": 1.0}) == "undefined"


def test_the_tables_say_each_gain_exactly(made: results.Results) -> None:
    table = words.gain_rows(made.tables["gains"])
    first = table.iloc[0]
    assert first["Difference"] == "+0.012 (+0.002 to +0.032)"
    assert (first["p (Holm)"], first["Verdict"], first["Smallest shown"]) == ("0.217", "no evidence", "0.046")
    assert (first["n films"], first["positive"], first["patients"]) == ("200", "60", "90")
    assert table["Metric"].tolist() == ["AUPRC", "ECE", "ECE, calibrated"]
    fracture = words.gain_rows(made.tables["gains"], None).set_index("Finding").loc["Fracture"]
    assert (fracture["Difference"], fracture["Verdict"], fracture["positive"]) == ("undefined", "undefined", "0")


@pytest.fixture
def page(made: results.Results) -> str:
    return document(made, "html").decode()


def visible(page: str) -> str:
    """The text of the page without its scripts."""
    return re.sub(r"<[^>]+>", " ", re.sub(r"<script.*?</script>", "", page, flags=re.S))


def test_the_html_says_it_all(page: str) -> None:
    said = visible(page)
    for text in (
        "no evidence at this n that real+cars differs from real", "+0.012 (+0.002 to +0.032)", "undefined",
        "0.432 (0.382 to 0.482)", "2,000 resamples of whole patients", "nothing about patients", "f11a", "j77", "aa11",
        "0.1.0+gabc", "No synthetic film has been made", "No gap was filled", "None at all.",
    ):  # fmt: skip
        assert text in said, text
    assert said.count("real+sham was not trained") >= 2, "in short, and under the limits"


def test_every_figure_carries_what_it_cannot_say(made: results.Results, page: str) -> None:
    figures = json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)[1])
    assert len(figures) == len(re.findall("<figure>", page)) == 7
    for figure in figures.values():
        subtitle = figure["layout"]["title"]["subtitle"]["text"]
        assert "real+sham was not trained" in subtitle
        assert re.search(r"\d", subtitle), "n"
        assert "phantom" in subtitle, "source"


def test_the_html_loads_nothing_and_runs_no_text_from_data(page: str) -> None:
    bare = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.findall(r"<(?:script|link|img|iframe|source|object|embed)[^>]+(?:src|href)\s*=", bare)
    assert not re.findall(r"(?:@import|url\()", bare)
    assert set(re.findall(r"href=[\"']([a-z]+:)", bare)) == {"data:"}
    assert POLICY in page
    assert "default-src 'none'" in POLICY
    assert "http" not in POLICY
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_figures_numbers_are_in_the_page(page: str) -> None:
    assert 'href="data:text/csv;base64,' in page
    assert "<td>0.01234</td>" in page


def test_the_csv_has_every_number(made: results.Results) -> None:
    table = pd.read_csv(io.BytesIO(document(made, "csv")), keep_default_na=False)
    gains = table[table["table"] == "gains"]
    assert gains["value"].tolist() == ["0.01234", "0.0317", "0.0203", "0.1111", "undefined"]
    assert gains["p_holm"].tolist()[-1] == "undefined"
    assert gains["positives"].tolist()[-1] == "0"
    assert set(gains["recall"]) == {""}, "a column of another table is empty, not undefined"
    assert table["table"].unique().tolist() == [
        "gains", "scores", "units", "reliability", "precision_recall", "uncertainty", "risk_coverage",
    ]  # fmt: skip
    assert len(every_number(made)) == sum(len(t) for t in made.tables.values())


def test_the_pdf_opens_and_has_its_figures(made: results.Results) -> None:
    content = document(made, "pdf")
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    pages = len(re.findall(rb"/Type\s*/Page\b", content))
    assert 5 <= pages <= 14
    assert int(re.search(rb"/Count (\d+)", content)[1]) == pages
    assert len(re.findall(rb"/Subtype /Image", content)) >= 7
    assert b"DejaVuSans" in content


def test_column_widths_fill_the_page_and_keep_words() -> None:
    table = pd.DataFrame({"a": ["x"], "b": ["many words that can be broken into lines " * 6]})
    found = widths(table, 300)
    assert sum(found) == pytest.approx(300)
    assert found[1] > 5 * found[0]
    assert sum(widths(table.head(0), 300)) < 300
    crowded = pd.DataFrame({str(n): ["unbreakablewordthatislong"] for n in range(9)})
    assert sum(widths(crowded, 300)) == pytest.approx(300)


def test_a_run_of_one_arm_says_that_nothing_is_compared(made: results.Results) -> None:
    empty = made.tables["gains"].head(0)
    alone = dataclasses.replace(made, tables={**made.tables, "gains": empty}, sentences=[], arms=["real"], cautions=[])
    sections = {section.title: section for section in compose(alone)}
    assert "nothing to compare" in sections["In short"].points[0]
    assert sections["Gains"].paragraphs == ["No second arm was trained: nothing is compared."]
    assert not any("cannot say" in point for point in sections["In short"].points)


def test_undefined_everywhere_is_a_report_too(made: results.Results) -> None:
    gains = made.tables["gains"].assign(value=np.nan, low=np.nan, high=np.nan, p_holm=np.nan, verdict="undefined")
    page = document(dataclasses.replace(made, tables={**made.tables, "gains": gains}), "html").decode()
    assert "undefined" in visible(page)
