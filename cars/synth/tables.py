"""The columns of `edits`, `gates` and `uncertainty` with their types, and the table of edits that pages show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from .. import gates
from ..schema import COLUMN_OF
from ..workspace import Workspace


@dataclass(frozen=True)
class Columns:
    """Column → Arrow type name. Every part has the same types, also where a column is all null."""

    types: dict[str, str]

    def table(self, rows: list[dict[str, Any]]) -> Any:
        """Rows → a pyarrow Table. Raises: KeyError for a row that lacks a column."""
        import pyarrow as pa

        schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in self.types.items()])
        arrays = [pa.array([_plain(row[name]) for row in rows], schema.field(name).type) for name in self.types]
        return pa.Table.from_arrays(arrays, schema=schema)


def _plain(value: Any) -> Any:
    """A value as Arrow takes it: NumPy scalars unwrapped, pandas' missing values as None."""
    value = value.item() if hasattr(value, "item") else value
    return None if value is pd.NA or (isinstance(value, str) and value == "") else value


def _text(names: str) -> dict[str, str]:
    return {name: "string" for name in names.split()}


EDITS = Columns(
    _text("edit_id plan_id")
    | {"item": "int64"}
    | _text("gap_id source_dicom_id source_subject_id source_study_id findings finding direction")
    | {slug: "int8" for slug in COLUMN_OF.values()}
    | _text("view view_position sex")
    | {"age": "float64"}
    | _text("age_band race split generator generator_revision segmenter judge mode")
    | {"seed": "int64", "steps": "int64", "guidance": "float64"}
    | _text("film_path roi_path sham_path")
    | {"rows": "int64", "columns": "int64", "passed": "bool_"}
    | _text("error origin")
    | {"created": "float64"}
    | _text("code_version gating generator_licence")
    | {"baseline": "bool_"}
)
GATE_ROWS = Columns(
    _text("edit_id gate measure") | {"value": "float64", "low": "float64", "high": "float64", "passed": "bool_"}
)
UNCERTAINTY = Columns(
    _text("edit_id finding") | {"k": "int64", "m": "int64", "total": "float64", "mutual": "float64", "n": "int64"}
)


def edit_table(workspace: Workspace, plan_id: str | None = None) -> pd.DataFrame:
    """The edits with a column for each gate and the decision that counts, newest first.

    Columns: those of `edits`, then `gate_<name>` for each gate (bool, null where it decided nothing), `decision`
    ("accept", "reject" or null), `note`. Empty, with the same columns, where nothing was made.
    """
    columns = {name: f"gate_{name}" for name in gates.names()}
    if not workspace.has("edits"):
        return pd.DataFrame(columns=[*EDITS.types, *columns.values(), "decision", "note"])
    with workspace.connect() as connection:
        table = workspace.query("synth/edit_table", connection, plan_id=plan_id)
        verdicts = workspace.query("synth/verdicts", connection, plan_id=plan_id)
    wide = verdicts.astype({"passed": object}).pivot(index="edit_id", columns="gate", values="passed")
    wide = wide.reindex(index=table["edit_id"], columns=list(columns)).astype("boolean")
    for name, column in columns.items():
        table[column] = wide[name].to_numpy(object)
    return table[[*(c for c in table if c not in ("decision", "note")), "decision", "note"]]
