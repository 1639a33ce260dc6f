"""`cars doctor` checks the machine; `cars verify` checks a workspace."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from .catalog import query
from .errors import DataError, MissingDependency
from .generators import GENERATORS
from .workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent


def examine() -> list[dict[str, Any]]:
    """What CARS needs on this machine: rows of what, ok, found, hint."""
    rows = [_row("CPython 3.11", sys.version_info[:2] == (3, 11), sys.version.split()[0], "Install CPython 3.11.")]
    for name, wanted in _pins(ROOT / "requirements.txt").items():
        if name == "faiss-cpu":
            rows.append(_faiss())
            continue
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "absent"
        rows.append(_row(f"{name} {wanted}", found.split("+")[0] == wanted, found, "Run `make setup`."))
    rows.append(_gpu())
    weights = [p.name for p in sorted((ROOT / "data" / "weights").glob("*")) if (p / "config.json").exists()]
    rows.append(_row("packaged weights", bool(weights), ", ".join(weights) or "none", "Check out data/weights again."))
    rows += _released()
    free = shutil.disk_usage(ROOT).free / 2**30
    rows.append(_row("free disk", free > 2, f"{free:.0f} GiB", "Free some space; real films need more."))
    return rows


def _row(what: str, ok: bool, found: str, hint: str) -> dict[str, Any]:
    return {"what": what, "ok": bool(ok), "found": found, "hint": hint}


def _pins(path: Path) -> dict[str, str]:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", text, flags=re.M))


def _faiss() -> dict[str, Any]:
    names = [n for n in ("faiss-cpu", "faiss-gpu") if _installed(n)]
    hint = "Keep exactly one of faiss-cpu and faiss-gpu: they overwrite each other's files."
    return _row("faiss, one build of it", len(names) == 1, " and ".join(names) or "absent", hint)


def _released() -> list[dict[str, Any]]:
    """One row for each released model. Having none is fine; a folder that is there and wrong is not."""
    rows = []
    for kind in (GENERATORS.get(name) for name in GENERATORS):
        if (released := getattr(kind, "released", None)) is None:
            continue
        what = f"released model {released.name} (optional)"
        try:
            rows.append(_row(what, True, str(kind().layout.root), ""))
        except MissingDependency:
            rows.append(_row(what, True, "not here, see docs/released-models.md", ""))
        except DataError as error:
            rows.append(_row(what, False, error.message, error.hint))
    return rows


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _gpu() -> dict[str, Any]:
    if importlib.util.find_spec("torch") is None:
        return _row("torch device", False, "no torch", "Run `make setup`.")
    from .torchbox import torch

    module = torch()
    found = module.cuda.get_device_name(0) if module.cuda.is_available() else "CPU only (works, slower)"
    return _row("torch device", True, found, "")


def verify(workspace: Workspace) -> list[str]:
    """What is wrong in a workspace, as sentences; an empty list when nothing is.

    Checks: a patient in more than one split; an edit of a film that is not a train film; an accepted edit that failed a
    gate; film files of accepted edits that are missing; doubled film ids.
    """
    problems: list[str] = []
    with workspace.connect() as connection:
        if not workspace.has("films"):
            return ["There are no films: nothing was ingested."]
        doubled = query(connection, "verify/doubled_films")
        if len(doubled):
            problems.append(f"{len(doubled)} film ids occur more than once.")
        crossing = query(connection, "verify/crossing_patients")
        if len(crossing):
            problems.append(f"{len(crossing)} patients have films in more than one split.")
        if workspace.has("edits"):
            wrong = query(connection, "verify/edits_of_other_splits")
            if len(wrong):
                problems.append(f"{len(wrong)} edits were made from films that are not train films.")
            paths = query(connection, "verify/accepted_paths")["film_path"]
            missing = [p for p in paths if not (workspace.path / p).exists()]
            if missing:
                problems.append(f"{len(missing)} accepted edits have no film file.")
    return problems
