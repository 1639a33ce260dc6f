"""The workspace: a folder of Parquet parts, arrays, films and one SQLite file of records.

A part is written to a temporary name in its folder, synced, then renamed: a reader sees all of it or none.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pandas as pd

from .errors import ResourceError, WorkspaceError

MARKER = "workspace.toml"
TEMPLATE = """# Settings of this CARS workspace that differ from the defaults, one table per verb, for example
# [gaps]
# threshold = 30
"""


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success sync and rename it onto `path`, on failure remove it.

    Raises: ResourceError when the disk is full (the file under the final name, if any, is untouched).
    """
    path = Path(path)
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, mode) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                f"The disk that holds {path.parent} is full.",
                "Free some space and run the same command again; it goes on where it stopped.",
            ) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_write(path) as stream:
        stream.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys sorted."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n")


class Workspace:
    """A workspace folder. Use `Workspace.create` or `Workspace.open`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()

    def __repr__(self) -> str:
        return f"Workspace({str(self.path)!r})"

    @classmethod
    def create(cls, path: Path | str) -> Workspace:
        """Open the workspace at `path`, making it when there is none. Refuses a folder that holds other things."""
        workspace = cls(path)
        if not (workspace.path / MARKER).exists():
            if workspace.path.is_dir() and any(p.name != "README.md" for p in workspace.path.iterdir()):
                raise WorkspaceError(
                    f"{workspace.path} is not empty and is not a workspace.", "Choose an empty or new folder."
                )
            write_text(workspace.path / MARKER, TEMPLATE)
        return workspace

    @classmethod
    def open(cls, path: Path | str) -> Workspace:
        """Open an existing workspace. Raises: WorkspaceError when there is none."""
        workspace = cls(path)
        if not (workspace.path / MARKER).exists():
            raise WorkspaceError(
                f"There is no workspace at {workspace.path}.",
                "Make one with `cars ingest ADAPTER SOURCE --workspace DIR`, or try `cars demo`.",
            )
        return workspace

    @property
    def name(self) -> str:
        """The folder's name, as pages show it."""
        return self.path.name

    @property
    def file_settings(self) -> dict[str, Any]:
        """workspace.toml, parsed. Raises: WorkspaceError that quotes the line that cannot be read."""
        try:
            return tomllib.loads((self.path / MARKER).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except tomllib.TOMLDecodeError as error:
            raise WorkspaceError(f"{self.path / MARKER} cannot be read: {error}.", "Mend that line.") from None

    # Tables -----------------------------------------------------------------------------------------------------

    def part_path(self, table: str, part: str, version: str = "0") -> Path:
        """Where a part lies: tables/<table>/<version>/<part>.parquet."""
        return self.path / "tables" / table / version / f"{part}.parquet"

    def has_part(self, table: str, part: str, version: str = "0") -> bool:
        """Whether that part is already made."""
        return self.part_path(table, part, version).exists()

    def write_part(self, table: str, part: str, frame: Any, version: str = "0") -> Path:
        """Write one part atomically. `frame`: a pandas DataFrame or a pyarrow Table."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrow = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
        path = self.part_path(table, part, version)
        with atomic_write(path) as stream:
            pq.write_table(arrow, stream, compression="zstd")
        return path

    def publish(self, table: str, version: str) -> None:
        """Let readers see `version` of a table, and only that one. An append-only table uses version "0" throughout."""
        write_text(self.path / "tables" / table / "CURRENT", version + "\n")

    def version(self, table: str) -> str | None:
        """The published version of a table ("0" where nothing was published but parts exist), or None."""
        folder = self.path / "tables" / table
        try:
            return (folder / "CURRENT").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return "0" if (folder / "0").is_dir() else None

    def parts(self, table: str) -> list[Path]:
        """The parts of the published version, sorted by name."""
        version = self.version(table)
        if version is None:
            return []
        return sorted((self.path / "tables" / table / version).glob("*.parquet"))

    def has(self, table: str) -> bool:
        """Whether readers see at least one part of the table."""
        return bool(self.parts(table))

    def need(self, table: str, verb: str) -> None:
        """Raise WorkspaceError when the table is missing, naming the verb that makes it."""
        if not self.has(table):
            raise WorkspaceError(
                f"This workspace has no {table} yet.", f"Run `cars {verb} --workspace {self.path}` first."
            )

    def tables(self) -> list[str]:
        """The names of all tables that have parts."""
        root = self.path / "tables"
        return sorted(p.name for p in root.iterdir() if self.has(p.name)) if root.is_dir() else []

    def read(self, table: str, columns: list[str] | None = None) -> pd.DataFrame:
        """A whole table as a DataFrame. Raises: WorkspaceError when it has no part."""
        if not self.has(table):
            raise WorkspaceError(f"This workspace has no table {table!r} yet.")
        frames = [pd.read_parquet(part, columns=columns) for part in self.parts(table)]
        return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]

    # DuckDB and SQLite -------------------------------------------------------------------------------------------

    def connect(self) -> Any:
        """A new in-memory DuckDB connection with one view per table and the derived views of catalog.py."""
        from .catalog import connect

        return connect(self)

    def query(self, name: str, connection: Any = None, **params: Any) -> pd.DataFrame:
        """Run sql/<name>.sql with `$name` parameters. `connection`: an open one to reuse."""
        from .catalog import query

        if connection is not None:
            return query(connection, name, **params)
        with self.connect() as fresh:
            return query(fresh, name, **params)

    @property
    def records(self) -> Any:
        """The SQLite records of this workspace (records.Records)."""
        from .records import Records

        return Records(self.path / "records.sqlite")

    # Files -------------------------------------------------------------------------------------------------------

    def folder(self, *names: str) -> Path:
        """A folder inside the workspace, made when missing."""
        path = self.path.joinpath(*names)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def free_bytes(self) -> int:
        """Free space on the workspace's disk."""
        return shutil.disk_usage(self.path).free
