"""Small records that people change, in one SQLite file: jobs, plans, plan items, decisions, attribute sets.

WAL mode, foreign keys, a schema version. Nothing is deleted: a later record supersedes an earlier one.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from .errors import SettingError, WorkspaceError

SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    job_id TEXT PRIMARY KEY, verb TEXT NOT NULL, settings TEXT NOT NULL, state TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0, message TEXT NOT NULL DEFAULT '',
    result TEXT, error TEXT, pid INTEGER, worker TEXT, created REAL NOT NULL, started REAL, ended REAL,
    heartbeat REAL, after TEXT REFERENCES jobs (job_id), hint TEXT, process TEXT,
    cancel INTEGER NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS plans (plan_id TEXT PRIMARY KEY, created REAL NOT NULL, settings TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS plan_items (
    plan_id TEXT NOT NULL REFERENCES plans (plan_id), item INTEGER NOT NULL, gap_id TEXT NOT NULL,
    source_dicom_id TEXT NOT NULL, findings TEXT NOT NULL, seed INTEGER NOT NULL, PRIMARY KEY (plan_id, item)
);
CREATE TABLE IF NOT EXISTS decisions (
    decision_id INTEGER PRIMARY KEY AUTOINCREMENT, edit_id TEXT NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('accept', 'reject', 'undo')),
    note TEXT NOT NULL DEFAULT '', created REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS decisions_of_edit ON decisions (edit_id, decision_id);
CREATE TABLE IF NOT EXISTS attribute_sets (
    set_id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, attributes TEXT NOT NULL, "values" TEXT NOT NULL,
    "where" TEXT NOT NULL, retired INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS sets_of_name ON attribute_sets (name, set_id);
"""


def new_id() -> str:
    """A fresh random id of 12 hex digits."""
    return uuid.uuid4().hex[:12]


