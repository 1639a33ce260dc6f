import errno
import os

import pandas as pd
import pytest

from cars.errors import CarsError, ResourceError, WorkspaceError
from cars.records import Records
from cars.workspace import Workspace, atomic_write, write_text


@pytest.fixture
def workspace(tmp_path):
    return Workspace.create(tmp_path / "a workspace's folder")


def test_open_needs_a_workspace(tmp_path):
    with pytest.raises(WorkspaceError, match="no workspace"):
        Workspace.open(tmp_path)
    (tmp_path / "other.txt").write_text("x")
    with pytest.raises(WorkspaceError, match="not empty"):
        Workspace.create(tmp_path)


def test_a_part_is_whole_or_absent(workspace):
    def write_half():
        with atomic_write(workspace.path / "x.bin") as stream:
            stream.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert sorted(p.name for p in workspace.path.iterdir()) == ["workspace.toml"]


def test_a_full_disk_keeps_the_old_file(workspace, monkeypatch):
    path = workspace.path / "kept.txt"
    write_text(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="full"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert not list(workspace.path.glob(".kept*"))


def test_versions_and_views(workspace):
    workspace.write_part("films", "a", pd.DataFrame({"dicom_id": ["one"]}), version="v1")
    workspace.publish("films", "v1")
    workspace.write_part("films", "a", pd.DataFrame({"dicom_id": ["two"]}), version="v2")
    assert list(workspace.read("films")["dicom_id"]) == ["one"], "a version that is not published must stay unseen"
    workspace.publish("films", "v2")
    with workspace.connect() as connection:
        assert connection.sql("SELECT dicom_id FROM films").fetchall() == [("two",)]
    assert workspace.tables() == ["films"]
    with pytest.raises(WorkspaceError, match="cars embed"):
        workspace.need("map", "embed")


def test_only_gated_and_unrejected_edits_are_accepted(workspace):
    edits = pd.DataFrame({"edit_id": ["a", "b", "c", "d"], "passed": [True, True, False, True]})
    workspace.write_part("edits", "p", edits)
    records = workspace.records
    records.decide("b", "reject", "wires bent")
    records.decide("c", "accept")
    records.decide("d", "reject")
    records.decide("d", "undo")
    with workspace.connect() as connection:
        got = connection.sql("SELECT edit_id FROM accepted_edits ORDER BY 1").fetchall()
    assert got == [("a",), ("d",)], "an accept never overrides a failed gate, and an undone reject counts no more"


def test_queries_take_values_as_parameters_only(workspace):
    frame = pd.DataFrame({"dicom_id": ["x"], "subject_id": ["1"], "split": ["train"]})
    workspace.write_part("films", "a", frame)
    assert len(workspace.query("verify/doubled_films")) == 0
    with pytest.raises(CarsError, match="no query 'verify/nothing'"):
        workspace.query("verify/nothing")


def test_settings_file_errors_name_the_line(workspace):
    (workspace.path / "workspace.toml").write_text("[gaps]\nthreshold = = 3\n")
    with pytest.raises(WorkspaceError, match="line 2"):
        _ = workspace.file_settings


def test_records(tmp_path):
    records = Records(tmp_path / "records.sqlite")
    items = [{"gap_id": "g", "source_dicom_id": "d", "findings": {"Edema": "insert"}, "seed": 3}]
    plan = records.add_plan({"films": 1}, items, plan_id="p1")
    assert records.add_plan({"films": 9}, [], plan_id="p1") == plan, "filing a plan twice changes nothing"
    assert records.plan_items("p1")["findings"][0] == {"Edema": "insert"}
    assert list(records.plans()["items"]) == [1]
    with pytest.raises(WorkspaceError, match="'zz'"):
        records.plan_items("zz")
    with records.open() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(WorkspaceError, match="version 99"):
        records.plans()
