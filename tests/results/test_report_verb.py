"""The verb `report` on a run with known predictions: it scores, and writes what it is asked for."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from cars import results
from cars.errors import WorkspaceError
from cars.provenance import digest
from cars.results import ReportSettings, gather, report
from cars.results.origin import origin, table_hash
from cars.workspace import Workspace
from tests.evaluate.conftest import make_workspace
from tests.evaluate.test_report import add_run, noisy, truth_of


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> tuple[Workspace, dict, Path]:
    folder = tmp_path_factory.mktemp("verb")
    workspace = make_workspace(folder / "ws", patients=100, edits=4)
    truth = truth_of(workspace)
    add_run(workspace, "r1", {("b", a, s): noisy(truth, 1 + s, s) for a in ("real", "real+cars") for s in (0, 1)})
    settings = ReportSettings(
        resamples=30, html=str(folder / "g.html"), pdf=str(folder / "g.pdf"), csv=str(folder / "g.csv")
    )
    return workspace, report(workspace, settings), folder


def test_documents_are_written_and_named_with_their_hash(scored) -> None:
    _, result, folder = scored
    assert set(result["documents"]) == {"html", "pdf", "csv"}
    for kind, about in result["documents"].items():
        content = (folder / f"g.{kind}").read_bytes()
        assert about == {"path": str(folder / f"g.{kind}"), "bytes": len(content),
                         "sha256": hashlib.sha256(content).hexdigest()}  # fmt: skip
    json.dumps(result, allow_nan=False)


def test_the_csv_is_the_tables(scored) -> None:
    workspace, result, folder = scored
    table = pd.read_csv(folder / "g.csv", na_values=["undefined"], low_memory=False)
    gains = table[table["table"] == "gains"].reset_index(drop=True)
    kept = workspace.read("gains")
    assert gains["value"].to_numpy() == pytest.approx(kept["value"].to_numpy(), nan_ok=True)
    macro = gains[(gains["finding"] == "macro") & (gains["metric"] == "auprc")].iloc[0]
    assert macro["value"] == pytest.approx(result["differences"]["b"]["real+cars"]["auprc"]["value"])


def test_the_sentence_of_the_result_is_the_reports(scored) -> None:
    _, result, folder = scored
    sentence = result["sentences"]["b"]["real+cars"]
    assert sentence.split("(")[0] in (folder / "g.html").read_text(encoding="utf-8")


def test_what_it_was_made_from(scored) -> None:
    workspace, _, _ = scored
    found = origin(workspace, "r1")
    assert found["edits"]["films"] == 3, "the fourth failed a gate"
    assert found["edits"]["ids"] == digest("edit0000", "edit0001", "edit0002")
    assert found["edits"]["generator_revision"] == ["r1"]
    assert found["tables"]["films"] == table_hash(workspace, "films")
    assert found["tables"]["gaps"] is None
    assert found["report"]["settings"]["resamples"] == 30
    before = table_hash(workspace, "films")
    films = workspace.read("films")
    films.loc[0, "age"] = 51.0
    workspace.write_part("films", "0", films)
    assert table_hash(workspace, "films") != before


def test_a_document_older_than_the_scores_is_outdated(scored, tmp_path) -> None:
    import os

    workspace, _, folder = scored
    assert not results.outdated(workspace, "r1", [folder / "g.csv"])
    old = tmp_path / "old.csv"
    old.write_text("x")
    os.utime(old, (1, 1))
    assert results.outdated(workspace, "r1", [folder / "g.csv", old])


def test_a_folder_that_is_not_there_is_said_before_scoring(scored, tmp_path) -> None:
    with pytest.raises(WorkspaceError, match=r"pdf = .*nowhere.* lies in no folder"):
        report(scored[0], ReportSettings(pdf=str(tmp_path / "nowhere" / "g.pdf")))


def test_one_seed_has_an_undefined_mutual_information_with_its_n(tmp_path) -> None:
    workspace = make_workspace(tmp_path / "ws", patients=40, edits=0)
    add_run(workspace, "r", {("b", "real", 0): noisy(truth_of(workspace), 1)})
    result = report(workspace, ReportSettings(resamples=20))
    assert result["documents"] == {}
    tables = gather(workspace).tables
    mutual = tables["uncertainty"][tables["uncertainty"]["measure"] == "mutual information"]
    assert mutual["share"].isna().all()
    assert mutual["n"].sum() > 0
    assert tables["gains"].empty
    assert tables["coverage"].empty


def test_the_command_has_the_flags() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cars", "report", "--help"], capture_output=True, text=True, check=True
    )
    assert all(flag in done.stdout for flag in ("--html", "--pdf", "--csv", "--resamples"))
