"""Both sources of uncertainty side by side: in the printed table, in words and in the report; or none is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cars.errors import WorkspaceError
from cars.results import ReportSettings, compose, doubt, gather, report
from tests.evaluate.conftest import make_workspace
from tests.evaluate.test_passes import with_passes
from tests.evaluate.test_report import noisy, truth_of


def row(source: str, measure: str, value: float, arm: str = "real", finding: str = "macro", members: int = 3) -> dict:
    return {"backbone": "b", "arm": arm, "source": source, "members": members, "finding": finding, "measure": measure,
            "value": value, "low": value - 0.01, "high": value + 0.01, "n": 1200, "patients": 300}  # fmt: skip


TABLE = pd.DataFrame(
    [
        row("dropout", "mutual", 0.02, members=20), row("dropout", "total", 0.5, members=20),
        row("seeds", "total", 0.4), row("seeds", "mutual", 0.1), row("seeds", "total", 0.7, finding="Edema"),
        row("dropout", "total", np.nan, arm="real+cars", members=20),
    ]
)  # fmt: skip


def test_one_row_a_measure_with_both_sources() -> None:
    printed = doubt.rows(TABLE)
    assert printed[["Arm", "Measure"]].to_numpy().tolist() == [
        ["real", "Entropy, total"], ["real", "Mutual information"], ["real+cars", "Entropy, total"],
    ]  # fmt: skip
    first = printed.iloc[0]
    assert first["Over seeds"] == "0.400 (0.390 to 0.410)"
    assert first["Over passes with dropout"] == "0.500 (0.490 to 0.510)"
    assert (first["n films"], first["patients"]) == ("1,200", "300")
    last = printed.iloc[2]
    assert (last["Over seeds"], last["Over passes with dropout"]) == ("one seed", "undefined")
    assert doubt.rows(TABLE[TABLE["source"] == "seeds"])["Over passes with dropout"].tolist() == [
        "no dropout was trained"
    ] * 2  # fmt: skip
    assert doubt.rows(TABLE, "Edema")["Over seeds"].tolist() == ["0.700 (0.690 to 0.710)"]
    assert doubt.rows(TABLE, "Fracture").empty
    assert doubt.rows(pd.DataFrame()).empty


def test_what_the_sources_are_in_words() -> None:
    both = doubt.sentences(TABLE, 3, 0.25)
    assert "the 3 trainings" in both[0]
    assert "predicts 20 times with 25%" in both[1]
    assert "the mean over seeds" in both[1]
    alone = doubt.sentences(TABLE[TABLE["source"] == "dropout"], 1, 0.25)
    assert "nothing to disagree" in alone[0]
    assert "the mean over seeds" not in alone[1]
    assert "no dropout was trained" in doubt.sentences(pd.DataFrame(), 3, 0.0)[1]
    assert "score it again" in doubt.sentences(pd.DataFrame(), 3, 0.25)[1]


def subtitle(picture) -> str:
    return picture.figure.layout.title.subtitle.text.replace("<br>", " ")


def test_the_report_has_figures_and_numbers_of_both(tmp_path) -> None:
    workspace = make_workspace(tmp_path / "ws", patients=40, edits=0)
    truth = truth_of(workspace)
    with_passes(workspace, {seed: np.stack([noisy(truth, 3, 10 * seed + k) for k in range(4)]) for seed in range(2)})
    report(workspace, ReportSettings(resamples=20, min_positives=1))
    found = gather(workspace)
    assert found.dropout == 0.3
    bars = found.tables["dropout_uncertainty"]
    assert set(bars["members"]) == {4}
    own = found.tables["uncertainty"]
    seeds = own[own["measure"] == "entropy"].groupby("answer")["n"].first().sum()
    assert bars[bars["measure"] == "entropy"].groupby("answer")["n"].first().sum() == 2 * seeds, "both seeds are pooled"
    sections = {section.title: section for section in compose(found)}
    pictures = {p.name: p for p in sections["b in detail"].pictures}
    for name in ("b uncertainty over dropout", "b risk coverage over dropout"):
        assert "4 passes with dropout, 2 seeds pooled" in subtitle(pictures[name])
    assert "mean over 2 seeds" in subtitle(pictures["b uncertainty"])
    said, printed = sections["Scores"].paragraphs, sections["Scores"].tables[1][1]
    assert "predicts 4 times with 30%" in said[1]
    assert printed["Measure"].tolist() == list(doubt.MEASURES.values())
    assert printed["Over passes with dropout"].str.contains(" to ").all()
    workspace.part_path("passes", "r-b-real-0").unlink()
    with pytest.raises(WorkspaceError, match="not there"):
        gather(workspace)


def test_without_dropout_the_report_says_so(tmp_path) -> None:
    workspace = make_workspace(tmp_path / "ws", patients=40, edits=0)
    truth = truth_of(workspace)
    with_passes(workspace, {seed: noisy(truth, 1, seed)[None] for seed in range(2)}, dropout=0.0)
    report(workspace, ReportSettings(resamples=20, min_positives=1))
    found = gather(workspace)
    assert "dropout_uncertainty" not in found.tables
    sections = {section.title: section for section in compose(found)}
    assert not [p for p in sections["b in detail"].pictures if "dropout" in p.name]
    assert "no dropout was trained" in sections["Scores"].paragraphs[1]
    assert set(sections["Scores"].tables[1][1]["Over passes with dropout"]) == {"no dropout was trained"}
