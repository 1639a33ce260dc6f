"""Saved attribute sets: a later one supersedes, nothing is deleted, older records are migrated."""

from __future__ import annotations

import json
import sqlite3

import pytest
from click.testing import CliRunner
from coverage_frames import films_frame, workspace_of

from cars.cli import cars
from cars.coverage import GapsSettings, gaps
from cars.coverage.sets import AttributeSet, attribute_set, attribute_sets, remove_set, save_set
from cars.errors import SettingError
from cars.records import SCHEMA, SCHEMA_VERSION
from cars.stages import gap_settings
from cars.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace.create(tmp_path / "ws")


def rows(workspace):
    with sqlite3.connect(workspace.path / "records.sqlite") as db:
        return db.execute('SELECT name, attributes, "where", retired FROM attribute_sets ORDER BY set_id').fetchall()


def test_a_set_is_saved_superseded_and_removed(workspace):
    assert attribute_sets(workspace) == {}
    save_set(workspace, AttributeSet("Women", "age_band,findings", "present", "sex:F"))
    save_set(workspace, AttributeSet("Men", "view", "all", "sex:M"))
    save_set(workspace, AttributeSet(" Women ", "age_band", "present", "sex:F; view:PA"))
    assert list(attribute_sets(workspace)) == ["Men", "Women"]
    assert attribute_set(workspace, "Women") == AttributeSet("Women", "age_band", "present", "sex:F; view:PA")
    remove_set(workspace, "Women")
    assert list(attribute_sets(workspace)) == ["Men"]
    assert [row[3] for row in rows(workspace)] == [0, 0, 0, 1]
    save_set(workspace, AttributeSet("Women", "view", "present", ""))
    assert attribute_set(workspace, "Women").attributes == "view"


@pytest.mark.parametrize(
    ("chosen", "quoted"),
    [
        (AttributeSet("a", "colour", "present", ""), "colour"),
        (AttributeSet("a", "sex", "some", ""), "some"),
        (AttributeSet("a", "sex", "present", "sex:X"), "X"),
        (AttributeSet(" - ", "sex", "present", ""), "no name"),
        (AttributeSet("a" * 81, "sex", "present", ""), "no name"),
    ],
)
def test_a_wrong_set_is_refused(workspace, chosen, quoted):
    with pytest.raises(SettingError, match=quoted):
        save_set(workspace, chosen)
    assert attribute_sets(workspace) == {}


def test_an_unknown_name_lists_the_right_ones(workspace):
    save_set(workspace, AttributeSet("Women", "view", "present", ""))
    with pytest.raises(SettingError, match="Womn") as error:
        attribute_set(workspace, "Womn")
    assert "Women" in error.value.hint


def test_gaps_of_a_set_are_those_of_what_it_holds(tmp_path):
    """The flag `--attribute-set` finds what its attributes, values and filter would, and they are what is recorded."""
    workspace = workspace_of(tmp_path / "films", films_frame(5, 80))
    save_set(workspace, AttributeSet("Women", "view,Edema,Fracture", "all", "sex:F"))
    by_name = gaps(workspace, GapsSettings(threshold=9, attribute_set="Women"))
    version = workspace.version("gaps")
    written_out = GapsSettings("view,Edema,Fracture", "all", threshold=9, where="sex:F")
    by_hand = gaps(workspace, written_out)
    assert by_name["total"] > 0
    assert by_name == by_hand
    assert workspace.version("gaps") == version
    assert gap_settings(workspace) == written_out
    with pytest.raises(SettingError, match="Nobody"):
        gaps(workspace, GapsSettings(attribute_set="Nobody"))


def test_sets_on_the_command_line(tmp_path):
    workspace = workspace_of(tmp_path / "films", films_frame(5, 40))
    place, run = ["--workspace", str(workspace.path)], CliRunner().invoke
    said = run(cars, ["sets", "--save", "Women", "--attributes", "view", "--where", "sex:F", *place])
    assert said.output == "Women: view, present, where sex:F\n"
    found = json.loads(run(cars, ["sets", "--json", *place]).stdout)
    assert found == {"sets": [{"name": "Women", "attributes": "view", "values": "present", "where": "sex:F"}]}
    done = run(cars, ["gaps", "--attribute-set", "Women", "--threshold", "5", "--json", *place])
    assert json.loads(done.stdout)["where"] == "sex:F"
    wrong = run(cars, ["sets", "--save", "x", "--where", "sex:Q", *place])
    assert wrong.exit_code == 2
    assert run(cars, ["sets", "--remove", "Women", *place]).output == ""


def test_records_of_an_older_version_are_migrated(workspace):
    """What version 1 wrote stays, and sets can be saved beside it."""
    older = SCHEMA.split("CREATE TABLE IF NOT EXISTS attribute_sets")[0]
    with sqlite3.connect(workspace.path / "records.sqlite") as db:
        db.executescript(older)
        db.execute("INSERT INTO decisions (edit_id, decision, created) VALUES ('e', 'reject', 1)")
        db.execute("PRAGMA user_version = 1")
    db.close()
    save_set(workspace, AttributeSet("Women", "view", "present", ""))
    assert list(attribute_sets(workspace)) == ["Women"]
    assert workspace.records.latest_decisions()["edit_id"].tolist() == ["e"]
    with sqlite3.connect(workspace.path / "records.sqlite") as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
