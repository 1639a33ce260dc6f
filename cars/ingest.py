"""`ingest`: read a data set's own files into the tables `films`, `quarantine` and `missing_files`.

An adapter (cars/datasets) turns the files into rows and sets bad rows aside; this module looks at the films on disk,
writes the tables as one new version, and says in dataset.json where everything came from.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .config import as_dict, setting
from .errors import DataError, FilmError, SettingError
from .progress import Progress, part_of, silent
from .schema import FRONTAL

if TYPE_CHECKING:
    import pandas as pd

    from .datasets import Batch
    from .workspace import Workspace

FILMS_PER_PART = 5_000
TABLES = ("films", "quarantine", "missing_files")
#: Settings that every adapter understands, because ingest itself does.
COMMON = ("adapter", "source", "check_films", "workers")
#: Rows, columns and problem of a film on disk.
Check = tuple[int | None, int | None, str | None]
#: Raised when the same input starts to give other tables.
VERSION = 1


@dataclass(frozen=True)
class IngestSettings:
    """Settings of `ingest`."""

    adapter: str = setting(help="Which registered data set adapter reads the source.", argument=True)
    source: str = setting(help="What the adapter reads: a folder, a file or a name.", argument=True)
    patients: str | None = setting(None, "MIMIC-IV's patients.csv(.gz), or the folder that holds it: sex and age.")
    admissions: str | None = setting(None, "MIMIC-IV's admissions.csv(.gz), or the folder that holds it: race.")
    tables: str | None = setting(None, "Another folder to look for the CSV tables in, where they are not in SOURCE.")
    reports: bool = setting(False, "Read the reports (.txt beside each study) into the films table.")
    labeler: str = setting("chexpert", "Whose labels to read.", choices=("chexpert", "negbio"))
    test_labels: bool = setting(False, "Use the radiologist's labels of test studies that MIMIC-CXR-JPG 2.1.0 has.")
    check_films: str = setting(
        "header",
        "Look at films on disk: header (header and tail), full (decode each; find inverted ones), none (existence).",
        choices=("header", "full", "none"),
    )
    limit: int | None = setting(None, "Read at most this many films, patients in the order of their ids.", minimum=1)
    workers: int | None = setting(None, "Processes that look at films; default: one a processor.", minimum=1)


def ingest(workspace: Workspace, settings: IngestSettings, progress: Progress = silent) -> dict[str, Any]:
    """Read `settings.source` with `settings.adapter` into the workspace.

    Returns: films, studies, patients, quarantined, missing_files (counts), on_disk, reasons (reason → rows), splits,
    version, and `unchanged`: whether everything was there already.
    Raises: SettingError (no such adapter, a setting it does not know), DataError (the source cannot be read, or has
    no film at all).
    """
    from .provenance import digest, file_digest

    adapter = _adapter(settings)
    options = {name: getattr(settings, name) for name in adapter.options}
    reading = part_of(progress, 0.0, 0.4)
    batches = list(adapter.read(settings.source, workspace, progress=reading, **options))
    if not sum(len(batch.films) for batch in batches):
        raise DataError(f"{settings.source} holds no film that can be used.", _worst(batches))

    hashes = {path.name: file_digest(path) for path in adapter.files(settings.source, workspace, **options)}
    recipe = {k: v for k, v in as_dict(settings).items() if k != "workers"}
    if not isinstance(settings.adapter, str):
        recipe["adapter"] = type(adapter).__name__
    pieces = [piece for batch in batches for piece in _pieces(batch)]
    version = digest(VERSION, recipe, hashes, [_state(piece.films["path"]) for piece in pieces])
    names = [f"{n:05d}-{digest(version, n)}" for n in range(len(pieces))]
    todo = [n for n, name in enumerate(names) if not all(workspace.has_part(t, name, version) for t in TABLES)]
    _check_and_write(workspace, settings, pieces, names, todo, version, part_of(progress, 0.4, 1.0))
    for table in TABLES:
        workspace.publish(table, version)
    result = _summary(workspace) | {"version": version, "unchanged": not todo}
    _describe(workspace, recipe, adapter, hashes, result)
    return result


def _adapter(settings: IngestSettings) -> Any:
    """The adapter, and a refusal of settings that it would ignore."""
    from .datasets import DATASETS

    found = DATASETS.get(settings.adapter)
    adapter = found() if isinstance(found, type) else found
    for field in dataclasses.fields(settings):
        known = field.name in COMMON or field.name in adapter.options
        if not known and getattr(settings, field.name) != field.default:
            raise SettingError(
                f"The adapter {settings.adapter!r} has no use for {field.name} = {getattr(settings, field.name)!r}.",
                f"It takes: {', '.join(adapter.options) or 'no further setting'}.",
            )
    return adapter


def _worst(batches: list[Batch]) -> str:
    import pandas as pd

    quarantine = pd.concat([batch.quarantine for batch in batches])
    if quarantine.empty:
        return "Its tables have no row."
    top = quarantine["reason"].value_counts()
    row = quarantine[quarantine["reason"] == top.index[0]].iloc[0]
    return (
        f"{len(quarantine):,} rows were set aside, most because: {top.index[0]} ({top.iloc[0]:,} rows, the first in "
        f"{row['file']}, row {row['row']}, {row['column']} = {row['value']!r})."
    )


# Looking at films ----------------------------------------------------------------------------------------------------


def _pieces(batch: Batch) -> list[Batch]:
    """A batch cut into pieces of one part each; what was set aside goes with the first."""
    films = batch.films
    pieces = []
    for start in range(0, max(len(films), 1), FILMS_PER_PART):
        rest = (batch.quarantine, batch.missing) if not start else (batch.quarantine[:0], batch.missing[:0])
        pieces.append(type(batch)(films.iloc[start : start + FILMS_PER_PART].reset_index(drop=True), *rest))
    return pieces


def _state(paths: pd.Series) -> str:
    """A hash of which files are there, how large and how old: a film that arrives later makes a new version."""
    from .provenance import digest

    states = []
    for path in paths:
        if path == path:  # not NaN
            stat = os.stat(path)
            states.append((stat.st_size, stat.st_mtime_ns))
        else:
            states.append((-1, -1))
    return digest(states)


def _check_and_write(
    workspace: Workspace,
    settings: IngestSettings,
    pieces: list[Batch],
    names: list[str],
    todo: list[int],
    version: str,
    progress: Progress,
) -> None:
    from .engines.local import map_shards

    shards = []
    for n in todo:
        films = pieces[n].films
        paths = [path if path == path else None for path in films["path"]]
        shards.append(list(zip(paths, films["view"].isin(FRONTAL).tolist())))
    # nothing to look at is no reason to start processes
    idle = settings.check_films == "none" or not any(path for shard in shards for path, _ in shard)
    workers = 1 if idle else settings.workers
    found = map_shards(partial(_Checker, settings.check_films), shards, workers, progress, "looking at films")
    for n, checks in zip(todo, found):
        piece = _after_check(pieces[n], checks)
        for table, frame in zip(TABLES, (piece.films, piece.quarantine, piece.missing)):
            workspace.write_part(table, names[n], frame, version)


class _Checker:
    """The actor: (rows, columns, problem) for each (path, frontal); (None, None, None) where there is no file."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __call__(self, films: list[tuple[str | None, bool]]) -> list[Check]:
        look = self.how != "none"
        return [self.check(path, frontal) if path and look else (None, None, None) for path, frontal in films]

    def check(self, path: str, frontal: bool) -> Check:
        """One film's size and problem. The signs of inversion are those of a frontal film."""
        from .imaging import decode, looks_inverted, probe

        info = probe(path)
        problem = info.problem
        if self.how == "full" and problem is None:
            try:
                if looks_inverted(decode(path, at_least=128)) and frontal:
                    problem = "looks inverted (air bright, bone dark)"
            except FilmError as error:
                problem = error.reason
        return info.rows, info.columns, problem