class Records:
    """The records of one workspace. Cheap to make; opens SQLite for each call, so any process may use it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @contextlib.contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection inside one transaction: committed on success, rolled back on error."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=30)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise WorkspaceError(
                    f"{self.path} has schema version {version}; this CARS knows up to {SCHEMA_VERSION}.",
                    "Use the newer CARS that wrote it.",
                )
            if version < SCHEMA_VERSION:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(SCHEMA)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            with connection:
                yield connection
        finally:
            connection.close()

    # Plans -------------------------------------------------------------------------------------------------------

    def add_plan(self, settings: dict[str, Any], items: list[dict[str, Any]], plan_id: str | None = None) -> str:
        """File a plan. items: gap_id, source_dicom_id, findings (finding → insert/delete), seed. Returns the plan's id.

        Filing the same plan_id again changes nothing.
        """
        plan_id = plan_id or new_id()
        with self.open() as db:
            if db.execute("SELECT 1 FROM plans WHERE plan_id = ?", (plan_id,)).fetchone():
                return plan_id
            db.execute("INSERT INTO plans VALUES (?, ?, ?)", (plan_id, time.time(), json.dumps(settings)))
            db.executemany(
                "INSERT INTO plan_items VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (plan_id, n, i["gap_id"], i["source_dicom_id"], json.dumps(i["findings"]), int(i["seed"]))
                    for n, i in enumerate(items)
                ],
            )
        return plan_id

    def plans(self) -> pd.DataFrame:
        """plan_id, created, settings (dict), items (how many), newest first."""
        with self.open() as db:
            rows = db.execute(
                "SELECT plan_id, created, settings, (SELECT count(*) FROM plan_items i WHERE i.plan_id = p.plan_id)"
                " AS items FROM plans p ORDER BY created DESC, rowid DESC"
            ).fetchall()
        frame = pd.DataFrame([dict(r) for r in rows], columns=["plan_id", "created", "settings", "items"])
        frame["settings"] = [json.loads(s) for s in frame["settings"]]
        return frame

    def plan_items(self, plan_id: str) -> pd.DataFrame:
        """plan_id, item, gap_id, source_dicom_id, findings (dict), seed. Raises: WorkspaceError for an unknown plan."""
        with self.open() as db:
            if not db.execute("SELECT 1 FROM plans WHERE plan_id = ?", (plan_id,)).fetchone():
                raise WorkspaceError(f"There is no plan {plan_id!r}.", "Make one with `cars plan`.")
            rows = db.execute("SELECT * FROM plan_items WHERE plan_id = ? ORDER BY item", (plan_id,)).fetchall()
        names = ["plan_id", "item", "gap_id", "source_dicom_id", "findings", "seed"]
        frame = pd.DataFrame([dict(r) for r in rows], columns=names)
        frame["findings"] = [json.loads(f) for f in frame["findings"]]
        return frame

    # Decisions ---------------------------------------------------------------------------------------------------

    def decide(self, edit_id: str, decision: str, note: str | None = None) -> None:
        """Accept, reject, or undo the last decision on an edit. note: None leaves the one that the edit has."""
        if decision not in ("accept", "reject", "undo"):
            raise SettingError(f"{decision!r} is not a decision.", "Use accept, reject or undo.")
        self._file(edit_id, decision, note)

    def note(self, edit_id: str, note: str) -> None:
        """Write a note on an edit, whatever was decided on it; "" takes it away."""
        self._file(edit_id, None, note)

    def _file(self, edit_id: str, decision: str | None, note: str | None) -> None:
        """One row of `decisions`; what is None stays as the edit's latest row has it."""
        with self.open() as db:
            last = db.execute(
                "SELECT decision, note FROM decisions WHERE edit_id = ? ORDER BY decision_id DESC LIMIT 1", (edit_id,)
            ).fetchone() or {"decision": "undo", "note": ""}
            row = (last["decision"] if decision is None else decision, last["note"] if note is None else note)
            db.execute(
                "INSERT INTO decisions (edit_id, decision, note, created) VALUES (?, ?, ?, ?)",
                (edit_id, *row, time.time()),
            )

    def latest_decisions(self) -> pd.DataFrame:
        """edit_id, decision, note: what counts for each edit; an undone edit with a note has a null decision, and one
        without a note no row."""
        columns = ["edit_id", "decision", "note"]
        if not self.path.exists():
            return pd.DataFrame({c: pd.Series(dtype="str") for c in columns})
        with self.open() as db:
            rows = db.execute(
                "SELECT edit_id, nullif(decision, 'undo'), note FROM decisions d WHERE decision_id ="
                " (SELECT max(decision_id) FROM decisions e WHERE e.edit_id = d.edit_id)"
                " AND (decision <> 'undo' OR note <> '')"
            ).fetchall()
        return pd.DataFrame([tuple(r) for r in rows], columns=columns).astype("str")

    # Attribute sets ----------------------------------------------------------------------------------------------

    def save_set(self, name: str, attributes: str, values: str, where: str = "", retired: bool = False) -> None:
        """File an attribute set under a name; it supersedes an earlier one of that name. `retired`: list it no more.

        Raises: SettingError for a name without a letter or digit, or of more than 80 characters.
        """
        name = " ".join(name.split())
        if not any(c.isalnum() for c in name) or len(name) > 80:
            raise SettingError(f"{name!r} is no name for an attribute set.", "Use letters or digits, at most 80.")
        with self.open() as db:
            db.execute(
                'INSERT INTO attribute_sets (name, attributes, "values", "where", retired, created)'
                " VALUES (?, ?, ?, ?, ?, ?)",
                (name, attributes, values, where, int(retired), time.time()),
            )

    def attribute_sets(self) -> pd.DataFrame:
        """name, attributes, values, where, created: the sets that count, by name."""
        columns = ["name", "attributes", "values", "where", "created"]
        if not self.path.exists():
            return pd.DataFrame({c: pd.Series(dtype="float64" if c == "created" else "str") for c in columns})
        with self.open() as db:
            rows = db.execute(
                'SELECT name, attributes, "values", "where", created FROM attribute_sets s'
                " WHERE NOT retired AND set_id = (SELECT max(set_id) FROM attribute_sets t WHERE t.name = s.name)"
                " ORDER BY name"
            ).fetchall()
        frame = pd.DataFrame([tuple(r) for r in rows], columns=columns)
        return frame.astype({c: "str" for c in columns[:-1]} | {"created": "float64"})
