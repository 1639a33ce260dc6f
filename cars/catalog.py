"""DuckDB over a workspace: one in-memory connection per process, one view per table, named queries from sql/.

Values enter a query only as `$name`. A DuckDB file would allow one writing process and then no reader; Parquet parts
with an in-memory connection let the app read while a job writes.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from .errors import CarsError

if TYPE_CHECKING:
    from .workspace import Workspace

SQL = Path(__file__).resolve().parent.parent / "sql"
if not SQL.is_dir():  # an installed wheel carries the queries inside the package
    SQL = Path(__file__).resolve().parent / "sql"


@cache
def statement(name: str) -> str:
    """The text of sql/<name>.sql. Raises: CarsError that lists the queries of that folder."""
    path = SQL / f"{name}.sql"
    if not path.is_file():
        near = sorted(str(p.relative_to(SQL).with_suffix("")) for p in SQL.rglob("*.sql"))
        raise CarsError(f"There is no query {name!r}.", f"The queries are: {', '.join(near)}.")
    return path.read_text(encoding="utf-8")


def query(connection: Any, name: str, **params: Any) -> pd.DataFrame:
    """Run a named query; only the parameters that the text names are passed."""
    text = statement(name)
    wanted = set(re.findall(r"\$([A-Za-z_]\w*)", re.sub(r"--[^\n]*", "", text)))
    missing = wanted - set(params)
    if missing:
        raise CarsError(f"The query {name!r} needs the parameter {sorted(missing)[0]!r}.")
    return connection.execute(text, {k: v for k, v in params.items() if k in wanted}).df()


def connect(workspace: Workspace) -> Any:
    """A connection with a view for each table, a relation `decisions`, and where there are edits `accepted_edits` and
    `baseline_edits`."""
    import duckdb

    connection = duckdb.connect(":memory:")
    connection.execute("SET threads = 2; SET enable_progress_bar = false;")
    tables = workspace.tables()
    for table in tables:
        parts = [str(part) for part in workspace.parts(table)]
        # DuckDB takes no parameters in CREATE VIEW; file names are quoted as SQL literals here, and only here
        literals = ", ".join("'" + part.replace("'", "''") + "'" for part in parts)
        view = "edit_parts" if table == "edits" else table
        connection.execute(f'CREATE VIEW "{view}" AS SELECT * FROM read_parquet([{literals}], union_by_name = true)')
    decisions = workspace.records.latest_decisions()
    connection.register("decisions", decisions)
    if "edits" in tables:
        for view in ("edits", "accepted_edits", "baseline_edits"):
            connection.execute(statement(f"catalog/{view}"))
    return connection