def _after_check(piece: Batch, checks: list[Check]) -> Batch:
    """Sizes from the files themselves; films with a problem move to quarantine."""
    import pandas as pd

    from .datasets._tables import missing_form, quarantine_form

    films = piece.films
    seen = pd.DataFrame(checks, columns=["rows", "columns", "problem"], dtype="object")
    films = films.assign(
        rows=seen["rows"].fillna(films["rows"]).astype("Int32"),
        columns=seen["columns"].fillna(films["columns"]).astype("Int32"),
    )
    bad = seen["problem"].notna()
    # a file that vanished between reading and looking is missing, not broken
    gone = bad & (seen["problem"] == "missing")
    missing = pd.concat([piece.missing, films.loc[gone, ["dicom_id", "path"]]])
    films.loc[gone, "path"] = None
    films.loc[gone, "on_disk"] = False
    bad &= ~gone
    broken = films[bad]
    aside = pd.DataFrame(
        {
            "file": [os.path.basename(path) for path in broken["path"]],
            "column": "path",
            "value": broken["path"].to_list(),
            "reason": seen.loc[bad, "problem"].to_list(),
            "dicom_id": broken["dicom_id"].to_list(),
        }
    )
    quarantine = quarantine_form(pd.concat([piece.quarantine, quarantine_form(aside)]))
    return type(piece)(films[~bad].reset_index(drop=True), quarantine, missing_form(missing))


# Saying what was done ------------------------------------------------------------------------------------------------


def _summary(workspace: Workspace) -> dict[str, Any]:
    counts = workspace.query("ingest/summary").iloc[0]
    reasons = workspace.query("ingest/reasons")
    splits = workspace.query("ingest/splits")
    return {
        **{str(name): int(value) for name, value in counts.items()},
        "reasons": dict(zip(reasons["reason"].tolist(), reasons["n"].tolist())),
        "splits": dict(zip(splits["split"].tolist(), splits["patients"].tolist())),
    }


def _describe(
    workspace: Workspace, recipe: dict[str, Any], adapter: Any, hashes: dict[str, str], result: dict[str, Any]
) -> None:
    """dataset.json: what is in this workspace, under which terms, made from which files."""
    from .provenance import note
    from .workspace import write_json

    path = workspace.path / "dataset.json"
    if result["unchanged"] and path.exists():
        return
    names = ("films", "studies", "patients", "quarantined", "missing_files", "on_disk", "splits")
    counts = {name: result[name] for name in names}
    write_json(
        path,
        {
            "adapter": recipe["adapter"],
            "source": recipe["source"],
            **adapter.about(recipe["source"]),
            "counts": counts,
            "version": result["version"],
            "provenance": note("ingest", recipe, hashes),
        },
    )
